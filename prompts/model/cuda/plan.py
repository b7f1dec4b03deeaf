"""Where every row of a batch lies and what it may see: index arithmetic on the host.

Rows lie text by text in the caller's order, each text's prompts right behind it:

    text 0 | prompt 0.0 | prompt 0.1 | text 1 | text 2 | prompt 2.0 | padding

so that a row sees only rows shortly before it. What it sees is told by three numbers a row, all of
them rows of the batch (`first`, `text_end`, `prompt_begin`): row q sees row k where

    first[q] <= k <= q  and  (k < text_end[q]  or  prompt_begin[q] <= k)

- a row of a text: first = text_end = prompt_begin = the text's first row: it sees its text up to
  itself;
- a row of a prompt: first and text_end enclose its text, prompt_begin is the prompt's first row: it
  sees the whole text and its own prompt up to itself, and none of the text's other prompts;
- a row of padding: all three are the row itself: it sees nothing else, and nothing sees it.

The attention kernel reads these three for its queries alone, and nothing for its keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from isogloss.prompts.model.cuda.ladder import Rung

Ints = npt.NDArray[np.int32]

BLOCK = 128
"""Rows and columns of a block of the attention matrix: computed whole, or not at all.

With 65 rows a text, a block of 128 queries sees about two blocks of keys and uses a quarter of
them. At head size 64 that is 1 FLOP of attention to 24 of BLOOM-560M's linear layers.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """One batch laid out on a rung of R rows, P pairs and B = ceil(R / BLOCK) blocks."""

    rung: Rung
    positions: Ints  # (R,) a row's position in its sequence: prompts count on from their text
    first: Ints  # (R,)
    text_end: Ints  # (R,)
    prompt_begin: Ints  # (R,)
    last: Ints  # (P,) row whose state each pair asks for; row 0 beyond the batch's own pairs
    block_counts: Ints  # (B,) how many blocks of keys each block of queries sees
    blocks: Ints  # (B, B) and which; entries beyond the count are any valid block
    source: Ints  # (R,) each row's place among the texts' tokens and then the distinct prompts'
    pairs: int

    @classmethod
    def padding(cls, rung: Rung) -> Plan:
        """A rung full of padding: what it is compiled and captured with."""
        return cls.of(Batch([], [], []), rung)

    @classmethod
    def of(cls, batch: Batch, rung: Rung) -> Plan:
        """Lay a batch out. The rung must hold it."""
        lengths, texts, is_prompt = batch.segments()
        ends = np.cumsum(lengths)
        starts = ends - lengths
        of_text = np.flatnonzero(~is_prompt)  # segment of each text
        text_starts, text_lengths = starts[of_text][texts], lengths[of_text][texts]
        text_ends = np.where(is_prompt, text_starts + text_lengths, starts)
        first_positions = np.where(is_prompt, text_lengths, 0)
        n, padding = batch.rows, np.arange(batch.rows, rung.rows)
        row = np.arange(n)

        def by_row(of_segment: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
            return np.repeat(of_segment, lengths)

        inside = row - by_row(starts)
        first = np.concatenate([by_row(text_starts), padding])
        counts, blocks = _blocks(first)
        zeros = np.zeros(len(padding), np.int64)
        return cls(
            rung=rung,
            positions=_ints(by_row(first_positions) + inside, zeros),
            first=_ints(first),
            text_end=_ints(by_row(text_ends), padding),
            prompt_begin=_ints(by_row(starts), padding),
            last=_ints(ends[is_prompt] - 1, np.zeros(rung.pairs - batch.pairs, np.int64)),
            block_counts=counts,
            blocks=blocks,
            source=_ints(by_row(batch.sources(lengths, is_prompt)) + inside, zeros),
            pairs=batch.pairs,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """The sizes of a ragged batch."""

    texts: Sequence[int]  # tokens of each text
    prompts: Sequence[Sequence[int]]  # of each text: which of the distinct prompts follow it
    distinct: Sequence[int]  # tokens of each distinct prompt

    @property
    def rows(self) -> int:
        """Rows that the batch takes."""
        return sum(self.rows_of_texts())

    @property
    def pairs(self) -> int:
        """Texts times their prompts."""
        return sum(map(len, self.prompts))

    def part(self, texts: range) -> Batch:
        """Some of the texts, with the same distinct prompts."""
        some = slice(texts.start, texts.stop)
        return Batch(self.texts[some], self.prompts[some], self.distinct)

    def rows_of_texts(self) -> list[int]:
        """Rows of each text with its prompts."""
        return [
            tokens + sum(self.distinct[prompt] for prompt in row)
            for tokens, row in zip(self.texts, self.prompts, strict=True)
        ]

    def segments(
        self,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Of each text and each prompt behind it, as they lie: rows, its text, is it a prompt."""
        counts = np.fromiter(map(len, self.prompts), np.int64, len(self.prompts)) + 1
        is_prompt = np.ones(int(counts.sum()), np.bool_)
        is_prompt[np.cumsum(counts) - counts] = False
        lengths = np.empty(len(is_prompt), np.int64)
        lengths[~is_prompt] = np.asarray(self.texts, np.int64)
        lengths[is_prompt] = np.asarray(self.distinct, np.int64)[self._chosen()]
        return lengths, np.repeat(np.arange(len(counts)), counts), is_prompt

    def sources(
        self, lengths: npt.NDArray[np.int64], is_prompt: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.int64]:
        """Of each segment, where its first row lies among all texts' and distinct prompts' rows."""
        distinct = np.asarray(self.distinct, np.int64)
        texts = lengths[~is_prompt]
        of_segment = np.empty(len(lengths), np.int64)
        of_segment[~is_prompt] = np.cumsum(texts) - texts
        of_segment[is_prompt] = (texts.sum() + np.cumsum(distinct) - distinct)[self._chosen()]
        return of_segment

    def _chosen(self) -> npt.NDArray[np.int64]:
        """(pairs,) which of the distinct prompts each pair has."""
        return np.fromiter(chain.from_iterable(self.prompts), np.int64, self.pairs)


def _ints(*parts: npt.NDArray[np.int64]) -> Ints:
    return np.concatenate(parts).astype(np.int32)


def _blocks(first: npt.NDArray[np.int64]) -> tuple[Ints, Ints]:
    """Blocks of keys that hold something for each block of queries: a run up to its own.

    The first row that any of a block's rows sees is what the block's first row sees, because
    `first` never falls from one row to the next.
    """
    lowest = first[::BLOCK] // BLOCK
    rows = np.arange(len(lowest))
    blocks = np.minimum(lowest[:, None] + rows[None, :], len(rows) - 1)
    return _ints(rows - lowest + 1), blocks.astype(np.int32)
