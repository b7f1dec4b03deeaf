"""A forest plot: what routes gain in each clade, with intervals, one panel a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.training.canvas import GUIDE_COLOUR, WIDTH_INCHES, save, style
from isogloss.training.selection.gains import GainRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ABOVE, _BELOW, _UNCLEAR = "#0072B2", "#D55E00", "#6B6B6B"
_LINE_INCHES = 0.24
_LEAST_REACH = 2.0  # points either side of zero that are always shown


def draw_gains(rows: Sequence[GainRow], shown: Mapping[str, Collection[str]]) -> Figure:
    """Overall gains, and those of clades.

    Args:
        rows: of one or several models.
        shown: model -> clades to draw, of those where some language leaves the universal prompt.
    """
    from matplotlib.figure import Figure

    panels = {model: _panel(rows, model, clades) for model, clades in shown.items()}
    heights = [len(lines) for lines in panels.values()]
    inches = 0.9 + 0.45 * len(panels) + _LINE_INCHES * sum(heights)
    figure = Figure(figsize=(WIDTH_INCHES, inches))
    axes = figure.subplots(
        len(panels), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for panel, (model, lines) in zip(axes, panels.items(), strict=True):
        _draw(panel, model, lines)
    ends = [abs(end) for panel in panels.values() for r in panel for end in _ends(r)]
    reach = 1.05 * max([_LEAST_REACH, *ends])
    axes[0].set_xlim(-reach, reach)
    figure.supxlabel(
        "points of accuracy gained over the universal prompt\n"
        "thick: 95 % interval; thin: all clades at once; (languages moved of languages)",
        fontsize=9,
    )
    return figure


def save_gains(
    rows: Sequence[GainRow], shown: Mapping[str, Collection[str]], folder: Path, name: str
) -> Path:
    """Write the plot as SVG and PNG; return the SVG's path.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    with style(name):
        return save(draw_gains(rows, shown), folder, name)


def _panel(rows: Sequence[GainRow], model: str, clades: Collection[str]) -> list[GainRow]:
    of_model = [row for row in rows if row.model == model]
    overall = [row for row in of_model if row.level == "overall"]
    chosen = [r for r in of_model if r.level == "clade" and r.moved and r.name in clades]
    return overall + sorted(chosen, key=lambda row: -row.gain_points)


def _draw(axes: Axes, model: str, lines: Sequence[GainRow]) -> None:
    for y, row in enumerate(lines):
        colour = _colour(row)
        axes.plot([row.low_together, row.high_together], [y] * 2, color=colour, lw=1)
        axes.plot([row.low, row.high], [y] * 2, color=colour, lw=3, solid_capstyle="butt")
        marker = "D" if row.level == "overall" else "o"
        axes.plot(row.gain_points, y, marker, color=colour, ms=5.5, mec="white", mew=0.8)
    axes.axvline(0, color=GUIDE_COLOUR, lw=1, zorder=0.5)
    if len(lines) > 1:
        axes.axhline(0.5, color=GUIDE_COLOUR, lw=0.6, ls=":")
    axes.set_yticks(range(len(lines)), [_label(row) for row in lines])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_title(model, loc="left")


def _ends(row: GainRow) -> tuple[float, float]:
    return min(row.low, row.low_together), max(row.high, row.high_together)


def _label(row: GainRow) -> str:
    return f"{row.name.replace('_', ' ')} ({row.moved} of {row.languages})"


def _colour(row: GainRow) -> str:
    """Blue or red where the gain is surely of that sign, the other clades allowed for."""
    if row.low_together > 0:
        return _ABOVE
    return _BELOW if row.high_together < 0 else _UNCLEAR
