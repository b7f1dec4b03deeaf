"""What the tables come to, a row a statement that can be quoted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from isogloss.training.recipes.ladder.comparisons import POOLED, SINGLE, GainRecord, SlopeRecord
from isogloss.training.recipes.ladder.effects import HOME, PECULIAR, EffectRecord
from isogloss.training.recipes.ladder.paper_likeness import LikenessRecord
from isogloss.training.recipes.ladder.ways import EVERYWHERE, PAPERS
from isogloss.training.typology.correlation import pearson


@dataclass(frozen=True, slots=True)
class FindingRecord:
    """One row of findings.csv; bounds are 95 %, empty where a number has none."""

    finding: str
    architecture: str
    value: float
    low: float | None
    high: float | None
    sure: str  # "above zero", "below zero", "unclear", "" where no interval


def finding_records(
    gains: Sequence[GainRecord],
    slopes: Sequence[SlopeRecord],
    effects: Sequence[EffectRecord],
    likeness: Sequence[LikenessRecord],
) -> list[FindingRecord]:
    """All statements, by architecture."""
    return [
        *_best_gains(gains),
        *(
            _finding(
                f"slope of the gain, points for 0.1 of alpha, {row.way}", row.architecture, row
            )
            for row in slopes
            if row.over == SINGLE
        ),
        *(
            _finding(f"{row.effect}, alpha {row.alpha:g}", row.architecture, row)
            for row in effects
            if row.which == POOLED and row.level == "overall" and row.effect in (HOME, PECULIAR)
        ),
        *_clades(gains),
        *_text(gains),
        *_closest(likeness),
    ]


def _finding(
    name: str, architecture: str, row: GainRecord | SlopeRecord | EffectRecord
) -> FindingRecord:
    match row:
        case GainRecord():
            value = row.gain_points
        case SlopeRecord():
            value = row.slope_points
        case EffectRecord():
            value = row.points
    return FindingRecord(name, architecture, value, row.low, row.high, _sure(row.low, row.high))


def _sure(low: float, high: float) -> str:
    if low > 0:
        return "above zero"
    return "below zero" if high < 0 else "unclear"


def _best_gains(gains: Sequence[GainRecord]) -> Iterator[FindingRecord]:
    """Overall gains at every alpha, both in the paper's way and with labels everywhere."""
    for row in gains:
        asked = row.way in (PAPERS, EVERYWHERE) and row.over == SINGLE and row.level == "overall"
        if asked and not row.which.startswith("seed"):
            which = "" if row.which == POOLED else f" ({row.which})"
            yield _finding(f"gain, {row.way}, alpha {row.alpha:g}{which}", row.architecture, row)


def _pooled(
    gains: Sequence[GainRecord], level: str
) -> Iterator[tuple[tuple[str, float, str], list[GainRecord]]]:
    """Architecture, alpha and way, with its gains over the best single prompt, seeds together."""
    pooled = [row for row in gains if row.which == POOLED]
    for key in dict.fromkeys((row.architecture, row.alpha, row.way) for row in pooled):
        yield (
            key,
            [
                row
                for row in pooled
                if (row.architecture, row.alpha, row.way) == key
                and (row.level, row.over) == (level, SINGLE)
            ],
        )


def _clades(gains: Sequence[GainRecord]) -> Iterator[FindingRecord]:
    """How many clades surely gain and surely lose, all clades of a model at once."""
    for (architecture, alpha, way), rows in _pooled(gains, "clade"):
        for what, count in (
            ("surely better", sum(row.low_together > 0 for row in rows)),
            ("surely worse", sum(row.high_together < 0 for row in rows)),
        ):
            name = f"clades {what}, of {len(rows)}, {way}, alpha {alpha:g}"
            yield FindingRecord(name, architecture, count, None, None, "")


def _text(gains: Sequence[GainRecord]) -> Iterator[FindingRecord]:
    """Correlation of languages' gains with the logarithm of their pretraining text."""
    for (architecture, alpha, way), each in _pooled(gains, "language"):
        rows = [row for row in each if row.known > 0]
        x = np.log([row.known for row in rows])
        y = np.array([row.gain_points for row in rows])
        if len(rows) > 2 and y.std() > 0:
            name = f"correlation of gain with log text, {way}, alpha {alpha:g}"
            yield FindingRecord(name, architecture, float(pearson(x, y)), None, None, "")


def _closest(likeness: Sequence[LikenessRecord]) -> Iterator[FindingRecord]:
    for row in likeness:
        name = f"correlation with the paper's {row.paper_model}, alpha {row.alpha:g}, {row.which}"
        yield FindingRecord(name, row.architecture, row.correlation, None, None, "")
