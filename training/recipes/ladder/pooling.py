"""Paired differences on test, of one rung or the mean of several, with their intervals.

Rungs of one architecture answered the same sentences of the same languages, so the mean of their
differences is a difference too, sentence by sentence, and a slope against alpha is one as well.
Articles are what the bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.errors import InvalidData
from isogloss.training.selection.evidence import Evidence
from isogloss.training.selection.gains import Group, Matrix, answers, bounds, groups_of, resample


@dataclass(frozen=True, slots=True)
class Paired:
    """Right answers of two arms, (language, sentence); fractions where rungs are pooled."""

    evidence: Evidence
    ours: Matrix
    other: Matrix
    moved: NDArray[np.float64]  # (language,): share of rungs in which the arms differ

    @classmethod
    def of(cls, test: Evidence, ours: Mapping[str, str], other: Mapping[str, str]) -> Paired:
        """Of one prompt a language against another."""
        moved = np.array([float(ours[code] != other[code]) for code in test.languages])
        return cls(test, answers(test, ours), answers(test, other), moved)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean difference in points of accuracy, its 95 % interval, and the arms' percents."""

    points: float
    low: float
    high: float
    low_together: float
    high_together: float
    percent: float
    other_percent: float


def pooled(parts: Sequence[Paired], weights: Sequence[float] | None = None) -> Paired:
    """The weighted sum of several rungs' answers; without weights their mean.

    Raises:
        InvalidData: they answered different languages or sentences.
    """
    first = parts[0].evidence
    if any(not np.array_equal(part.evidence.answered, first.answered) for part in parts):
        raise InvalidData("--runs: runs of one architecture answered different sentences")
    shares = np.full(len(parts), 1 / len(parts)) if weights is None else np.array(weights)
    ours, other, moved = (
        np.tensordot(shares, np.stack([getattr(part, name) for part in parts]), axes=1)
        for name in ("ours", "other", "moved")
    )
    return Paired(first, ours, other, moved)


def intervals(paired: Paired, groups: Sequence[Group]) -> list[Interval]:
    """Each group's mean over its languages; `_together` bounds hold for a level at once."""
    evidence = paired.evidence
    weights = np.array([evidence.weights(group.codes) for group in groups])
    estimates, draws = resample(
        paired.ours - paired.other, evidence.answered, weights, evidence.membership
    )
    ends = bounds(estimates, draws, [group.level for group in groups])
    sizes = evidence.answered.sum(axis=1)
    arms = [100 * weights @ (arm.sum(axis=1) / sizes) for arm in (paired.ours, paired.other)]
    told = zip(100 * estimates, *(100 * ends).T, *arms, strict=True)
    return [Interval(*map(float, numbers)) for numbers in told]


def levels(evidence: Evidence, known: Mapping[str, float]) -> list[Group]:
    """All languages, clades, languages, and languages by how much text they were known from."""
    return [*groups_of(evidence), *by_text(evidence.languages, known)]


AMOUNTS = (("over 3 %", 0.03, 2.0), ("0.3 to 3 %", 0.003, 0.03), ("under 0.3 %", 0.0, 0.003))


def by_text(codes: Sequence[str], known: Mapping[str, float]) -> list[Group]:
    """Languages in three parts by their pretraining text, of the best-fed language's."""
    parts = [
        Group("amount", name, tuple(c for c in codes if low <= known.get(c, 0.0) < high))
        for name, low, high in AMOUNTS
    ]
    return [part for part in parts if part.codes]
