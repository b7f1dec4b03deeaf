"""A forest plot: what tailoring gains over each control, overall and in each clade."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.training.canvas import GUIDE_COLOUR, WIDTH_INCHES, save, style
from isogloss.training.selection.tailoring import TailoringRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ABOVE, _BELOW, _UNCLEAR = "#0072B2", "#D55E00", "#6B6B6B"
_LINE_INCHES = 0.24
_OVERALL = "mean of clades"


def draw_tailoring(rows: Sequence[TailoringRow]) -> Figure:
    """One line of panels a model, one panel an effect; clades by their gain over all controls."""
    from matplotlib.figure import Figure

    shown = [row for row in rows if row.level != "alpha"]
    models = list(dict.fromkeys(row.model for row in shown))
    effects = list(dict.fromkeys(row.effect for row in shown))
    lines = {model: _lines([row for row in shown if row.model == model]) for model in models}
    heights = [len(names) for names in lines.values()]
    inches = 0.9 + 0.6 * len(models) + _LINE_INCHES * sum(heights)
    figure = Figure(figsize=(WIDTH_INCHES, inches))
    panels = figure.subplots(
        len(models),
        len(effects),
        squeeze=False,
        sharex=True,
        sharey="row",
        gridspec_kw={"height_ratios": heights},
    )
    for line, (model, names) in zip(panels, lines.items(), strict=True):
        for axes, effect in zip(line, effects, strict=True):
            _draw(axes, [r for r in shown if (r.model, r.effect) == (model, effect)], names)
            axes.set_title(effect.replace("-", "−"), loc="center")
        _name_lines(line[0], names)
        line[0].set_ylabel(model)
    figure.supxlabel(
        "points of accuracy; 95 % intervals over seeds and articles, each clade by itself",
        fontsize=9,
    )
    return figure


def save_tailoring(rows: Sequence[TailoringRow], folder: Path) -> Path:
    """Write the plot as SVG and PNG; return the SVG's path.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    with style("tailoring"):
        return save(draw_tailoring(rows), folder, "tailoring")


def _lines(rows: Sequence[TailoringRow]) -> list[str]:
    """The mean, then clades from the largest mean effect to the smallest."""
    effects: dict[str, list[float]] = {}
    for row in rows:
        effects.setdefault(row.clade, []).append(row.estimate)
    overall = [""] if effects.pop("", None) else []
    return [*overall, *sorted(effects, key=lambda name: -sum(effects[name]) / len(effects[name]))]


def _draw(axes: Axes, rows: Sequence[TailoringRow], names: Sequence[str]) -> None:
    for row in rows:
        y, colour = names.index(row.clade), _colour(row)
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [y, y], color=colour, lw=1.6, solid_capstyle="butt")
        marker = "o" if row.clade else "D"
        axes.plot(row.estimate, y, marker, color=colour, ms=5.5, mec="white", mew=0.8)
    axes.axvline(0, color=GUIDE_COLOUR, lw=1, zorder=0.5)
    if "" in names and len(names) > 1:
        axes.axhline(0.5, color=GUIDE_COLOUR, lw=0.6, ls=":")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _name_lines(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [name.replace("_", " ") or _OVERALL for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)


def _colour(row: TailoringRow) -> str:
    if row.low is not None and row.low > 0:
        return _ABOVE
    return _BELOW if row.high is not None and row.high < 0 else _UNCLEAR
