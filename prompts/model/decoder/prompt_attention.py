"""Prompts attend to shared text keys and values, forward and backward, on packed rows.

In training this runs at every layer of every step, where autograd's own bookkeeping of a dozen
reshapings moves more memory than the products themselves; so the gradient is written out. It is
that of softmax attention: with weights w, output o = w v and upstream gradient g,
dv = w^T g, ds = w (g v^T - <g, o>), dq = ds k, dk = ds^T q (Dao et al. 2022, Appendix B).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.model.decoder.attention import capped
from isogloss.prompts.model.decoder.packing import Padding
from isogloss.prompts.model.decoder.weights import DecoderWeights


@dataclass(frozen=True, slots=True)
class PromptBucket:
    """Where a bucket's prompts lie, and what is added to their scores."""

    padding: Padding  # shape (texts, prompts, width)
    text_bias: Tensor  # (texts, heads or 1, 1 or groups x width, text width)
    own_bias: Tensor  # (heads or 1, 1, groups x width, width)


def attend_prompts(
    qkv: Tensor,
    buckets: Sequence[PromptBucket],
    text_kv: Sequence[tuple[Tensor, Tensor]],
    weights: DecoderWeights,
) -> Tensor:
    """Each prompt attends to its text's keys and to its own earlier tokens.

    The text's keys and values are read in place by all of its prompts: nothing is repeated.

    Args:
        qkv: (prompt tokens, (heads + 2 x kv_heads) x head_size), packed: queries, keys, values.
        buckets: the texts' buckets that have prompts; their rows follow one another in `qkv`.
        text_kv: of each of these buckets, keys and values (texts, kv_heads, text width, head_size).
        weights: whose heads they are.

    Returns:
        (prompt tokens, heads x head_size), packed. Differentiable in qkv and in the texts' keys and
        values.
    """
    apply: Callable[..., Tensor] = _AttendPrompts.apply
    return apply(qkv, tuple(buckets), weights, *(tensor for pair in text_kv for tensor in pair))


