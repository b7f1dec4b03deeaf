"""The paper's figures from the study's tables: one SVG and one PNG each, none of them empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.training.canvas import GUIDE_COLOUR, new_figure, save, style
from isogloss.training.files import writable_folder
from isogloss.training.study.accuracy_tables import ordered
from isogloss.training.study.correlations import measure_name
from isogloss.training.study.estimates import plain
from isogloss.training.study.language_figures import draw_changes, draw_languages
from isogloss.training.study.paper import MODEL_NAMES
from isogloss.training.study.results import SETTING_COLOURS, SETTING_NAMES, SETTINGS, StudyResults
from isogloss.training.study.rows import CorrelationRow, MeanRow, StudyTables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEAN_LABEL = "accuracy, mean over languages (%)"


def draw_figures(results: StudyResults, tables: StudyTables, folder: Path) -> dict[str, Path]:
    """Draw every figure whose table has rows; return the SVG of each, by part.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    artists: dict[str, tuple[Sequence[object], Callable[[], Figure]]] = {
        "figure2": (tables.figure2, lambda: draw_settings(results, tables.figure2)),
        "figure3": (tables.figure3, lambda: draw_curve(results, tables.figure3, "shots")),
        "figure4": (tables.figure4, lambda: draw_curve(results, tables.figure4, "length")),
        "figure5": (
            [row for row in tables.figure5 if row.change_percent is not None],
            lambda: draw_changes(tables.figure5),
        ),
        "table4": (tables.table4, lambda: draw_languages(tables.table4)),
        "table1": (
            [row for row in tables.table1 if row.r is not None],
            lambda: draw_correlations(tables.table1),
        ),
    }
    writable_folder(folder)
    drawn = {}
    for name, (rows, draw) in artists.items():
        if rows:
            with style(name):
                drawn[name] = save(draw(), folder, name)
    return drawn


def draw_settings(results: StudyResults, rows: Sequence[MeanRow]) -> Figure:
    """Figure 2: a bar with and one without freezing, the paper's beside them."""
    figure, axes = new_figure(3.4)
    groups = [results.short_model]
    if any(row.paper_percent is not None for row in rows) and results.paper_model:
        groups.append(f"{MODEL_NAMES[results.paper_model]} in the paper")
    for row in rows:
        side = -0.2 if row.setting == "frozen" else 0.2
        colour = SETTING_COLOURS[row.setting]
        _bar(axes, side, row.mean_percent, colour, row.std_points, SETTING_NAMES[row.setting])
        seeds = _seeds(results, row)
        axes.plot(
            [side - 0.12] * len(seeds), seeds, "o", ms=3.5, mfc="white", mec="#222222", mew=0.8
        )
        if row.paper_percent is not None:
            _bar(axes, 1 + side, row.paper_percent, colour, None, None)
    axes.set_xticks(range(len(groups)), groups)
    margin = 0.75 if len(groups) > 1 else 1.25
    axes.set_xlim(-margin, len(groups) - 1 + margin)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.06)
    axes.set_ylabel(_MEAN_LABEL)
    axes.grid(axis="x", visible=False)
    _baseline(axes, results)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _bar(
    axes: Axes, x: float, height: float, colour: str, reach: float | None, label: str | None
) -> None:
    paper = label is None
    axes.bar(
        x,
        height,
        0.36,
        color="white" if paper else colour,
        edgecolor=colour,
        hatch="////" if paper else None,
        linewidth=1.2,
        label=label,
    )
    if reach is not None:
        axes.errorbar(x, height, reach, color="#222222", capsize=3, lw=1.2)
    _value(axes, x, height, height + (reach or 0))


def _value(axes: Axes, x: float, value: float, top: float) -> None:
    """Write a value above `top`, where nothing else is drawn."""
    axes.annotate(
        plain(value), (x, top), (0, 5), textcoords="offset points", ha="center", fontsize=9.5
    )


