"""Attention of packed sequences where they lie: nothing is padded, gathered or copied.

On a processor a kernel call costs microseconds, so each group of equal sequences has its own. A
group's queries, keys and values are views of the packed projection. The trunk attends to itself
once; the prompts behind it attend to the trunk's keys and each to its own, with one softmax.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from isogloss.prompts.model.decoder.attention import causal_bias
from isogloss.prompts.model.packed.sequences import Group, Layout, Run


class SequenceAttention:
    """Attention of one packed batch: what its layers share is made once."""

    def __init__(self, layout: Layout, heads: int, slopes: Tensor | None) -> None:
        self._groups = layout.groups
        self._heads = heads
        self._has_alibi = slopes is not None
        self._bias = _biases(layout, slopes)

    def every_row(self, qkv: Tensor) -> Tensor:
        """(rows, 3 x hidden) -> (rows, hidden); zeros for rows below the layout's."""
        mixed = qkv.new_empty(qkv.shape[0], qkv.shape[1] // 3)
        mixed[self._groups[-1].rows.stop :] = 0
        for group in self._groups:
            q, k, v = self._split(qkv, group)
            out = mixed[group.rows].view(group.count, group.length, self._heads, -1)
            trunk = slice(0, group.trunk)
            attended = self._causal(*(each[:, :, trunk] for each in (q, k, v)))
            out[:, trunk] = attended.transpose(1, 2)
            for run in group.runs:
                asked = q[:, :, run.rows].unflatten(2, (run.count, run.length))
                attended = self._behind(asked, k, v, group, run)
                out[:, run.rows] = attended.flatten(2, 3).transpose(1, 2)
        return mixed

    def ends(self, qkv: Tensor) -> Tensor:
        """(rows, 3 x hidden) -> (rows that are read, hidden), in packed order."""
        read: list[Tensor] = []
        for group in self._groups:
            q, k, v = self._split(qkv, group)  # (count, heads, length, head_size)
            if not group.runs:
                last = self._last(q, k, v).transpose(1, 2)
                read.append(last.reshape(group.count, -1))
                continue
            of_runs = []
            for run in group.runs:
                asked = q[:, :, run.rows].unflatten(2, (run.count, run.length))[:, :, :, -1:]
                attended = self._behind(asked, k, v, group, run)
                of_runs.append(attended.flatten(2, 3).transpose(1, 2).flatten(2))
            read.append(torch.cat(of_runs, dim=1).flatten(0, 1))
        return torch.cat(read)

    def _split(self, qkv: Tensor, group: Group) -> tuple[Tensor, Tensor, Tensor]:
        """(rows, 3 x hidden) -> three of (count, heads, length, head_size), views."""
        cells = qkv[group.rows].view(group.count, group.length, 3, self._heads, -1)
        q, k, v = cells.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def _causal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if not self._has_alibi:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        width = q.shape[2]
        bias = self._table(q)[:, :, :width, :width]
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    def _last(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The last query of each sequence: (count, heads, 1, head_size)."""
        width = q.shape[2]
        bias = self._table(q)[:, :, width - 1 : width, :width] if self._has_alibi else None
        return F.scaled_dot_product_attention(q[:, :, -1:], k, v, attn_mask=bias)

    def _behind(self, q: Tensor, k: Tensor, v: Tensor, group: Group, run: Run) -> Tensor:
        """Prompts of one length over their trunk and themselves; few queries, so few products.

        Args:
            q: (count, heads, prompts, asked, head_size): the last `asked` queries of each prompt.
            k: (count, heads, length, head_size), trunk first; v alike.
            group: whose trunk it is.
            run: the prompts.

        Returns:
            As q.
        """
        text, shape = group.trunk, (run.count, run.length)
        k_own, v_own = (each[:, :, run.rows].unflatten(2, shape) for each in (k, v))
        k_text, v_text = k[:, :, :text], v[:, :, :text]
        to_text = q.flatten(2, 3) @ k_text.transpose(-1, -2)
        scores = torch.cat(
            [to_text.unflatten(2, q.shape[2:4]), q @ k_own.transpose(-1, -2)], dim=-1
        )
        end = text + run.length
        bias = self._table(scores)[:, :, None, end - q.shape[3] : end, :end]
        weights = torch.add(bias, scores, alpha=q.shape[-1] ** -0.5).softmax(-1)
        on_text, on_own = weights.split([text, run.length], dim=-1)
        mixed: Tensor = on_own @ v_own
        mixed += (on_text.flatten(2, 3) @ v_text).view_as(mixed)
        return mixed

    def _table(self, like: Tensor) -> Tensor:
        """(1, heads or 1, longest, longest), in the precision of what it is added to."""
        assert self._bias is not None
        if self._bias.dtype != like.dtype:
            self._bias = self._bias.to(like.dtype)
        return self._bias


def _biases(layout: Layout, slopes: Tensor | None) -> Tensor | None:
    """ALiBi, or minus infinity for future keys where prompts share a trunk; float32."""
    if slopes is None and not any(group.runs for group in layout.groups):
        return None
    return causal_bias(torch.zeros(1) if slopes is None else slopes, layout.longest, torch.float32)
