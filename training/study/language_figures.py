"""Figures with a line per language: Table 4 as dots, Figure 5 as bars, grouped by family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from isogloss.training.canvas import GUIDE_COLOUR, OTHER_COLOUR, family_colour, new_figure
from isogloss.training.study.kinship import family_heading
from isogloss.training.study.results import SETTING_COLOURS, SETTING_NAMES, SETTINGS
from isogloss.training.study.rows import ChangeRow, LanguageRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Row = TypeVar("_Row", LanguageRow, ChangeRow)
_LINE_INCHES = 0.205
_SINGLES = "Families with one language"
_WIDEST = 2.5  # whiskers reach at most so many times as far as the longest bar


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the vertical axis: a heading, or a language's."""

    label: str
    colour: str
    language: str | None = None  # None: a heading


def draw_languages(rows: Sequence[LanguageRow]) -> Figure:
    """Table 4: accuracy per language, frozen and unfrozen side by side."""
    lines = _lines(rows, lambda row: -row.mean_percent if row.setting == rows[0].setting else 0)
    figure, axes = new_figure(1.2 + _LINE_INCHES * len(lines))
    places = _label(axes, lines, coloured=False)
    by_language: dict[str, list[LanguageRow]] = {}
    for row in rows:
        by_language.setdefault(row.language, []).append(row)
    for code, own in by_language.items():
        ends = [row.mean_percent for row in own]
        axes.plot([min(ends), max(ends)], [places[code]] * 2, color="#C4C4C4", lw=2, zorder=1.5)
    for setting in SETTINGS:
        chosen = [row for row in rows if row.setting == setting]
        if chosen:
            _dots(axes, chosen, places)
    axes.set_xlabel("accuracy (%), mean over seeds")
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def _dots(axes: Axes, rows: Sequence[LanguageRow], places: Mapping[str, int]) -> None:
    setting = rows[0].setting
    colour, frozen = SETTING_COLOURS[setting], setting == "frozen"
    axes.plot(
        [row.mean_percent for row in rows],
        [places[row.language] for row in rows],
        "o",
        ms=6,
        color=colour,
        mfc=colour if frozen else "white",
        mew=1.5,
        zorder=3 if frozen else 2.5,
        label=SETTING_NAMES[setting],
    )
    theirs = [row for row in rows if row.paper_percent is not None]
    if theirs:
        axes.plot(
            [row.paper_percent or 0.0 for row in theirs],
            [places[row.language] for row in theirs],
            "x",
            ms=5,
            mew=1.3,
            color=colour,
            alpha=0.75,
            label=f"{SETTING_NAMES[setting]}, in the paper",
        )


def draw_changes(rows: Sequence[ChangeRow]) -> Figure:
    """Figure 5: what reparameterization changes per language, relative to plain prompts."""
    known = [row for row in rows if row.change_percent is not None]
    lines = _lines(known, lambda row: -(row.change_percent or 0.0))
    figure, axes = new_figure(1.0 + _LINE_INCHES * len(lines))
    places = _label(axes, lines)
    colours = {line.language: line.colour for line in lines}
    axes.axvline(0, color=GUIDE_COLOUR, lw=1)
    for row in known:
        _change(axes, row, places[row.language], colours[row.language])
    limit = max((abs(row.change_percent or 0.0) for row in known), default=1.0) or 1.0
    reach = [abs(end) for row in known for end in (row.low_percent, row.high_percent) if end]
    limit = min(max([limit, *reach]), _WIDEST * limit) * 1.05
    axes.set_xlim(-limit, limit)
    axes.set_xlabel("change of accuracy by reparameterization, relative to plain prompts (%)")
    return figure


def _change(axes: Axes, row: ChangeRow, y: int, colour: str) -> None:
    alpha = 0.4 if row.change.direction == "unclear" else 1
    axes.barh(y, row.change_percent or 0.0, 0.72, color=colour, alpha=alpha, lw=0)
    if row.low_percent is not None and row.high_percent is not None:
        axes.plot([row.low_percent, row.high_percent], [y, y], color="#333333", lw=0.9)


def _lines(rows: Sequence[_Row], key: Callable[[_Row], float]) -> list[_Line]:
    """A heading for each group, then its languages by `key`; single languages come last."""
    firsts = {row.language: row for row in reversed(rows)}
    sizes = Counter(row.group for row in firsts.values())
    families = Counter(row.family for row in firsts.values())
    colours = {family: family_colour(family, size) for family, size in families.items()}
    groups: dict[str, list[_Row]] = {}
    for code in dict.fromkeys(row.language for row in rows):
        row = firsts[code]
        single = sizes[row.group] == 1 and families[row.family] == 1
        groups.setdefault(_SINGLES if single else row.group, []).append(row)
    lines = []
    for group, members in groups.items():
        single = group == _SINGLES
        family = members[0].family
        heading = group if single else family_heading(family, group)
        lines.append(_Line(heading, OTHER_COLOUR if single else colours[family]))
        for row in sorted(members, key=lambda row: (key(row), row.name)):
            label = f"{row.name} ({row.family})" if single else row.name
            lines.append(_Line(label, colours[row.family], row.language))
    return lines


def _label(axes: Axes, lines: Sequence[_Line], coloured: bool = True) -> dict[str, int]:
    """Write the labels of the vertical axis; return each language's place on it."""
    axes.set_yticks(range(len(lines)), [line.label for line in lines])
    for text, line in zip(axes.get_yticklabels(), lines, strict=True):
        if line.language is None:
            text.set_fontweight("bold")
            text.set_color(line.colour if coloured else "black")
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    found = {line.language: y for y, line in enumerate(lines) if line.language is not None}
    for y in found.values():
        axes.axhline(y, color="#F1F1F1", lw=0.7, zorder=0.5)
    return found
