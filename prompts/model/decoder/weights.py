"""All tensors of a backbone in one shape, whatever its architecture.

`folding.py` brings a checkpoint to the shape described here, as `architectures.py` tells it to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.decoder.linear import Activation, Affine, Linear, Xielu


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One decoder layer. What an architecture does not have is None."""

    attention_norm: Affine | None
    qkv: Linear  # ((heads + 2 x kv_heads) x head_size, hidden): all queries, all keys, all values
    attention_out: Linear
    mlp_norm: Affine | None
    mlp_up: Linear
    mlp_down: Linear
    activation: Activation
    mlp_gate: Linear | None = None  # then it is the gate that is activated
    q_norm: Affine | None = None  # (head_size,) of each head, or (heads x head_size,) of all
    k_norm: Affine | None = None
    attention_out_norm: Affine | None = None  # of what is added to the residual stream
    mlp_out_norm: Affine | None = None
    rotation: int | None = None  # which of the model's; None: queries and keys are not turned
    window: int | None = None  # how many positions a token sees, its own included; None: all


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
    kv_heads: int  # of keys and values; each serves heads / kv_heads heads of queries
    head_size: int
    norm: Literal["layer", "rms"]
    norm_eps: float
    embedding_scale: float = 1.0
    embedding_norm: Affine | None = None  # BLOOM
    positions: Tensor | None = None  # GPT-2: learned, (positions, hidden)
    sinusoids: Tensor | None = None  # XGLM: (positions, hidden)
    slopes: Tensor | None = None  # BLOOM: ALiBi's, (heads,), float32
    rotations: tuple[Tensor, ...] = ()  # (positions, head_size / 2, 2): cosine and sine, float32
    residual_after_norm: bool = False  # BLOOM's apply_residual_connection_post_layernorm
    parallel: bool = False  # attention and MLP read the same rows
    score_cap: float | None = None  # Gemma 2: scores s become cap x tanh(s / cap)

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

    def layer(old: LayerWeights) -> LayerWeights:
        return LayerWeights(**{f.name: _changed(getattr(old, f.name), change) for f in fields(old)})

    embedding = change(weights.embedding)
    return replace(
        weights,
        embedding=embedding,
        head=embedding if weights.head is weights.embedding else change(weights.head),
        layers=tuple(layer(old) for old in weights.layers),
        final_norm=_changed(weights.final_norm, change),
        embedding_norm=_changed(weights.embedding_norm, change),
        positions=_changed(weights.positions, change),
    )


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """One field of the weights; what holds no trainable tensor stays as it is."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Xielu):
        return replace(value, alpha_p=change(value.alpha_p), alpha_n=change(value.alpha_n))
    if not isinstance(value, Linear):
        return value
    loaded = plain(value)
    return Affine(change(loaded.weight), None if loaded.bias is None else change(loaded.bias))


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

    ALiBi's slopes and rotations stay float32: they are exact until they are applied.
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
        rotations=tuple(table.to(device) for table in weights.rotations),
        layers=tuple(_constants_to(layer, device) for layer in moved.layers),
    )


def _constants_to(layer: LayerWeights, device: torch.device) -> LayerWeights:
    own = layer.activation
    if not isinstance(own, Xielu):
        return layer
    return replace(layer, activation=replace(own, beta=own.beta.to(device), eps=own.eps.to(device)))


def trainable(weights: DecoderWeights) -> DecoderWeights:
    """A float32 copy whose tensors take gradients, all on the layers' device."""
    return map_tensors(
        cast(weights, weights.device, torch.float32),
        lambda tensor: tensor.detach().clone().requires_grad_(True),
    )
