"""All tensors of a backbone in one shape, whichever family it is of.

XGLM and BLOOM differ in how they embed (scaled embeddings plus sinusoids; a layer norm), in ALiBi
and in their GELU. `bloom.py` and `xglm.py` bring both to the one shape described here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.decoder.linear import Affine, Gelu, Linear


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One decoder layer."""

    attention_norm: Affine
    qkv: Linear  # (3 x hidden, hidden): all query heads, then all key heads, then all value heads
    attention_out: Linear
    mlp_norm: Affine
    mlp_up: Linear
    mlp_down: Linear


@dataclass(frozen=True, slots=True)
class DecoderWeights:
    """All tensors of a backbone and the constants of its arithmetic.

    `embedding` and `head` may lie on the host while the layers are on a GPU.
    """

    embedding: Tensor  # (vocabulary, hidden)
    head: Tensor  # (vocabulary, hidden); the same tensor as `embedding` where they are tied
    layers: tuple[LayerWeights, ...]
    final_norm: Affine
    heads: int
    norm_eps: float
    gelu: Gelu
    embedding_scale: float = 1.0  # XGLM: sqrt(hidden)
    embedding_norm: Affine | None = None  # BLOOM
    sinusoids: Tensor | None = None  # XGLM: (positions, hidden)
    slopes: Tensor | None = None  # BLOOM: ALiBi's, (heads,), float32
    residual_after_norm: bool = False  # BLOOM's apply_residual_connection_post_layernorm

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return self.embedding.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the layers are, and all activations."""
        return self.final_norm.weight.device


def tensors_of(weights: DecoderWeights) -> list[Tensor]:
    """Every trainable tensor, once each, in a fixed order (sinusoids and slopes are constants)."""
    tensors: list[Tensor] = []

    def remember(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    map_tensors(weights, remember)
    return tensors


def map_tensors(weights: DecoderWeights, change: Callable[[Tensor], Tensor]) -> DecoderWeights:
    """The same weights with every trainable tensor replaced; a tied head stays tied."""

    def affine(old: Linear) -> Affine:
        loaded = plain(old)
        return Affine(change(loaded.weight), change(loaded.bias))

    def layer(old: LayerWeights) -> LayerWeights:
        return LayerWeights(**{f.name: affine(getattr(old, f.name)) for f in fields(old)})

    embedding = change(weights.embedding)
    norm = weights.embedding_norm
    return replace(
        weights,
        embedding=embedding,
        head=embedding if weights.head is weights.embedding else change(weights.head),
        layers=tuple(layer(old) for old in weights.layers),
        final_norm=affine(weights.final_norm),
        embedding_norm=None if norm is None else affine(norm),
    )


def plain(layer: Linear) -> Affine:
    """A layer whose weights are as they were loaded.

    Raises:
        InvalidInput: they were packed or quantized, which cannot be undone.
    """
    if not isinstance(layer, Affine):
        raise InvalidInput(
            "this backbone's weights were packed for serving: they can neither be trained, moved "
            "nor saved; load the model again"
        )
    return layer


def cast(
    weights: DecoderWeights,
    device: torch.device,
    dtype: torch.dtype,
    tables: torch.device | None = None,
) -> DecoderWeights:
    """Move to a device and precision, the embedding table and the head to another if given.

    ALiBi's slopes stay float32: biases are exact until added.
    """

    def move(tensor: Tensor) -> Tensor:
        is_table = tensor is weights.embedding or tensor is weights.head
        return tensor.to((tables or device) if is_table else device, dtype)

    moved = map_tensors(weights, move)
    sinusoids, slopes = weights.sinusoids, weights.slopes
    return replace(
        moved,
        sinusoids=None if sinusoids is None else sinusoids.to(device, dtype),
        slopes=None if slopes is None else slopes.to(device),
    )


def trainable(weights: DecoderWeights) -> DecoderWeights:
    """A float32 copy whose tensors take gradients, all on the layers' device."""
    return map_tensors(
        cast(weights, weights.device, torch.float32),
        lambda tensor: tensor.detach().clone().requires_grad_(True),
    )
