"""How sure a few seeds let us be, and how a reader meets such numbers.

Means with Student's 95 % intervals, and paired differences, of what is not a mean over sentences:
correlations, shares of languages, times. There the seeds alone are the sample. Accuracies have the
intervals of `contrasts`, which hold articles too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

LEVEL = 0.95
Direction = Literal["above", "below", "unclear"]
Verdict = Literal["agrees", "does not agree", "cannot tell"]
_MINUS = "−"
_SIZES = ((10**9, "GB"), (10**6, "MB"), (10**3, "KB"))


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

    def shifted(self, by: float) -> Interval:
        """The same estimate from another zero."""
        low = None if self.low is None else self.low + by
        high = None if self.high is None else self.high + by
        return Interval(self.mean + by, low, high, self.n)


def interval_of(values: Sequence[float]) -> Interval:
    """Mean of independent values and Student's 95 % interval around it."""
    from scipy.stats import t

    middle, n = fmean(values), len(values)
    if n < 2:
        return Interval(middle, None, None, n)
    reach = float(t.ppf((1 + LEVEL) / 2, n - 1)) * stdev(values) / math.sqrt(n)
    return Interval(middle, middle - reach, middle + reach, n)


def difference(ours: Mapping[int, float], other: Mapping[int, float]) -> Interval | None:
    """`ours` minus `other`, seed by seed: both trained on the same examples. None: no such seed."""
    both = sorted(ours.keys() & other.keys())
    return interval_of([ours[seed] - other[seed] for seed in both]) if both else None


def spread(values: Sequence[float]) -> float | None:
    """Sample standard deviation; None for a single value."""
    return stdev(values) if len(values) > 1 else None


def plain(number: float, decimals: int = 1) -> str:
    """A number with a real minus sign, and no sign at all on zero."""
    text = f"{number:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", _MINUS)


def signed(number: float, decimals: int = 1) -> str:
    """A number that says which way it goes, except at zero."""
    text = plain(number, decimals)
    return text if text.startswith(_MINUS) or float(text) == 0 else f"+{text}"


def span(interval: Interval, decimals: int = 1, sign: bool = True) -> str:
    """What an estimate may as well be, in brackets."""
    number = signed if sign else plain
    seeds = counted(interval.n, "seed")
    if interval.low is None or interval.high is None:
        return f"({seeds}: no interval)" if interval.n else "(no seed in both: no interval)"
    low, high = number(interval.low, decimals), number(interval.high, decimals)
    return f"(95 % interval {low} to {high}, {seeds})"


def counted(number: int, noun: str) -> str:
    """ "1 seed", "4 seeds", "8 families"."""
    if number == 1:
        return f"{number:,} {noun}"
    return (
        f"{number:,} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{number:,} {noun}s"
    )


def listing(items: Sequence[str]) -> str:
    """ "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def size(count: float) -> str:
    """Bytes in the unit that suits them (1 KB is 1,000 bytes)."""
    for unit, name in _SIZES:
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} bytes"


def share(percent: float) -> str:
    """A share in percent; small ones keep two significant digits."""
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def chance(p: float) -> str:
    """A p-value as it is written: "p = 0.03", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def judged(interval: Interval | None, claimed: str) -> Verdict:
    """Does the interval bear out a claim that the estimate is "above" or "below" zero?"""
    direction = "unclear" if interval is None else interval.direction
    if direction == "unclear":
        return "cannot tell"
    return "agrees" if direction == claimed else "does not agree"
