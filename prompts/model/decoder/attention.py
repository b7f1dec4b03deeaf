"""Attention of texts over themselves, and the biases of both kinds of attention.

ALiBi (Press et al. 2022; transformers' `build_alibi_tensor`) adds slope x key position to BLOOM's
scores. Softmax ignores what is constant along a query's row, so positions may be counted from any
origin: prompts count from the end of their text, which keeps the numbers small in half precision.
Others have no such bias: their slopes are None. Some let a token see a window of positions only.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def alibi_slopes(heads: int) -> Tensor:
    """(heads,) slopes of ALiBi: geometric; interleaved where heads is no power of two."""
    below = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / below) for i in range(below)]
    slopes += [2.0 ** (-4.0 * (2 * i + 1) / below) for i in range(heads - below)]
    return torch.tensor(slopes, dtype=torch.float32)


def causal_bias(
    slopes: Tensor,
    width: int,
    dtype: torch.dtype,
    window: int | None = None,
    queries: int | None = None,
) -> Tensor:
    """(1, heads, queries, width): ALiBi for past keys, -inf for future ones and out of the window.

    The queries are the last of the width, all of it if None. Measured back from the query, so that
    near keys, which matter, are the exact ones in bf16.
    """
    position = torch.arange(width, device=slopes.device)
    asked = position if queries is None else position[width - queries :]
    distance = (position[None, :] - asked[:, None]).float()
    bias = slopes[:, None, None] * distance
    return bias.masked_fill(_unseen(distance, window), float("-inf")).to(dtype)[None]


def attend_text(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, cap: float | None = None
) -> Tensor:
    """Causal attention: q (texts, heads, width, head_size), k and v (texts, kv_heads, ...) -> as q.

    Texts are padded on the right: real tokens never see a padded key, so no per-row mask is needed.

    Args:
        q: of each text.
        k: of each text; v alike.
        bias: of `causal_bias`, or of some of its queries and keys; None is causal and no more.
        cap: of scores; it needs a bias.
    """
    grouped = q.shape[1] != k.shape[1]
    if cap is not None and bias is not None:
        return _attend_capped(q, k, v, bias, cap)
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=None if bias is None else bias.to(q.dtype),
        is_causal=bias is None and q.shape[2] > 1,
        enable_gqa=grouped,
    )


def _attend_capped(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, cap: float) -> Tensor:
    groups = q.shape[1] // k.shape[1]
    k, v = (each.repeat_interleave(groups, dim=1) for each in (k, v))
    scores = capped((q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5, cap)
    return (scores + bias).softmax(-1).to(v.dtype) @ v


def capped(scores: Tensor, cap: float | None) -> Tensor:
    """Scores as Gemma 2 has them, never beyond the cap. Any shape -> same."""
    return scores if cap is None else (scores / cap).tanh() * cap


def text_bias(
    slopes: Tensor | None, lengths: Tensor, width: int, asking: int = 1, window: int | None = None
) -> Tensor:
    """Bias of text keys as a prompt sees them: (texts, heads or 1, 1 or asking, width), float32.

    `lengths` (texts,). Keys of padding get -inf; ALiBi counts back from the text's end. With a
    window each of the prompt's `asking` rows sees less of the text than the one before.
    """
    position = torch.arange(width, device=lengths.device)[None, :] - lengths[:, None]
    outside = (position >= 0)[:, None, None, :]
    bias = position.float()[:, None, None, :]
    bias = torch.zeros_like(bias) if slopes is None else bias * slopes[None, :, None, None]
    if window is not None:
        rows = torch.arange(asking, device=lengths.device)[:, None]
        outside = outside | (position[:, None, None, :] - rows <= -window)
    return bias.masked_fill(outside, float("-inf"))


def prompt_bias(
    slopes: Tensor | None, width: int, device: torch.device, window: int | None = None
) -> Tensor:
    """Bias of a prompt's own keys: (heads or 1, 1, width, width), float32, causal."""
    position = torch.arange(width, device=device)
    unseen = _unseen(position[None, :] - position[:, None], window)
    bias = position.float()[None, None, None, :].expand(1, 1, width, width)
    bias = torch.zeros_like(bias) if slopes is None else bias * slopes[:, None, None, None]
    return bias.masked_fill(unseen, float("-inf"))


def _unseen(distance: Tensor, window: int | None) -> Tensor:
    """Whether a key at this distance from its query, key less query, is out of its sight."""
    return distance > 0 if window is None else (distance > 0) | (distance <= -window)


def in_effect(window: int | None, longest: int) -> int | None:
    """The window, where a sequence of so many positions reaches beyond it."""
    return window if window is not None and window < longest else None
