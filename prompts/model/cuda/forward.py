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
from isogloss.prompts.model.decoder.decoder import enter, finish, normalize, project
from isogloss.prompts.model.decoder.rotation import Turns, turns
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights


@dataclass(frozen=True, slots=True)
class Layers:
    """A layer's code, plain or compiled: of all layers but the last, and of the last."""

    inner: Callable[[DecoderWeights, LayerWeights, Tensor, Turns, Sight], Tensor]
    last: Callable[[DecoderWeights, LayerWeights, Tensor, Turns, Sight, Tensor], Tensor]


def forward(
    layers: Layers,
    weights: DecoderWeights,
    vectors: Tensor,
    positions: Tensor,
    sight: Sight,
    last: Tensor,
) -> Tensor:
    """(rows, hidden), (rows,), sight, rows asked for (pairs,) -> final states (pairs, hidden)."""
    x, turn = enter(weights, vectors, positions), turns(weights, positions)
    for layer in weights.layers[:-1]:
        x = layers.inner(weights, layer, x, turn, sight)
    return layers.last(weights, weights.layers[-1], x, turn, sight, last)


def inner_layer(
    weights: DecoderWeights, layer: LayerWeights, x: Tensor, turn: Turns, sight: Sight
) -> Tensor:
    """(rows, hidden) -> same."""
    return finish(weights, layer, *_mix(weights, layer, x, turn, sight))


def last_layer(
    weights: DecoderWeights,
    layer: LayerWeights,
    x: Tensor,
    turn: Turns,
    sight: Sight,
    last: Tensor,
) -> Tensor:
    """(rows, hidden) -> final states (pairs, hidden) of the rows `last` (pairs,).

    Keys and values are needed of all rows, all else of those. Their queries are not picked out
    before the attention: what the GPU gains is below what scattered queries lose in blocks.
    """
    mixed, residual = _mix(weights, layer, x, turn, sight)
    x = finish(weights, layer, mixed.index_select(0, last), residual.index_select(0, last))
    return normalize(weights, x, weights.final_norm)


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
    weights: DecoderWeights, layer: LayerWeights, x: Tensor, turn: Turns, sight: Sight
) -> tuple[Tensor, Tensor]:
    """What attention gives to each row, and what it is to be added to: (rows, hidden) each."""
    normed = normalize(weights, x, layer.attention_norm)
    cells = project(weights, layer, normed, turn).unflatten(-1, (-1, weights.head_size))
    counts = [weights.heads, weights.kv_heads, weights.kv_heads]
    # (1, heads or kv_heads, rows, head_size)
    q, k, v = (part[None] for part in cells.transpose(0, 1).split(counts))
    mixed = attend(q, k, v, sight, weights, layer.window)
    return mixed[0].transpose(0, 1).flatten(1), normed if weights.residual_after_norm else x
