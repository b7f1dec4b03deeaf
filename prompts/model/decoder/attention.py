"""Attention of texts over themselves, and the biases of both kinds of attention.

ALiBi (Press et al. 2022; transformers' `build_alibi_tensor`) adds slope x key position to BLOOM's
scores. Softmax ignores what is constant along a query's row, so positions may be counted from any
origin: prompts count from the end of their text, which keeps the numbers small in half precision.
XGLM has no such bias: its slopes are None.
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


def causal_bias(slopes: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """(1, heads, width, width): ALiBi for past keys, -inf for future ones.

    Measured back from the query, so that near keys, which matter, are the exact ones in bf16.
    """
    position = torch.arange(width, device=slopes.device)
    distance = (position[None, :] - position[:, None]).float()
    bias = slopes[:, None, None] * distance
    return bias.masked_fill(distance > 0, float("-inf")).to(dtype)[None]


def attend_text(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Causal attention within each text: q, k, v (texts, heads, width, head_size) -> same.

    Texts are padded on the right: real tokens never see a padded key, so no per-row mask is needed.
    """
    if bias is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))


def text_bias(slopes: Tensor | None, lengths: Tensor, width: int) -> Tensor:
    """Bias of text keys as a prompt sees them: (texts, heads or 1, 1, width), float32.

    `lengths` (texts,). Keys of padding get -inf; ALiBi counts back from the text's end.
    """
    position = torch.arange(width, device=lengths.device)[None, :] - lengths[:, None]
    outside = (position >= 0)[:, None, None, :]
    bias = position.float()[:, None, None, :]
    bias = torch.zeros_like(bias) if slopes is None else bias * slopes[None, :, None, None]
    return bias.masked_fill(outside, float("-inf"))


def prompt_bias(slopes: Tensor | None, width: int, device: torch.device) -> Tensor:
    """Bias of a prompt's own keys: (heads or 1, 1, width, width), float32, causal."""
    position = torch.arange(width, device=device)
    future = position[None, :] > position[:, None]
    bias = position.float()[None, None, None, :].expand(1, 1, width, width)
    bias = torch.zeros_like(bias) if slopes is None else bias * slopes[:, None, None, None]
    return bias.masked_fill(future, float("-inf"))
