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

from isogloss.prompts.model.decoder.packing import Padding


@dataclass(frozen=True, slots=True)
class PromptBucket:
    """Where a bucket's prompts lie, and what is added to their scores."""

    padding: Padding  # shape (texts, prompts, width)
    text_bias: Tensor  # (texts, heads or 1, 1, text width)
    own_bias: Tensor  # (heads or 1, 1, width, width)


def attend_prompts(
    qkv: Tensor,
    buckets: Sequence[PromptBucket],
    text_kv: Sequence[tuple[Tensor, Tensor]],
    heads: int,
) -> Tensor:
    """Each prompt attends to its text's keys and to its own earlier tokens.

    The text's keys and values are read in place by all of its prompts: nothing is repeated.

    Args:
        qkv: (prompt tokens, 3 x hidden), packed: all queries, all keys, all values.
        buckets: the texts' buckets that have prompts; their rows follow one another in `qkv`.
        text_kv: of each of these buckets, keys and values (texts, heads, text width, head_size).
        heads: attention heads.

    Returns:
        (prompt tokens, hidden), packed. Differentiable in qkv and in the texts' keys and values.
    """
    apply: Callable[..., Tensor] = _AttendPrompts.apply
    return apply(qkv, tuple(buckets), heads, *(tensor for pair in text_kv for tensor in pair))


class _AttendPrompts(torch.autograd.Function):
    """Below, T texts, h heads, P prompts, W their width, n the texts' width, d the head's size."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, buckets: tuple[PromptBucket, ...], heads: int, *text_kv: Tensor
    ) -> Tensor:
        mixed, saved = [], []
        for index, bucket in enumerate(buckets):
            text_k, text_v = text_kv[2 * index : 2 * index + 2]
            q, k, v = _heads_first(bucket.padding.pad(qkv), heads)  # (T, h, P, W, d) each
            on_text, on_own = _weights(q, k, text_k, bucket)  # (T, h, P x W, n), (T, h, P, W, W)
            out = (on_own @ v).flatten(2, 3)
            out += on_text @ text_v
            saved += [q, k, v, on_text, on_own, out, text_k, text_v]
            mixed.append(bucket.padding.unpad(_heads_last(out.view_as(q))))
        ctx.save_for_backward(*saved)
        ctx.buckets, ctx.shape = buckets, qkv.shape
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
            cells, of_text = _backward(saved, bucket.padding.spread(gradient[rows]), needed)
            # Cells of padding repeat real rows, but nothing attends to them: their gradient is 0.
            d_qkv[rows] = bucket.padding.unpad(cells)
            d_text += of_text
        return d_qkv, None, None, *d_text


def _backward(
    saved: Sequence[Tensor], gradient: Tensor, needed: Sequence[bool]
) -> tuple[Tensor, list[Tensor | None]]:
    """One bucket: gradients of its cells (T, P, W, 3 x hidden), and of its keys and values."""
    q, k, v, on_text, on_own, out, text_k, text_v = saved
    scale = q.shape[-1] ** -0.5
    g = _to_heads(gradient, q.shape[1])  # (T, h, P, W, d)
    flat_g = g.flatten(2, 3)
    # (T, h, P x W, 1): <g, o> of each query, in float32 as all that a softmax goes through
    inner = (flat_g.float() * out.float()).sum(-1, keepdim=True)
    to_text = _score_gradient(on_text, flat_g @ text_v.transpose(-1, -2), inner, scale)
    inner = inner.unflatten(2, g.shape[2:4])
    to_own = _score_gradient(on_own, g @ v.transpose(-1, -2), inner, scale)
    dq = (to_own @ k).flatten(2, 3)
    dq += to_text @ text_k
    grads = (dq.view_as(q), to_own.transpose(-1, -2) @ q, on_own.transpose(-1, -2) @ g)
    d_text_k = to_text.transpose(-1, -2) @ q.flatten(2, 3) if needed[0] else None
    d_text_v = on_text.transpose(-1, -2) @ flat_g if needed[1] else None
    return torch.stack([_heads_last(t) for t in grads], dim=3).flatten(3), [d_text_k, d_text_v]


def _weights(q: Tensor, k: Tensor, text_k: Tensor, bucket: PromptBucket) -> tuple[Tensor, Tensor]:
    """Softmax over the text's keys and the prompt's own together, in float32; in q's precision."""
    scale = q.shape[-1] ** -0.5
    to_text = (q.flatten(2, 3) @ text_k.transpose(-1, -2)).float().mul_(scale)
    to_own = (q @ k.transpose(-1, -2)).float().mul_(scale).add_(bucket.own_bias)
    text_parts = to_text.add_(bucket.text_bias).unflatten(2, q.shape[2:4])
    top = torch.maximum(text_parts.amax(-1, keepdim=True), to_own.amax(-1, keepdim=True))
    text_parts.sub_(top).exp_()
    to_own.sub_(top).exp_()
    total = text_parts.sum(-1, keepdim=True) + to_own.sum(-1, keepdim=True)
    text_parts.div_(total)
    return to_text.to(q.dtype), to_own.div_(total).to(q.dtype)


def _score_gradient(weights: Tensor, gradient: Tensor, inner: Tensor, scale: float) -> Tensor:
    """Gradient of scaled scores from that of their softmax, which may be overwritten."""
    return gradient.float().sub_(inner).mul_(weights).mul_(scale).to(weights.dtype)


def _heads_first(cells: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(T, P, W, 3 x hidden) -> three of (T, h, P, W, d), each contiguous."""
    q, k, v = cells.unflatten(-1, (3, heads, -1)).permute(3, 0, 4, 1, 2, 5).contiguous().unbind(0)
    return q, k, v


def _to_heads(cells: Tensor, heads: int) -> Tensor:
    """(T, P, W, hidden) -> (T, h, P, W, d), contiguous."""
    parts: Tensor = cells.unflatten(-1, (heads, -1))
    return parts.permute(0, 3, 1, 2, 4).contiguous()


def _heads_last(cells: Tensor) -> Tensor:
    """(T, h, P, W, d) -> (T, P, W, hidden)."""
    rows: Tensor = cells.permute(0, 2, 3, 1, 4).flatten(3)
    return rows
