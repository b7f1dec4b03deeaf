"""How far probabilities are from how often they come true: reliability bins, calibration error.

The expected calibration error (Naeini et al. 2015, Guo et al. 2017) is the mean distance between
confidence and accuracy, each bin weighing as many claims as it holds. Few claims fill bins
unevenly, so even perfect probabilities are not at zero: compare errors on the same claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Bin:
    """The claims whose confidence is from `low` to `high`: a point of a reliability diagram."""

    low: float
    high: float
    answers: int
    confidence: float  # mean
    accuracy: float  # share that is right


def reliability_bins(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], number: int
) -> list[Bin]:
    """Sort claims into bins of equal width; return those that hold any, in order of confidence.

    Args:
        confidence: (claims,), between 0 and 1.
        correct: (claims,), whether each is right.
        number: of bins.
    """
    places = np.minimum((confidence * number).astype(int), number - 1)
    bins = []
    for place in np.unique(places).tolist():
        inside = places == place
        means = float(confidence[inside].mean()), float(correct[inside].mean())
        bins.append(Bin(place / number, (place + 1) / number, int(inside.sum()), *means))
    return bins


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error, 0 to 1, of all claims in these bins; 0 where there is none.

    >>> calibration_error([Bin(0.9, 1.0, 2, 0.9, 1.0), Bin(0.5, 0.6, 2, 0.5, 0.5)])
    0.05
    """
    gaps = sum(each.answers * abs(each.confidence - each.accuracy) for each in bins)
    return gaps / max(sum(each.answers for each in bins), 1)
