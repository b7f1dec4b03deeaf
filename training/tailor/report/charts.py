"""Two pictures as SVG that takes its colours from the page: a forest plot, and accuracies."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from isogloss.training.tailor.report.reading import Gain, Level

_WIDTH, _ROW, _TOP = 640, 24, 28
_NAMES = 190  # for the names on the left
_VALUES = 70  # for the numbers on the right


def forest(gains: Sequence[Gain], shown: Collection[str]) -> str:
    """Gain over the universal prompt of the clades `shown` that were moved, the most first."""
    moved = sorted((g for g in gains if g.moved and g.name in shown), key=lambda g: -g.points)
    if not moved:
        return ""
    low = min(0.0, *(gain.low for gain in moved))
    high = max(0.0, *(gain.high for gain in moved))
    scale = _Scale(low, high)
    rows = [line for number, gain in enumerate(moved) for line in _bar(scale, number, gain)]
    axis = _axis(scale, len(moved), "points of accuracy over the universal prompt, test")
    return _svg(len(moved), "Gain by clade", [*axis, *rows])


def _bar(scale: _Scale, number: int, gain: Gain) -> Iterator[str]:
    y = _TOP + number * _ROW + _ROW / 2
    kind = "sure" if gain.low > 0 else "worse" if gain.high < 0 else "unsure"
    told = f"{gain.points:+.1f} ({gain.low:.1f} to {gain.high:.1f})"
    many = f"{gain.languages} language{'s' * (gain.languages > 1)}"
    yield f'<g class="{kind}"><title>{escape(gain.name)}, {many}: {told}</title>'
    yield _text(_NAMES - 8, y, f"{_short(gain.name)} ({gain.languages})", "end")
    yield f'<line x1="{scale(gain.low):.1f}" x2="{scale(gain.high):.1f}" y1="{y}" y2="{y}"/>'
    yield f'<circle cx="{scale(gain.points):.1f}" cy="{y}" r="4.5"/>'
    yield _text(_WIDTH, y, f"{gain.points:+.1f}", "end")
    yield "</g>"


def levels(languages: Sequence[Level], facts: Mapping[str, Any]) -> str:
    """Accuracy of each language before (ring) and after (dot), the best first."""
    if not languages:
        return ""
    ranked = sorted(languages, key=lambda level: (-level.after, level.code))
    values = [value for level in ranked for value in (level.before, level.after)]
    scale = _Scale(math.floor(min(values) / 10) * 10, math.ceil(max(values) / 10) * 10)
    rows: list[str] = []
    for number, level in enumerate(ranked):
        rows += _pair(scale, number, level, facts.get(level.code, {}).get("known"))
    axis = _axis(scale, len(ranked), "accuracy in percent, test")
    return _svg(len(ranked), "Accuracy by language", [*axis, *rows])


def _pair(scale: _Scale, number: int, level: Level, known: float | None) -> Iterator[str]:
    y = _TOP + number * _ROW + _ROW / 2
    told = f"{level.before:.1f} -> {level.after:.1f} %"
    kind = "sure" if level.after > level.before else "worse" if level.after < level.before else ""
    yield f'<g class="{kind}"><title>{escape(level.name)}: {told}</title>'
    share = "" if known is None else f", read {100 * known:.2g} %"
    yield _text(_NAMES - 8, y, _short(level.name), "end")
    yield f"<desc>{escape(told + share)}</desc>"
    ends = scale(level.before), scale(level.after)
    yield f'<line x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y}" y2="{y}"/>'
    yield f'<circle class="before" cx="{ends[0]:.1f}" cy="{y}" r="4.5"/>'
    yield f'<circle cx="{ends[1]:.1f}" cy="{y}" r="4.5"/>'
    yield _text(_WIDTH, y, f"{level.after:.0f}", "end")
    yield "</g>"


class _Scale:
    """From a value to a place on the page."""

    def __init__(self, low: float, high: float) -> None:
        spread = (high - low) or 1.0
        self.low, self.high = low - 0.04 * spread, high + 0.04 * spread
        self._unit = (_WIDTH - _NAMES - _VALUES) / (self.high - self.low)

    def __call__(self, value: float) -> float:
        return _NAMES + (value - self.low) * self._unit

    def ticks(self) -> list[float]:
        """Round values, about five."""
        rough = (self.high - self.low) / 5
        power: float = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
        first = math.ceil(self.low / step)
        return [step * n for n in range(first, math.floor(self.high / step) + 1)]


def _axis(scale: _Scale, rows: int, label: str) -> Iterator[str]:
    bottom = _TOP + rows * _ROW
    for tick in scale.ticks():
        kind = "zero" if tick == 0 else "grid"
        x = f"{scale(tick):.1f}"
        yield f'<line class="{kind}" x1="{x}" x2="{x}" y1="{_TOP - 4}" y2="{bottom}"/>'
        yield _text(scale(tick), _TOP - 14, f"{tick:g}", "middle", "small")
    yield _text((_NAMES + _WIDTH - _VALUES) / 2, bottom + 16, label, "middle", "small")


def _short(name: str) -> str:
    """A name that fits on the left."""
    spaced = name.replace("_", " ")
    return spaced if len(spaced) < 24 else spaced[:22] + "…"


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    given = f' class="{kind}"' if kind else ""
    place = f'x="{x:.1f}" y="{y:.1f}" dy="0.35em" text-anchor="{anchor}"'
    return f"<text{given} {place}>{escape(text)}</text>"


def _svg(rows: int, title: str, lines: Sequence[str]) -> str:
    height = _TOP + rows * _ROW + 28
    head = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, f"<title>{escape(title)}</title>", *lines, "</svg>"])
