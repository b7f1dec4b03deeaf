"""How a batch lies in memory: packed for the linear layers, padded in buckets for attention.

Matrix products dominate on short texts, so every linear layer runs over one packed matrix with a
row per real token and no padding. Attention wants rectangles: texts of similar length share a
bucket, padded to its longest. This file holds only index arithmetic, tested with literal tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from isogloss.prompts.model.decoder.uploads import on_device

# A bucket's shortest text is at least this share of its longest. Attention is a few per cent of the
# work on short texts, so more, smaller buckets cost more in kernel calls than padding wastes.
SHORTEST_IN_BUCKET = 0.6


def bucket_by_length(
    lengths: Sequence[int], shortest: float = SHORTEST_IN_BUCKET
) -> list[list[int]]:
    """Indices of texts grouped by similar length, longest first; stable within equal lengths.

    A group's shortest text has at least the share `shortest` of its longest one's tokens.

    >>> bucket_by_length([10, 50, 9, 48])
    [[1, 3], [0, 2]]
    """
    buckets: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if buckets and lengths[index] >= shortest * lengths[buckets[-1][0]]:
            buckets[-1].append(index)
        else:
            buckets.append([index])
    return buckets


@dataclass(frozen=True, slots=True)
class Padding:
    """Maps packed rows of ragged sequences to a padded rectangle and back.

    `start:stop` are the packed rows of these sequences. Where every sequence has the full width
    nothing needs to move, and both index tensors are None.
    """

    start: int
    stop: int
    shape: tuple[int, ...]  # (sequences, width) or (texts, prompts, width)
    to_padded: Tensor | None  # (cells,) packed row of each cell; padding repeats some real row
    to_packed: Tensor | None  # (rows,) cell of each packed row

    def pad(self, rows: Tensor) -> Tensor:
        """(rows, features) -> (*shape, features)."""
        if self.to_padded is None:
            cells = rows[self.start : self.stop]
        else:
            cells = rows.index_select(0, self.to_padded)
        return cells.view(*self.shape, rows.shape[-1])

    def unpad(self, padded: Tensor) -> Tensor:
        """(*shape, features) -> (stop - start, features)."""
        cells = padded.reshape(-1, padded.shape[-1])
        return cells if self.to_packed is None else cells.index_select(0, self.to_packed)

    def spread(self, rows: Tensor) -> Tensor:
        """Gradient of `unpad`: (stop - start, features) -> (*shape, features), padding zero."""
        if self.to_packed is None:
            return rows.view(*self.shape, rows.shape[-1])
        cells = rows.new_zeros(math.prod(self.shape), rows.shape[-1])
        return cells.index_copy_(0, self.to_packed, rows).view(*self.shape, rows.shape[-1])


def pad_ragged(
    start: int, rows: Sequence[Sequence[int]], device: torch.device, flat: bool
) -> Padding:
    """Padding for sequences of the given lengths whose packed rows begin at `start`.

    Args:
        start: packed row of the first token.
        rows: lengths of the prompts of each text; for plain texts, one length each.
        device: where the index tensors go.
        flat: drop the middle dimension: shape (texts, width) instead of (texts, prompts, width).
    """
    width = max((length for lengths in rows for length in lengths), default=0)
    slots = max((len(lengths) for lengths in rows), default=0)
    shape = (len(rows), width) if flat else (len(rows), slots, width)
    total = sum(length for lengths in rows for length in lengths)
    if total == len(rows) * slots * width:
        return Padding(start, start + total, shape, None, None)
    to_padded: list[int] = []
    to_packed: list[int] = []
    row = start
    for text, lengths in enumerate(rows):
        for slot in range(slots):
            length = lengths[slot] if slot < len(lengths) else 0
            cell = (text * slots + slot) * width
            to_packed.extend(range(cell, cell + length))
            # Cells of padding copy some real row: finite values that nothing attends to.
            padding = min(row, start + total - 1)
            to_padded.extend(range(row, row + length))
            to_padded.extend([padding] * (width - length))
            row += length
    return Padding(
        start,
        start + total,
        shape,
        on_device(to_padded, device),
        on_device(to_packed, device),
    )


@dataclass(frozen=True, slots=True)
class TextBucket:
    """Texts of similar length."""

    texts: tuple[int, ...]  # their indices in the caller's batch
    lengths: tuple[int, ...]  # tokens of each
    padding: Padding

    @property
    def width(self) -> int:
        """Tokens of the longest text."""
        return self.padding.shape[1]


@dataclass(frozen=True, slots=True)
class TextLayout:
    """A packed batch of texts: bucket after bucket, text after text."""

    buckets: tuple[TextBucket, ...]
    lengths: tuple[int, ...]  # in the caller's order

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> TextLayout:
        """Lay out texts of the given token counts."""
        buckets, start = [], 0
        for texts in bucket_by_length(lengths):
            widths = [lengths[i] for i in texts]
            padding = pad_ragged(start, [[n] for n in widths], device, flat=True)
            buckets.append(TextBucket(tuple(texts), tuple(widths), padding))
            start = padding.stop
        return cls(tuple(buckets), tuple(lengths))

    @property
    def order(self) -> list[int]:
        """Texts in packed order."""
        return [text for bucket in self.buckets for text in bucket.texts]

    def last_rows(self) -> list[int]:
        """Packed row of each text's last token, in the caller's order."""
        return _last_rows(self.order, [self.lengths[text] for text in self.order])

    def positions(self, device: torch.device) -> Tensor:
        """(tokens,) position of every packed token in its text."""
        return on_device([p for text in self.order for p in range(self.lengths[text])], device)


@dataclass(frozen=True, slots=True)
class PromptLayout:
    """Prompts after the texts of a `TextLayout` (or of a `TextKV`): bucket after bucket."""

    paddings: tuple[Padding | None, ...]  # (texts, prompts, width) a bucket; None: no prompt in it
    pairs: tuple[tuple[int, int], ...]  # (text, prompt of the text) in packed order
    lengths: tuple[int, ...]  # tokens of each pair's prompt, in packed order

    @classmethod
    def of(
        cls,
        buckets: Sequence[Sequence[int]],
        prompt_lengths: Sequence[Sequence[int]],
        device: torch.device,
    ) -> PromptLayout:
        """Lay out `prompt_lengths[text]` prompts after each text of each bucket."""
        paddings: list[Padding | None] = []
        pairs: list[tuple[int, int]] = []
        start = 0
        for texts in buckets:
            rows = [prompt_lengths[text] for text in texts]
            pairs += [(text, slot) for text in texts for slot in range(len(prompt_lengths[text]))]
            if any(rows):
                padding = pad_ragged(start, rows, device, flat=False)
                paddings.append(padding)
                start = padding.stop
            else:
                paddings.append(None)
        lengths = tuple(prompt_lengths[text][slot] for text, slot in pairs)
        return cls(tuple(paddings), tuple(pairs), lengths)

    def last_rows(self) -> list[int]:
        """Packed row of each pair's last prompt token, pairs ordered text by text."""
        order = sorted(range(len(self.pairs)), key=self.pairs.__getitem__)
        ends = list(accumulate(self.lengths))
        return [ends[i] - 1 for i in order]

    def positions(self, text_lengths: Sequence[int], device: torch.device) -> Tensor:
        """(prompt tokens,) position of every packed prompt token: the prompt follows its text."""
        return on_device(
            [
                text_lengths[text] + offset
                for (text, _), length in zip(self.pairs, self.lengths, strict=True)
                for offset in range(length)
            ],
            device,
        )


def _last_rows(order: Sequence[int], lengths: Sequence[int]) -> list[int]:
    ends = dict(zip(order, accumulate(lengths), strict=True))
    return [ends[text] - 1 for text in range(len(order))]
