"""Attention of packed sequences where they lie: nothing is padded, gathered or copied.

Where `kernels.cpp` is compiled all of it is one call. Else each group of equal sequences has its
own, for on a processor a call costs microseconds. A group's queries, keys and values are views of
the packed projection. The trunk attends to itself once; the prompts behind it attend to the trunk's
keys and each to its own, with one softmax.

Without kernels, biases depend on distances alone, so one table of a block of queries serves every
block, and a long text is read block by block: a table of all its queries would grow with the square
of its length (BLOOM-560M at 1,924 tokens: 237 MB, and as much again while it is made).
"""

from __future__ import annotations

from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from isogloss.prompts.model.decoder.attention import (
    attend_text,
    capped,
    causal_bias,
    in_effect,
)
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights
from isogloss.prompts.model.packed import native_attention
from isogloss.prompts.model.packed.sequences import Group, Layout, Run

_BLOCK_QUERIES = 128
"""Of a biased text that are read at a time; a block of them and its keys stay in cache."""


class SequenceAttention:
    """Attention of one packed batch: what its layers share is made once."""

    def __init__(self, layout: Layout, weights: DecoderWeights) -> None:
        self._groups, self._weights = layout.groups, weights
        self._longest = layout.longest
        runs = [run.length for group in layout.groups for run in group.runs]
        self._block = min(self._longest, max([_BLOCK_QUERIES, *runs]))
        self._tables: dict[int | None, Tensor] = {}
        self._window: int | None = None

    @cached_property
    def _spans(self) -> Tensor:
        return native_attention.spans_of(self._groups)

    def of(self, layer: LayerWeights) -> Self:
        """The same for a layer: it may see no more than a window."""
        self._window = in_effect(layer.window, self._longest)
        return self

    def every_row(self, qkv: Tensor) -> Tensor:
        """(rows, projection) -> (rows, heads x size); zeros for rows below the layout's."""
        mixed = qkv.new_empty(qkv.shape[0], self._weights.heads * self._weights.head_size)
        mixed[self._groups[-1].rows.stop :] = 0
        if self._weights.score_cap is None and native_attention.can_attend(qkv):
            native_attention.attend(self._weights, qkv, self._spans, self._window, mixed)
            return mixed
        for group in self._groups:
            q, k, v = self._split(qkv, group)
            out = mixed[group.rows].view(group.count, group.length, self._weights.heads, -1)
            trunk = slice(0, group.trunk)
            attended = self._causal(*(each[:, :, trunk] for each in (q, k, v)))
            out[:, trunk] = attended.transpose(1, 2)
            for run in group.runs:
                asked = q[:, :, run.rows].unflatten(2, (run.count, run.length))
                attended = self._behind(asked, k, v, group, run)
                out[:, run.rows] = attended.flatten(2, 3).transpose(1, 2)
        return mixed

    def ends(self, qkv: Tensor) -> Tensor:
        """(rows, projection) -> (rows that are read, heads x size), in packed order."""
        read: list[Tensor] = []
        for group in self._groups:
            q, k, v = self._split(qkv, group)
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
        """(rows, projection) -> (count, heads or kv_heads, length, head_size), views."""
        own = self._weights
        cells = qkv[group.rows].view(group.count, group.length, -1, own.head_size).transpose(1, 2)
        q, k, v = cells.split([own.heads, own.kv_heads, own.kv_heads], dim=1)
        return q, k, v

    def _causal(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if not self._is_biased():
            return attend_text(q, k, v, None)
        cap, blocks, end = self._weights.score_cap, [], 0
        for asked in q.split(self._block, dim=2):
            end += asked.shape[2]
            bias = self._bias(asked, asked.shape[2], end)
            blocks.append(attend_text(asked, k[:, :, :end], v[:, :, :end], bias, cap))
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)

    def _last(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The last query of each sequence: (count, heads, 1, head_size)."""
        bias = self._bias(q, 1, q.shape[2]) if self._is_biased() else None
        return attend_text(q[:, :, -1:], k, v, bias, self._weights.score_cap)

    def _is_biased(self) -> bool:
        own = self._weights
        return own.slopes is not None or own.score_cap is not None or self._window is not None

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
        text, shape, asked = group.trunk, (run.count, run.length), q.shape[3]
        # Heads of queries that share a head of keys are more queries of it.
        grouped = q.unflatten(1, (k.shape[1], -1)).transpose(2, 3)
        q = grouped.flatten(3, 4)  # (count, kv_heads, prompts, groups x asked, head_size)
        k_own, v_own = (each[:, :, run.rows].unflatten(2, shape) for each in (k, v))
        k_text, v_text = k[:, :, :text], v[:, :, :text]
        to_text = q.flatten(2, 3) @ k_text.transpose(-1, -2)
        scores = torch.cat(
            [to_text.unflatten(2, q.shape[2:4]), q @ k_own.transpose(-1, -2)], dim=-1
        )
        end = text + run.length
        bias = self._bias(scores, asked, end)[:, :, None]
        if grouped.shape[3] > 1:
            bias = bias.repeat(1, 1, 1, grouped.shape[3], 1)
        weights = self._added(bias, scores, q.shape[-1] ** -0.5).softmax(-1)
        on_text, on_own = weights.split([text, run.length], dim=-1)
        mixed: Tensor = on_own @ v_own
        mixed += (on_text.flatten(2, 3) @ v_text).view_as(mixed)
        return mixed.view_as(grouped).transpose(2, 3).flatten(1, 2)

    def _added(self, bias: Tensor, scores: Tensor, scale: float) -> Tensor:
        cap = self._weights.score_cap
        if cap is None:
            return torch.add(bias, scores, alpha=scale)
        return bias + capped(scores * scale, cap)

    def _bias(self, like: Tensor, asked: int, end: int) -> Tensor:
        """Of the last `asked` of the first `end` positions over all of these: a view.

        (1, heads or 1, asked, end), in the precision of what it is added to: ALiBi, or zero; minus
        infinity for future keys and those out of the window.
        """
        table = self._tables.get(self._window)
        if table is None or table.dtype != like.dtype:
            slopes = self._weights.slopes
            flat = torch.zeros(1, device=like.device) if slopes is None else slopes
            table = causal_bias(flat, self._longest, torch.float32, self._window, self._block)
            table = self._tables[self._window] = table.to(like.dtype)
        # Its queries are the last ones of the longest sequence: distances are the same in any.
        return table[:, :, self._block - asked :, self._longest - end :]
