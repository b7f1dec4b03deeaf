"""Rotary positions (Su et al. 2021): queries and keys turn by angles that grow with the position.

Dimensions that turn together lie side by side (`folding` sorts them so), so that a turn is one
product of complex numbers: on a processor four times as fast as turning the two halves of a head. A
text's keys are cached as they were turned, at 0 to n - 1; a prompt's rows go on from n.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from isogloss.prompts.model.decoder.linear import Affine
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights

Turns = Sequence[Tensor]
"""Of each rotation, the cosines and sines of a batch's rows: (rows, 1, head_size / 2, 2)."""


def turns(weights: DecoderWeights, positions: Tensor) -> Turns:
    """What the rows at these positions (rows,) are turned by."""
    return [table.index_select(0, positions)[:, None] for table in weights.rotations]


def turned(weights: DecoderWeights, layer: LayerWeights, qkv: Tensor, turn: Turns) -> Tensor:
    """Norm and turn queries and keys; without gradients on a processor, in place.

    (rows, (heads + 2 x kv_heads) x head_size) -> same.
    """
    cells = qkv.unflatten(-1, (-1, weights.head_size))
    counts = [weights.heads, weights.kv_heads, weights.kv_heads]
    if torch.is_grad_enabled() or qkv.device.type != "cpu":
        q, k, v = cells.split(counts, dim=1)
        q = _turned(_normed(q, layer.q_norm, weights.norm_eps), layer, turn)
        k = _turned(_normed(k, layer.k_norm, weights.norm_eps), layer, turn)
        return torch.cat([q, k, v], dim=1).flatten(1)
    own = cells[:, : weights.heads + weights.kv_heads]
    work = own.float()  # in float32 the projection itself
    for part, norm in zip(work.split(counts[:2], dim=1), (layer.q_norm, layer.k_norm), strict=True):
        if norm is not None:
            rows = part if len(norm.weight) == weights.head_size else part.flatten(1)
            rows.mul_(rms_scale(rows, weights.norm_eps)).mul_(norm.weight)
    if layer.rotation is not None:
        pairs = torch.view_as_complex(work.unflatten(-1, (-1, 2)))
        pairs.mul_(torch.view_as_complex(turn[layer.rotation]))
    if work is not own:
        own.copy_(work)
    return qkv


def _normed(x: Tensor, norm: Affine | None, eps: float) -> Tensor:
    """(rows, heads, head_size) -> same: each head normed, or all of them as one."""
    if norm is None:
        return x
    weight = norm.weight
    whole = x.flatten(1).unflatten(-1, (-1, len(weight))).to(weight.dtype)
    return F.rms_norm(whole, weight.shape, weight, eps).view_as(x).to(x.dtype)


def _turned(x: Tensor, layer: LayerWeights, turn: Turns) -> Tensor:
    """(rows, heads, head_size) -> same."""
    if layer.rotation is None:
        return x
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = turn[layer.rotation].unbind(-1)
    pairs: Tensor = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1)
    return pairs.flatten(-2).to(x.dtype)


def rms_scale(x: Tensor, eps: float) -> Tensor:
    """What divides a vector by its root mean square: (..., size) -> (..., 1), float32."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
