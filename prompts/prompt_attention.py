"""Prompts attend to shared text keys and values, forward and backward, on packed rows.

In training this runs at every layer of every step, where autograd's own bookkeeping of a dozen
reshapings moves more memory than the products themselves; so the gradient is written out. It is
that of softmax attention: with weights w, output o = w v and upstream gradient g,
dv = w^T g, ds = w (g v^T - <g, o>), dq = ds k, dk = ds^T q (Dao et al. 2022, Appendix B).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from prompts.packing import Padding

Biases = tuple[Tensor, Tensor]
"""`text_bias` (texts, heads or 1, 1, text width), `prompt_bias` (heads or 1, 1, width, width)."""


def attend_prompts(
    qkv: Tensor, text_k: Tensor, text_v: Tensor, over: Biases, padding: Padding, heads: int
) -> Tensor:
    """Each prompt attends to its text's keys and to its own earlier tokens.

    The text's keys and values are read in place by all of its prompts: nothing is repeated.

    Args:
        qkv: (prompt tokens of the batch, 3 x hidden), packed: all queries, all keys, all values.
        text_k: (texts, heads, text width, head_size).
        text_v: (texts, heads, text width, head_size).
        over: biases of the text's keys and of the prompts' own.
        padding: where the rows of these texts' prompts are: shape (texts, prompts, width).
        heads: attention heads.

    Returns:
        (prompt tokens of these texts, hidden), packed. Differentiable in qkv, text_k and text_v.
    """
    apply: Callable[..., Tensor] = _AttendPrompts.apply
    return apply(qkv, text_k, text_v, over, padding, heads)


class _AttendPrompts(torch.autograd.Function):
    """Below, T texts, h heads, P prompts, W their width, n the texts' width, d the head's size."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        text_k: Tensor,
        text_v: Tensor,
        over: Biases,
        padding: Padding,
        heads: int,
    ) -> Tensor:
        q, k, v = _heads_first(padding.pad(qkv), heads)  # (T, h, P, W, d) each
        on_text, on_own = _weights(q, k, text_k, over)  # (T, h, P x W, n), (T, h, P, W, W)
        out = (on_own @ v).flatten(2, 3)
        out += on_text @ text_v
        ctx.save_for_backward(q, k, v, text_k, text_v, on_text, on_own, out)
        ctx.padding, ctx.rows = padding, qkv.shape[0]
        return padding.unpad(_heads_last(out.view_as(q)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, text_k, text_v, on_text, on_own, out = ctx.saved_tensors
        padding: Padding = ctx.padding
        heads = q.shape[1]
        g = _to_heads(padding.spread(grads[0]), heads)  # (T, h, P, W, d)
        flat_g, flat_q = g.flatten(2, 3), q.flatten(2, 3)
        inner = (flat_g * out).sum(-1, keepdim=True)  # (T, h, P x W, 1): <g, o> of each query
        scale = q.shape[-1] ** -0.5
        to_text = _score_gradient(on_text, flat_g @ text_v.transpose(-1, -2), inner, scale)
        inner = inner.unflatten(2, g.shape[2:4])
        to_own = _score_gradient(on_own, g @ v.transpose(-1, -2), inner, scale)
        dq = (to_own @ k).flatten(2, 3)
        dq += to_text @ text_k
        own = (dq.view_as(q), to_own.transpose(-1, -2) @ q, on_own.transpose(-1, -2) @ g)
        d_text_k = to_text.transpose(-1, -2) @ flat_q if ctx.needs_input_grad[1] else None
        d_text_v = on_text.transpose(-1, -2) @ flat_g if ctx.needs_input_grad[2] else None
        # Cells of padding repeat real rows, but nothing attends to them: their gradient is zero.
        d_qkv = padding.unpad(torch.stack([_heads_last(t) for t in own], dim=3).flatten(3))
        if d_qkv.shape[0] != ctx.rows:  # these texts are one bucket of several
            whole = d_qkv.new_zeros(ctx.rows, d_qkv.shape[1])
            whole[padding.start : padding.stop] = d_qkv
            d_qkv = whole
        return d_qkv, d_text_k, d_text_v, None, None, None


def _weights(q: Tensor, k: Tensor, text_k: Tensor, over: Biases) -> tuple[Tensor, Tensor]:
    """Softmax over the text's keys and the prompt's own together, in float32; in q's precision."""
    scale = q.shape[-1] ** -0.5
    prompts, width = q.shape[2:4]
    to_text = (q.flatten(2, 3) @ text_k.transpose(-1, -2)).float().mul_(scale).add_(over[0])
    to_own = (q @ k.transpose(-1, -2)).float().mul_(scale).add_(over[1])
    text_parts = to_text.unflatten(2, (prompts, width))
    top = torch.maximum(text_parts.amax(-1, keepdim=True), to_own.amax(-1, keepdim=True))
    text_parts.sub_(top).exp_()
    to_own.sub_(top).exp_()
    total = text_parts.sum(-1, keepdim=True) + to_own.sum(-1, keepdim=True)
    text_parts.div_(total)
    return to_text.to(q.dtype), to_own.div_(total).to(q.dtype)


def _score_gradient(weights: Tensor, gradient: Tensor, inner: Tensor, scale: float) -> Tensor:
    """Gradient of scaled scores from that of their softmax (overwritten)."""
    return gradient.sub_(inner).mul_(weights).mul_(scale)


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
