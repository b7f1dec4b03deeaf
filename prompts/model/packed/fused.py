"""A layer in eight bits from product to product: activations stay in cache, and in bytes.

The norm is computed while its rows are quantized, and activation and gate while the products of the
MLP's first layers become the bytes of its last. `decoder.finish` does the same for any layer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from isogloss.prompts.model.decoder.linear import Affine
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights
from isogloss.prompts.model.packed import native
from isogloss.prompts.model.packed.byte_rows import (
    Norm,
    can_activate,
    quantize,
    quantize_activated,
    quantize_normed,
)
from isogloss.prompts.model.packed.int8 import Int8Affine, refuse_gradients

# Four bytes a number of the MLP's width: what these rows take stays in cache.
_BLOCK_ROWS = 256


def fits(weights: DecoderWeights, layer: LayerWeights) -> bool:
    """Whether a layer is computed here: in eight bits, and norms only before its products."""
    return (
        isinstance(layer.qkv, Int8Affine)
        and not (weights.parallel or weights.residual_after_norm)
        and layer.attention_norm is not None
        and layer.mlp_norm is not None
        and layer.attention_out_norm is None
        and layer.mlp_out_norm is None
        and can_activate(layer.activation)
        and native.library() is not None
    )


def project(weights: DecoderWeights, layer: LayerWeights, x: Tensor) -> Tensor:
    """Norm, and queries, keys and values: (rows, hidden) -> (rows, projection).

    Raises:
        InvalidInput: gradients are asked for.
    """
    refuse_gradients(x)
    qkv, norm = _int8(layer.qkv), _norm(weights, layer.attention_norm)
    y = x.new_empty(len(x), len(qkv.bias))
    for rows, block in zip(x.split(_BLOCK_ROWS), y.split(_BLOCK_ROWS), strict=True):
        qkv.write(quantize_normed(rows, norm), None, block)
    return y


def finish(weights: DecoderWeights, layer: LayerWeights, mixed: Tensor, x: Tensor) -> Tensor:
    """As `decoder.finish`: (rows, heads x head_size), (rows, hidden) -> (rows, hidden)."""
    y = torch.empty_like(x)
    parts = (each.split(_BLOCK_ROWS) for each in (mixed, x, y))
    for attended, residual, block in zip(*parts, strict=True):
        _int8(layer.attention_out).write(quantize(attended, two_bytes=False), residual, block)
        _add_mlp(weights, layer, block)
    return y


def _add_mlp(weights: DecoderWeights, layer: LayerWeights, y: Tensor) -> None:
    """(rows, hidden) += MLP of its norm."""
    h = quantize_normed(y, _norm(weights, layer.mlp_norm))
    first, gated = _int8(layer.mlp_up).products(h), None
    if layer.mlp_gate is not None:
        first, gated = _int8(layer.mlp_gate).products(h), first
    up = quantize_activated(first, gated, h, layer.activation)
    _int8(layer.mlp_down).write(up, y, y)


def _int8(linear: object) -> Int8Affine:
    assert isinstance(linear, Int8Affine)
    return linear


def _norm(weights: DecoderWeights, rows: Affine | None) -> Norm:
    assert rows is not None
    return Norm(rows, weights.norm, weights.norm_eps)
