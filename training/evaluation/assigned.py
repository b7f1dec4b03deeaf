"""How well labels are assigned where a text may have several: micro and macro F1.

Micro F1 counts every assignment alike, so common labels decide it; macro F1 is the mean of the
labels' own, so that a rare one counts as much as a common one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.format.problem import split_labels
from isogloss.training.evaluation.predictions import Prediction

Marks = NDArray[np.bool_]
"""(texts, labels): whether a label is assigned, or should be."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """F1 of the labels of many texts, from 0 to 1."""

    micro_f1: float
    macro_f1: float


def measure_marks(said: Marks, gold: Marks) -> Assigned:
    """F1 of what was assigned, (texts, labels), against what should be.

    A label that no text has and none was given counts nothing in the mean of the labels.
    """
    hits = (said & gold).sum(axis=0)
    sizes = said.sum(axis=0) + gold.sum(axis=0)
    used = sizes > 0
    macro = (2 * hits[used] / sizes[used]).mean() if used.any() else 1.0
    micro = 2 * hits.sum() / sizes.sum() if used.any() else 1.0
    return Assigned(float(micro), float(macro))


def measure_predictions(rows: Sequence[Prediction]) -> Assigned:
    """F1 of predictions with several labels, over all of their texts."""
    cells = [cell for row in rows for cell in (row.gold, row.predicted)]
    labels = sorted({label for cell in cells for label in split_labels(cell)})
    return measure_marks(
        marks([row.predicted for row in rows], labels), marks([row.gold for row in rows], labels)
    )


def marks(cells: Sequence[str], labels: Sequence[str]) -> Marks:
    """Labels in cells -> (texts, labels)."""
    found = [set(split_labels(cell)) for cell in cells]
    return np.array([[label in own for label in labels] for own in found], dtype=np.bool_).reshape(
        len(cells), len(labels)
    )