class _AttendPrompts(torch.autograd.Function):
    """Below, T texts, h heads of keys, P prompts, W their width, n the texts' width, d head_size.

    Heads of queries that share a head of keys are more queries of it: Q = groups x W a prompt.
    """

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        buckets: tuple[PromptBucket, ...],
        own: DecoderWeights,
        *text_kv: Tensor,
    ) -> Tensor:
        mixed, saved = [], []
        for index, bucket in enumerate(buckets):
            text_k, text_v = text_kv[2 * index : 2 * index + 2]
            q, k, v = _heads_first(bucket.padding.pad(qkv), own)  # (T, h, P, Q or W, d) each
            on_text, on_own = _weights(q, k, text_k, bucket, own.score_cap)
            out = (on_own @ v).flatten(2, 3)
            out += on_text @ text_v
            saved += [q, k, v, on_text, on_own, out, text_k, text_v]
            mixed.append(bucket.padding.unpad(_heads_last(out.view_as(q), k.shape[3])))
        ctx.save_for_backward(*saved)
        ctx.buckets, ctx.shape, ctx.own = buckets, qkv.shape, own
        return torch.cat(mixed) if len(mixed) > 1 else mixed[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = grads
        d_qkv = gradient.new_empty(ctx.shape)
        d_text: list[Tensor | None] = []
        for index, bucket in enumerate(ctx.buckets):
            saved = ctx.saved_tensors[8 * index : 8 * index + 8]
            needed = ctx.needs_input_grad[3 + 2 * index : 5 + 2 * index]
            rows = slice(bucket.padding.start, bucket.padding.stop)
            cells, of_text = _backward(
                saved, bucket.padding.spread(gradient[rows]), needed, ctx.own
            )
            # Cells of padding repeat real rows, but nothing attends to them: their gradient is 0.
            d_qkv[rows] = bucket.padding.unpad(cells)
            d_text += of_text
        return d_qkv, None, None, *d_text


def _backward(
    saved: Sequence[Tensor], gradient: Tensor, needed: Sequence[bool], own: DecoderWeights
) -> tuple[Tensor, list[Tensor | None]]:
    """One bucket: gradients of its cells (T, P, W, projection), and of its keys and values."""
    q, k, v, on_text, on_own, out, text_k, text_v = saved
    scale = q.shape[-1] ** -0.5
    g = _grouped(gradient.unflatten(-1, (-1, own.head_size)), own.kv_heads)  # (T, h, P, Q, d)
    flat_g = g.flatten(2, 3)
    # (T, h, P x Q, 1): <g, o> of each query, in float32 as all that a softmax goes through
    inner = (flat_g.float() * out.float()).sum(-1, keepdim=True)
    to_text = _score_gradient(on_text, flat_g @ text_v.transpose(-1, -2), inner, scale)
    inner = inner.unflatten(2, g.shape[2:4])
    to_own = _score_gradient(on_own, g @ v.transpose(-1, -2), inner, scale)
    if (cap := own.score_cap) is not None:
        slopes = (1 - (raw / cap).tanh().square() for raw in _scores(q, k, text_k))
        to_text, to_own = (to * slope for to, slope in zip((to_text, to_own), slopes, strict=True))
    dq = (to_own @ k).flatten(2, 3)
    dq += to_text @ text_k
    grads = (dq.view_as(q), to_own.transpose(-1, -2) @ q, on_own.transpose(-1, -2) @ g)
    d_text_k = to_text.transpose(-1, -2) @ q.flatten(2, 3) if needed[0] else None
    d_text_v = on_text.transpose(-1, -2) @ flat_g if needed[1] else None
    rows = [_heads_last(each, k.shape[3]) for each in grads]
    return torch.cat(rows, dim=-1), [d_text_k, d_text_v]


def _scores(q: Tensor, k: Tensor, text_k: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled scores on the text's keys, (T, h, P x Q, n), and on the prompt's own, float32."""
    scale = q.shape[-1] ** -0.5
    to_text = (q.flatten(2, 3) @ text_k.transpose(-1, -2)).float().mul_(scale)
    return to_text, (q @ k.transpose(-1, -2)).float().mul_(scale)


def _weights(
    q: Tensor, k: Tensor, text_k: Tensor, bucket: PromptBucket, cap: float | None
) -> tuple[Tensor, Tensor]:
    """Softmax over the text's keys and the prompt's own together, in float32; in q's precision.

    Returns:
        (T, h, P x Q, n) and (T, h, P, Q, W).
    """
    to_text, to_own = (capped(scores, cap) for scores in _scores(q, k, text_k))
    to_own.add_(bucket.own_bias)
    text_parts = to_text.unflatten(2, q.shape[2:4]).add_(bucket.text_bias[:, :, None])
    top = torch.maximum(text_parts.amax(-1, keepdim=True), to_own.amax(-1, keepdim=True))
    text_parts.sub_(top).exp_()
    to_own.sub_(top).exp_()
    total = text_parts.sum(-1, keepdim=True) + to_own.sum(-1, keepdim=True)
    text_parts.div_(total)
    return to_text.to(q.dtype), to_own.div_(total).to(q.dtype)


def _score_gradient(weights: Tensor, gradient: Tensor, inner: Tensor, scale: float) -> Tensor:
    """Gradient of scaled scores from that of their softmax, which may be overwritten."""
    return gradient.float().sub_(inner).mul_(weights).mul_(scale).to(weights.dtype)


def _heads_first(cells: Tensor, own: DecoderWeights) -> tuple[Tensor, Tensor, Tensor]:
    """(T, P, W, projection) -> q (T, h, P, Q, d), k and v (T, h, P, W, d), each contiguous."""
    parts = cells.unflatten(-1, (-1, own.head_size))
    q, k, v = parts.split([own.heads, own.kv_heads, own.kv_heads], dim=3)
    return _grouped(q, own.kv_heads), _grouped(k, own.kv_heads), _grouped(v, own.kv_heads)


def _grouped(cells: Tensor, keys: int) -> Tensor:
    """(T, P, W, h x groups, d) -> (T, h, P, groups x W, d), contiguous."""
    parts: Tensor = cells.unflatten(3, (keys, -1)).permute(0, 3, 1, 4, 2, 5)
    return parts.flatten(3, 4).contiguous()


def _heads_last(cells: Tensor, width: int) -> Tensor:
    """(T, h, P, groups x W, d) -> (T, P, W, h x groups x d)."""
    rows: Tensor = cells.unflatten(3, (-1, width)).permute(0, 2, 4, 1, 3, 5).flatten(3)
    return rows
