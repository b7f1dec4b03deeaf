"""Which sizes of batch are captured, and how a batch is cut and padded to fit them.

A CUDA graph replays fixed shapes, so a batch runs at the next larger size that was captured: its
rung. Small rungs are a factor of two apart: there the GPU waits for weights and launches, and
padding rows cost next to nothing. From `COARSE_UP_TO` on, rows are what costs, and four rungs to
every doubling keep the padding under a fifth of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SMALLEST = 64
COARSE_UP_TO = 1024
ROWS_PER_PAIR = 8
"""A rung has room for one pair, a text under a prompt, for this many of its rows.

In the last layer only the pairs' last rows go through all but the attention. A text of 55 tokens
under a prompt of 10 has 65 rows, under 16 prompts 13 rows a pair, so this is seldom what decides;
and an eighth of the rows in one of 24 layers costs less than half a per cent.
"""


@dataclass(frozen=True, slots=True, order=True)
class Rung:
    """One captured size: rows of texts and prompts together, and pairs whose state is read."""

    rows: int
    pairs: int

    @classmethod
    def of(cls, rows: int) -> Rung:
        """The rung of this many rows."""
        return cls(rows, max(rows // ROWS_PER_PAIR, 8))

    def holds(self, rows: int, pairs: int) -> bool:
        """Whether a batch of this size fits."""
        return rows <= self.rows and pairs <= self.pairs


def ladder(max_rows: int) -> tuple[Rung, ...]:
    """Rungs, smallest first, of which the last holds `max_rows` rows.

    >>> [rung.rows for rung in ladder(1500)]
    [64, 128, 256, 512, 1024, 1280, 1536]
    """
    rows = [SMALLEST]
    while rows[-1] < max_rows:
        octave = 1 << (rows[-1].bit_length() - 1)
        rows.append(rows[-1] + (octave if octave < COARSE_UP_TO else octave // 4))
    return tuple(Rung.of(count) for count in rows)


def choose(rungs: Sequence[Rung], rows: int, pairs: int) -> Rung | None:
    """The smallest rung that holds a batch; None where none does."""
    return next((rung for rung in sorted(rungs) if rung.holds(rows, pairs)), None)


def cut(rows: Sequence[int], pairs: Sequence[int], top: Rung) -> list[range] | None:
    """Cut a batch of texts, given the rows and pairs of each, into runs that the top rung holds.

    Returns:
        Ranges of texts, in order, each as long as fits; None where one text alone does not.
    """
    pieces: list[range] = []
    start = rows_so_far = pairs_so_far = 0
    for text, (own_rows, own_pairs) in enumerate(zip(rows, pairs, strict=True)):
        if not top.holds(own_rows, own_pairs):
            return None
        if not top.holds(rows_so_far + own_rows, pairs_so_far + own_pairs):
            pieces.append(range(start, text))
            start, rows_so_far, pairs_so_far = text, 0, 0
        rows_so_far += own_rows
        pairs_so_far += own_pairs
    return [*pieces, range(start, len(rows))]