def draw_curve(results: StudyResults, rows: Sequence[MeanRow], by: str) -> Figure:
    """Figures 3 and 4: the mean over languages by `by`, "shots" or "length"."""
    figure, axes = new_figure(3.4)
    values = [getattr(row, by) for row in rows]
    means = [row.mean_percent for row in rows]
    colour = SETTING_COLOURS["frozen"]
    if all(row.std_points is not None for row in rows):
        reach = [row.std_points or 0.0 for row in rows]
        low = [mean - std for mean, std in zip(means, reach, strict=True)]
        high = [mean + std for mean, std in zip(means, reach, strict=True)]
        axes.fill_between(values, low, high, color=colour, alpha=0.15, lw=0)
    axes.plot(values, means, "-o", color=colour, lw=1.8, ms=6)
    for value, row in zip(values, rows, strict=True):
        seeds = _seeds(results, row)
        x = [value] * len(seeds)
        axes.plot(x, seeds, "o", ms=3.5, mfc="white", mec=colour, mew=0.8, alpha=0.8)
        top = max([row.mean_percent + (row.std_points or 0.0), *seeds])
        _value(axes, value, row.mean_percent, top)
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [str(value) for value in values])
    axes.minorticks_off()
    axes.margins(x=0.08, y=0.15)
    axes.set_xlabel("examples per label" if by == "shots" else "prompt length (tokens)")
    axes.set_ylabel(_MEAN_LABEL)
    _baseline(axes, results)
    if results.majority_share is not None:
        figure.legend(loc="outside upper right")
    return figure


def _seeds(results: StudyResults, row: MeanRow) -> list[float]:
    """Single runs' accuracies behind a mean, in percent."""
    recipe = ("plain", row.setting, row.shots, row.length)
    return [
        100 * run.mean_accuracy
        for run in ordered(results.runs)
        if (run.kind, run.setting, run.shots, run.length) == recipe
    ]


def _baseline(axes: Axes, results: StudyResults) -> None:
    if results.majority_share is not None:
        level = 100 * results.majority_share
        axes.axhline(level, color=GUIDE_COLOUR, ls="--", lw=1.1, label="always the largest label")


def draw_correlations(rows: Sequence[CorrelationRow]) -> Figure:
    """Table 1 as a forest plot: a correlation per measure and setting, with its interval."""
    metrics = list(dict.fromkeys(row.metric for row in rows if row.r is not None))
    figure, axes = new_figure(1.5 + 0.5 * len(metrics))
    axes.axvline(0, color=GUIDE_COLOUR, lw=1)
    for setting in SETTINGS:
        side = -0.15 if setting == "frozen" else 0.15
        own = [row for row in rows if row.setting == setting and row.metric in metrics]
        for row in own:
            y = metrics.index(row.metric) + side
            label = SETTING_NAMES[setting] if row is own[0] else None
            _estimate(axes, row, y, SETTING_COLOURS[setting], label)
    axes.set_yticks(range(len(metrics)), [_metric_label(metric) for metric in metrics])
    axes.set_ylim(len(metrics) - 0.4, -0.6)
    axes.set_xlim(-1.02, 1.02)
    axes.set_xlabel("Pearson correlation with accuracy, 95 % interval over languages")
    axes.grid(axis="y", visible=False)
    if any(row.paper_r is not None for row in rows):
        axes.plot([], [], "D", mfc="white", mec="#222222", ms=5, label="in the paper")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _metric_label(metric: str) -> str:
    return f"{measure_name(metric).capitalize()} ({metric})"


def _estimate(axes: Axes, row: CorrelationRow, y: float, colour: str, label: str | None) -> None:
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [y, y], color=colour, lw=1.8)
    if row.r is not None:
        axes.plot([row.r], [y], "o", color=colour, ms=6, label=label)
    if row.paper_r is not None:
        axes.plot([row.paper_r], [y], "D", mfc="white", mec=colour, ms=5, mew=1.2)
