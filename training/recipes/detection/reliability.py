"""The reliability diagram: how often claims of a probability are right, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from isogloss.training.canvas import GUIDE_COLOUR, WIDTH_INCHES
from isogloss.training.recipes.detection.tables import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LANGUAGES: Mapping[str, str] = {"the 52": "52 languages", "all": "all of SIB-200"}
_TITLES: Mapping[str, str] = {
    "language": "the detected language",
    "candidates": "each of three candidates",
    "clade": "the clade",
}
_COLOURS = ("#0072B2", "#D55E00", "#009E73")
_FEWEST = 10  # claims: a bin of fewer says nothing, and is counted in the error only


def draw_reliability(rows: Sequence[Row]) -> Figure:
    """A row of panels for each set of languages, one for each kind of claim; lines are texts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, 6.0))
    grid = figure.subplots(len(_LANGUAGES), len(_TITLES), sharex=True, sharey=True)
    for panels, (languages, name) in zip(grid, _LANGUAGES.items(), strict=True):
        panels[0].set_ylabel(f"{name}: share right")
        for axes, claim in zip(panels, _TITLES, strict=True):
            claims = [r for r in rows if r["languages"] == languages and r["claim"] == claim]
            _draw_panel(axes, claims)
    for axes, title in zip(grid[0], _TITLES.values(), strict=True):
        axes.set_title(title)
    for axes in grid[-1]:
        axes.set_xlabel("probability said")
    return figure


def _draw_panel(axes: Axes, rows: Sequence[Row]) -> None:
    axes.plot([0, 1], [0, 1], color=GUIDE_COLOUR, lw=1, ls="--", zorder=1)
    kinds = dict.fromkeys(row["texts"] for row in rows)
    for kind, colour in zip(kinds, _COLOURS, strict=False):
        _draw_line(axes, [row for row in rows if row["texts"] == kind], kind, colour)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_aspect("equal")
    axes.legend(loc="lower right", title="error (ECE)", title_fontsize=8, fontsize=8)


def _draw_line(axes: Axes, rows: Sequence[Row], kind: str, colour: str) -> None:
    from scipy.stats import binomtest

    said = np.array([float(row["mean_confidence"]) for row in rows])
    right = np.array([float(row["share_right"]) for row in rows])
    claims = np.array([int(row["number_of_claims"]) for row in rows])
    error = float((claims * np.abs(said - right)).sum() / claims.sum())
    shown = claims >= _FEWEST
    true = np.rint(right * claims).astype(int)
    ends = np.array(
        [
            binomtest(k, n).proportion_ci(method="wilson")
            for k, n in zip(true[shown].tolist(), claims[shown].tolist(), strict=True)
        ]
    ).reshape(-1, 2)
    axes.errorbar(
        said[shown],
        right[shown],
        np.abs(ends.T - right[shown]),
        color=colour,
        marker="o",
        ms=4,
        lw=1.2,
        elinewidth=0.9,
        label=f"{kind}: {error:.3f}",
    )
