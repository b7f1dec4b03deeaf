"""Three figures: gain against alpha, by way, and against pretraining text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.prompts.languages.languages import languages
from isogloss.training.canvas import GUIDE_COLOUR, WIDTH_INCHES, family_colour, save, style
from isogloss.training.recipes.ladder.page import EVEN, Row, shown_alpha
from isogloss.training.recipes.ladder.ways import EVERYWHERE, WAYS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = dict(zip(WAYS, ("#0072B2", "#56B4E9", "#E69F00", "#D55E00"), strict=True))
_MARKS = ("o", "s", "^", "D", "v")
_OVER = "points gained over the best single prompt"
_SHOWN = {"pooled": "", "ship": ", more steps"}
_LEAST_REACH = 2.0  # points either side of zero that are always shown
_LEAST_SHARE = 1e-6  # where a language with less text is drawn


def save_figures(gains: Sequence[Row], by_language: Sequence[Row], out: Path) -> None:
    """Write all three as SVG and PNG.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    for name, draw, rows in (
        ("gain_by_alpha", draw_by_alpha, gains),
        ("gain_by_way", draw_by_way, gains),
        ("gain_by_text", draw_by_text, by_language),
    ):
        with style(name):
            save(draw(rows), out, name)


def draw_by_alpha(gains: Sequence[Row]) -> Figure:
    """A line a way through the ladder's rungs; hollow: the same diet with more steps."""
    figure, panels = _panels(gains, 3.3)
    for architecture, axes in panels.items():
        for n, way in enumerate(WAYS):
            _line(axes, [r for r in gains if _of(r, architecture, way)], way, 0.003 * (n - 1.5))
        axes.set_ylim(*_reach_of([row for row in gains if row["level"] == "overall"]))
        axes.axhline(0, color=GUIDE_COLOUR, lw=1, zorder=0.5)
        axes.set_xlim(-0.02, 0.28)
        axes.set_xlabel("alpha (0: every language as much text)")
    first = next(iter(panels.values()))
    first.set_ylabel(_OVER)
    _legend(figure, panels)
    return figure


def _line(axes: Axes, rows: Sequence[Row], way: str, shift: float) -> None:
    ladder = sorted((r for r in rows if r["which"] == "pooled"), key=lambda r: float(r["alpha"]))
    more = [row for row in rows if row["which"] == "ship"]
    for drawn, filled in ((ladder, True), (more, False)):
        if not drawn:
            continue
        x = [float(row["alpha"]) + shift + (0 if filled else 0.012) for row in drawn]
        axes.errorbar(
            x,
            [float(row["gain_points"]) for row in drawn],
            yerr=_reach(drawn),
            fmt="o-" if filled else "o",
            color=_COLOURS[way],
            mfc=_COLOURS[way] if filled else "white",
            lw=1.3,
            ms=5,
            label=way,
        )


