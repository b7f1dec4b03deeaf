"""Where texts and their prompts lie in one packed matrix: index arithmetic only.

Sequence follows sequence: a text's rows, then the rows of its prompts. A text with one prompt
behind it is simply one causal sequence, and so is a prompt with its text behind it. Several prompts
behind one text share its rows, the trunk. Sequences of the same shape follow one another in a
group, which attention handles in one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Run:
    """Prompts of equal length behind one text."""

    start: int  # rows after the beginning of the text
    count: int
    length: int

    @property
    def rows(self) -> slice:
        """Where they lie in their sequence."""
        return slice(self.start, self.start + self.count * self.length)


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences of the same shape that follow one another in the packed matrix."""

    start: int  # packed row of the first
    count: int
    trunk: int  # rows of each that are causal from the first to the last
    runs: tuple[Run, ...]  # prompts that share the trunk; none where they belong to it

    @property
    def length(self) -> int:
        """Rows of one sequence."""
        return self.trunk + sum(run.count * run.length for run in self.runs)

    @property
    def rows(self) -> slice:
        """Where they lie in the packed matrix."""
        return slice(self.start, self.start + self.count * self.length)

    def ends(self) -> list[int]:
        """Packed rows whose final state is asked for: each prompt's last, or each sequence's."""
        inside = [run.start + (i + 1) * run.length for run in self.runs for i in range(run.count)]
        return [
            self.start + index * self.length + end - 1
            for index in range(self.count)
            for end in (inside or [self.trunk])
        ]


@dataclass(frozen=True, slots=True)
class Layout:
    """A packed batch: which texts and prompts lie where, and what is read."""

    groups: tuple[Group, ...]
    order: tuple[tuple[int, tuple[int, ...]], ...]  # (text, its prompts), in packed order
    positions: tuple[tuple[int, int], ...]  # spans of positions, in packed order
    reads: tuple[int, ...]  # index among the states read of each (text, prompt), text by text

    @classmethod
    def of(cls, texts: Sequence[int], prompts: Sequence[Sequence[int]]) -> Layout:
        """Lay out texts of these lengths with prompts of these lengths behind them.

        Texts without prompts are left out: nothing of them is read.
        """
        shapes = {
            text: (texts[text], tuple(sorted(behind)))
            for text, behind in enumerate(prompts)
            if behind
        }
        chosen = sorted(shapes, key=lambda text: shapes[text], reverse=True)
        groups: list[Group] = []
        start = 0
        for (length, behind), members in groupby(chosen, key=lambda text: shapes[text]):
            groups.append(_group(start, len(list(members)), length, behind))
            start = groups[-1].rows.stop
        order, spans, pairs = [], [], []
        for text in chosen:
            slots = tuple(sorted(range(len(prompts[text])), key=prompts[text].__getitem__))
            order.append((text, slots))
            spans.append((0, texts[text]))
            spans += [(texts[text], texts[text] + prompts[text][slot]) for slot in slots]
            pairs += [(text, slot) for slot in slots]
        indices = {pair: index for index, pair in enumerate(pairs)}
        reads = tuple(indices[pair] for pair in sorted(pairs))
        return cls(tuple(groups), tuple(order), tuple(spans), reads)

    @property
    def longest(self) -> int:
        """Positions that the longest sequence takes."""
        return max(
            group.trunk + max((run.length for run in group.runs), default=0)
            for group in self.groups
        )

    def ends(self) -> list[int]:
        """Packed rows whose final state is asked for."""
        return [end for group in self.groups for end in group.ends()]

    def position_ids(self) -> Tensor:
        """(rows,) position of every packed row in its sequence."""
        return torch.cat([torch.arange(first, last) for first, last in self.positions])


def _group(start: int, count: int, text: int, prompts: Sequence[int]) -> Group:
    if len(prompts) == 1:
        return Group(start, count, text + prompts[0], ())
    runs, row = [], text
    for length, same in groupby(prompts):
        runs.append(Run(row, len(list(same)), length))
        row = runs[-1].rows.stop
    return Group(start, count, text, tuple(runs))
