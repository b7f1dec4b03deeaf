"""How sure a few seeds let us be: means with Student's 95 % intervals, and paired differences.

The seeds are the sample: another seed draws other training examples and another starting prompt.
Languages and test sentences are the same for every run, so they are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

LEVEL = 0.95
Direction = Literal["above", "below", "unclear"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and what it may as well be; without bounds where one seed is all there is."""

    mean: float
    low: float | None
    high: float | None
    n: int  # seeds, or seeds at hand in both settings

    @property
    def direction(self) -> Direction:
        """Is it surely above zero, surely below, or can nobody tell?"""
        if self.low is not None and self.low > 0:
            return "above"
        if self.high is not None and self.high < 0:
            return "below"
        return "unclear"

    def scaled(self, factor: float) -> Interval:
        """The same estimate in another unit; `factor` is positive."""
        low = None if self.low is None else self.low * factor
        high = None if self.high is None else self.high * factor
        return Interval(self.mean * factor, low, high, self.n)


def interval_of(values: Sequence[float], together: int = 1) -> Interval:
    """Mean of independent values and Student's 95 % interval around it.

    `together` intervals of this width all hold at once, 95 times in 100 (Bonferroni).
    """
    from scipy.stats import t

    middle, n = fmean(values), len(values)
    if n < 2:
        return Interval(middle, None, None, n)
    reach = float(t.ppf(1 - (1 - LEVEL) / 2 / together, n - 1)) * stdev(values) / math.sqrt(n)
    return Interval(middle, middle - reach, middle + reach, n)


def difference(
    ours: Mapping[int, float], other: Mapping[int, float], together: int = 1
) -> Interval | None:
    """`ours` minus `other`, seed by seed: both trained on the same examples. None: no such seed."""
    both = sorted(ours.keys() & other.keys())
    return interval_of([ours[seed] - other[seed] for seed in both], together) if both else None


def spread(values: Sequence[float]) -> float | None:
    """Sample standard deviation; None for a single value."""
    return stdev(values) if len(values) > 1 else None
