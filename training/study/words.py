"""Numbers as a reader meets them in sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

from isogloss.training.study.intervals import Interval
from isogloss.training.study.rows import Verdict

_MINUS = "−"
_SIZES = ((10**9, "GB"), (10**6, "MB"), (10**3, "KB"))


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
    """ "1 seed", "4 seeds"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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


def judged(interval: Interval | None, claimed: str) -> Verdict:
    """Does the interval bear out a claim that the estimate is "above" or "below" zero?"""
    direction = "unclear" if interval is None else interval.direction
    if direction == "unclear":
        return "cannot tell"
    return "agrees" if direction == claimed else "does not agree"
