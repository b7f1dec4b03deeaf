"""One forward pass over a rung's rows: fixed shapes, fixed addresses, no decision on the host.

The arithmetic is `decoder.decode`'s. A layer is one function for all layers of a model, so that it
is compiled once a shape and not once a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isogloss.prompts.model.cuda.attention import Sight, attend
from isogloss.prompts.model.decoder.decoder import enter, mlp, normalize
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights


@dataclass(frozen=True, slots=True)
class Layers:
    """A layer's code, plain or compiled: of all layers but the last, and of the last."""

    inner: Callable[[DecoderWeights, LayerWeights, Tensor, Sight], Tensor]
    last: Callable[[DecoderWeights, LayerWeights, Tensor, Sight, Tensor], Tensor]


def forward(
    layers: Layers,
    weights: DecoderWeights,
    vectors: Tensor,
    positions: Tensor,
    sight: Sight,
    last: Tensor,
) -> Tensor:
    """(rows, hidden), (rows,), sight, rows asked for (pairs,) -> final states (pairs, hidden)."""
    x = enter(weights, vectors, positions)
    for layer in weights.layers[:-1]:
        x = layers.inner(weights, layer, x, sight)
    return layers.last(weights, weights.layers[-1], x, sight, last)


def inner_layer(weights: DecoderWeights, layer: LayerWeights, x: Tensor, sight: Sight) -> Tensor:
    """(rows, hidden) -> same."""
    mixed, residual = _mix(weights, layer, x, sight)
    return _finish(weights, layer, mixed, residual)


def last_layer(
    weights: DecoderWeights, layer: LayerWeights, x: Tensor, sight: Sight, last: Tensor
) -> Tensor:
    """(rows, hidden) -> final states (pairs, hidden) of the rows `last` (pairs,).

    Keys and values are needed of all rows, all else of those. Their queries are not picked out
    before the attention: what the GPU gains is below what scattered queries lose in blocks.
    """
    mixed, residual = _mix(weights, layer, x, sight)
    x = _finish(weights, layer, mixed.index_select(0, last), residual.index_select(0, last))
    return normalize(x, weights.final_norm, weights.norm_eps)


def compiled_layers() -> Layers:
    """The same through torch.compile: norms, biases, GELU and residuals fused around the products.

    The first shape is compiled as it is, the second for any number of rows, which serves all
    others: torch's own rule for shapes that change. Sizes of the weights are fixed, which is why
    what was compiled before is forgotten: next to another model's, they would count as changing.
    """
    torch.compiler.reset()
    return Layers(
        torch.compile(inner_layer, fullgraph=True), torch.compile(last_layer, fullgraph=True)
    )


def _mix(
    weights: DecoderWeights, layer: LayerWeights, x: Tensor, sight: Sight
) -> tuple[Tensor, Tensor]:
    """What attention gives to each row, and what it is to be added to: (rows, hidden) each."""
    normed = normalize(x, layer.attention_norm, weights.norm_eps)
    qkv = layer.qkv.apply(normed).unflatten(-1, (3, weights.heads, -1))
    q, k, v = qkv.permute(1, 2, 0, 3).unsqueeze(1).unbind(0)  # (1, heads, rows, head_size)
    mixed = attend(q, k, v, sight, weights.slopes)
    return mixed[0].transpose(0, 1).flatten(1), normed if weights.residual_after_norm else x


def _finish(
    weights: DecoderWeights, layer: LayerWeights, mixed: Tensor, residual: Tensor
) -> Tensor:
    return mlp(weights, layer, layer.attention_out.apply_add(mixed, residual))