def draw_by_way(gains: Sequence[Row]) -> Figure:
    """Intervals by way, a mark a rung."""
    figure, panels = _panels(gains, 3.6)
    shown = [row for row in gains if row["which"] in _SHOWN]
    models = sorted({(float(row["alpha"]), row["which"]) for row in shown})
    for architecture, axes in panels.items():
        axes.set_xlim(*_reach_of(shown))
        for place, model in enumerate(models):
            rows = [r for r in shown if (float(r["alpha"]), r["which"]) == model]
            found = {w: r for w in WAYS for r in rows if _of(r, architecture, w)}
            label = f"alpha {model[0]:g}{_SHOWN[model[1]]}"
            _marks(axes, found, (place - (len(models) - 1) / 2) * 0.15, place, label)
        axes.axvline(0, color=GUIDE_COLOUR, lw=1, zorder=0.5)
        axes.set_yticks(range(len(WAYS)), [*WAYS])
        axes.set_ylim(len(WAYS) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(_OVER)
    for axes in [*panels.values()][1:]:
        axes.tick_params(axis="y", labelleft=False)
    _legend(figure, panels)
    return figure


def _marks(axes: Axes, found: Mapping[str, Row], shift: float, place: int, label: str) -> None:
    if not found:
        return
    rows = [*found.values()]
    axes.errorbar(
        [float(row["gain_points"]) for row in rows],
        [[*WAYS].index(way) + shift for way in found],
        xerr=_reach(rows),
        fmt=_MARKS[place % len(_MARKS)],
        color=str(max(0.0, 0.65 - 0.2 * place)),
        ms=5,
        lw=1.3,
        label=label,
    )


def draw_by_text(by_language: Sequence[Row]) -> Figure:
    """A dot a language, at the largest alpha that every architecture has; labels everywhere."""
    figure, panels = _panels(by_language, 3.6)
    alpha = shown_alpha(by_language)
    shown = [row for row in by_language if row["which"] in _SHOWN and float(row["alpha"]) == alpha]
    families: dict[str, str] = {}
    for architecture, axes in panels.items():
        rows = [row for row in shown if _of(row, architecture, EVERYWHERE, "language")]
        for row in rows:
            family = next(iter(languages()[row["code"]].lineage), "")  # Basque has no kin
            families[family] = colour = family_colour(family, 2)
            share = max(float(row["known"]), _LEAST_SHARE)
            face = colour if row["which"] == "pooled" else "white"
            axes.plot(share, float(row["gain_points"]), "o", color=colour, ms=5, mfc=face)
        axes.axhline(0, color=GUIDE_COLOUR, lw=1, zorder=0.5)
        axes.set_xscale("log")
        axes.set_xlabel("pretraining text, of English's")
        axes.set_title(f"{architecture}, alpha {alpha:g}", loc="left")
    next(iter(panels.values())).set_ylabel(_OVER)
    _family_legend(figure, families)
    return figure


def _legend(figure: Figure, panels: Mapping[str, Axes]) -> None:
    """Every label once, whichever panel has it."""
    found: dict[str, Artist] = {}
    for axes in panels.values():
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    figure.legend([*found.values()], [*found], loc="outside upper center", ncols=4)


def _reach_of(rows: Sequence[Row]) -> tuple[float, float]:
    ends = [abs(float(row[end])) for row in rows for end in ("low", "high")]
    reach = 1.05 * max([_LEAST_REACH, *ends])
    return -reach, reach


def _family_legend(figure: Figure, families: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    common = {name: colour for name, colour in families.items() if colour != family_colour("", 1)}
    common["other"] = family_colour("", 1)
    handles = [Line2D([], [], marker="o", ls="", color=colour) for colour in common.values()]
    figure.legend(handles, [*common], loc="outside upper center", ncols=4)


def _panels(rows: Sequence[Row], inches: float) -> tuple[Figure, dict[str, Axes]]:
    """One panel an architecture, the same scale of gains."""
    from matplotlib.figure import Figure

    names = sorted({row["architecture"] for row in rows})
    figure = Figure(figsize=(WIDTH_INCHES, inches))
    drawn = figure.subplots(1, len(names), squeeze=False, sharex=True, sharey=True)[0]
    for axes, name in zip(drawn, names, strict=True):
        axes.set_title(name, loc="left")
    return figure, dict(zip(names, drawn, strict=True))


def _of(row: Row, architecture: str, way: str, level: str = "overall") -> bool:
    told = (row["architecture"], row["way"], row["level"], row["over"])
    return told == (architecture, way, level, "best single prompt") and row["which"] != EVEN


def _reach(rows: Sequence[Row]) -> list[list[float]]:
    """Below and above each point."""
    middles = [float(row["gain_points"]) for row in rows]
    low = [max(0.0, m - float(row["low"])) for m, row in zip(middles, rows, strict=True)]
    high = [max(0.0, float(row["high"]) - m) for m, row in zip(middles, rows, strict=True)]
    return [low, high]
