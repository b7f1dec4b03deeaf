"""One figure for each curve of `bench engine`: a column a model, a line a contender."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from isogloss.training.canvas import GUIDE_COLOUR, WIDTH_INCHES, style
from isogloss.training.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_INCHES = 2.5
_CLOSE = 0.03  # a cost below this is what we claim of residents and mixing
# Okabe and Ito's palette, as in the study's figures; marks tell apart what colours may not.
_LOOKS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "isogloss_fp32": ("#0072B2", "o", "isogloss fp32"),
        "isogloss_bf16": ("#56B4E9", "s", "isogloss bf16"),
        "isogloss_fp16": ("#56B4E9", "D", "isogloss fp16"),
        "isogloss_int8": ("#009E73", "^", "isogloss int8"),
        "transformers": ("#D55E00", "v", "transformers"),
        "peft": ("#CC79A7", "X", "PEFT"),
        "peft_last_logits": ("#E69F00", "P", "PEFT, last logits"),
    }
)
Values = tuple[float, float, float]  # middle, low, high
Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity of a figure, drawn for every model."""

    label: str
    value: Callable[[str, Result, Result], Values | None]
    """From a contender's name, its result and the curve's first result."""
    log: bool = False
    guide: Callable[[Axes, Sequence[int]], None] | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure."""

    file: str
    x_label: str
    rows: tuple[Row, ...]


def save_engine_plots(report: Result, out: Path) -> list[Path]:
    """Write `<out without .json>-<curve>.svg` for every curve of the report.

    All are drawn before the first is written.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    drawn = {}
    for curve, plot in PLOTS.items():
        if any(result["curve"] == curve for result in report["results"]):
            drawn[out.with_name(f"{out.stem}-{plot.file}.svg")] = _svg(report, curve, plot)
    for path, data in drawn.items():
        write_atomically(path, data)
    return list(drawn)


def _svg(report: Result, curve: str, plot: Plot) -> bytes:
    with style(f"engine-{plot.file}"):
        figure = draw(report, curve, plot)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def draw(report: Result, curve: str, plot: Plot) -> Figure:
    """A grid: rows of the plot by models of the report."""
    from matplotlib.figure import Figure

    models = list(report["ratios"])
    figure = Figure(figsize=(WIDTH_INCHES, 0.9 + _ROW_INCHES * len(plot.rows)))
    grid = figure.subplots(len(plot.rows), len(models), squeeze=False, sharey="row", sharex=True)
    for line, row in zip(grid, plot.rows, strict=True):
        for axes, model in zip(line, models, strict=True):
            own = [r for r in report["results"] if (r["model"], r["curve"]) == (model, curve)]
            _draw_row(axes, row, own)
        line[0].set_ylabel(row.label)
    for axes, model in zip(grid[0], models, strict=True):
        axes.set_title(model, loc="left")
    for axes in grid[-1]:
        axes.set_xlabel(plot.x_label)
    _legend(figure, grid.flat)
    figure.supxlabel(_caption(report), fontsize=8, color=GUIDE_COLOUR)
    return figure


def _draw_row(axes: Axes, row: Row, results: Sequence[Result]) -> None:
    from matplotlib.ticker import LogLocator

    places = [result["x"] for result in results]
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, _tick_labels(places))
    if row.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,g}")
    axes.minorticks_off()
    for name, (colour, mark, label) in _LOOKS.items():
        found = [(r["x"], v) for r in results if (v := row.value(name, r, results[0])) is not None]
        if not found:
            continue
        xs, values = zip(*found, strict=True)
        middles, lows, highs = zip(*values, strict=True)
        axes.plot(xs, middles, color=colour, marker=mark, ms=4.5, lw=1.5, label=label)
        axes.fill_between(xs, lows, highs, color=colour, alpha=0.15, lw=0)
    if row.guide is not None:
        row.guide(axes, places)


def _tick_labels(places: Sequence[int]) -> list[str]:
    """Numbers, but for one whose next is so near that they would overlap."""
    nexts = [*places[1:], math.inf]
    return [f"{x:,}" if x * 1.5 <= n else "" for x, n in zip(places, nexts, strict=True)]


def _legend(figure: Figure, grid: Iterator[Axes]) -> None:
    """One for all panels, each contender once."""
    found: dict[Any, Any] = {}
    for axes in grid:
        handles, labels = axes.get_legend_handles_labels()
        found |= {label: handle for handle, label in zip(handles, labels, strict=True)}
    figure.legend(found.values(), found.keys(), loc="outside upper left", ncols=len(found))


def _caption(report: Result) -> str:
    settings, machine = report["settings"], report["hardware"]
    return (
        f"{machine['name']}; prompts of {settings['prompt_length']} tokens; "
        "lines: medians, bands: lowest to highest or 95 % intervals"
    )


def _speed(unit: str) -> Callable[[str, Result, Result], Values | None]:
    def value(name: str, result: Result, first: Result) -> Values | None:
        own = result["contenders"].get(name)
        return None if own is None else _ends(own[unit])

    return value


def _share(name: str, result: Result, first: Result) -> Values | None:
    own = result["contenders"].get(name)
    if own is None or own["share_of_rate"] is None:
        return None
    middle, low, high = _ends(own["share_of_rate"])
    return 100 * middle, 100 * low, 100 * high


def _cost(name: str, result: Result, first: Result) -> Values | None:
    """Ours paired round by round; a peer's from its medians."""
    if (own := result["costs"].get(name)) is not None:
        return own["median"], own["low"], own["high"]
    if name not in result["contenders"] or name not in first["contenders"]:
        return None
    ratio = (
        result["contenders"][name]["seconds"]["p50"] / first["contenders"][name]["seconds"]["p50"]
    )
    return ratio, ratio, ratio


def _ends(values: Mapping[str, float]) -> Values:
    return values["median"], values["min"], values["max"]


def _all_of_the_rate(axes: Axes, places: Sequence[int]) -> None:
    axes.axhline(100, color=GUIDE_COLOUR, lw=1, ls="--", zorder=0.5)
    axes.set_ylim(bottom=0)


def _within_three_per_cent(axes: Axes, places: Sequence[int]) -> None:
    axes.axhspan(1 - _CLOSE, 1 + _CLOSE, color=GUIDE_COLOUR, alpha=0.15, lw=0, zorder=0.5)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.85), max(high, 1.15))


def _one_forward_each(axes: Axes, places: Sequence[int]) -> None:
    axes.plot(places, places, color=GUIDE_COLOUR, lw=1, ls="--", zorder=0.5)
    axes.set_ylim(0.8, 1.8 * places[-1])
    axes.annotate(
        "a forward a prompt",
        (places[-1], places[-1]),
        xytext=(-12, 0),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=8,
        color=GUIDE_COLOUR,
    )


_SHARE_ROW = Row("% of its precision's matrix rate", _share, guide=_all_of_the_rate)
PLOTS: Mapping[str, Plot] = MappingProxyType(
    {
        "batch_size": Plot(
            "batch",
            "texts in a batch",
            (Row("texts/s", _speed("texts_per_s"), log=True), _SHARE_ROW),
        ),
        "resident_prompts": Plot(
            "residents",
            "prompts in memory, of which each text has one",
            (Row("time / time with one prompt", _cost, guide=_within_three_per_cent),),
        ),
        "prompts_per_text": Plot(
            "prompts-per-text",
            "prompts on each text",
            (Row("time / time with one prompt", _cost, log=True, guide=_one_forward_each),),
        ),
        "text_length": Plot(
            "length",
            "tokens of each text",
            (Row("tokens/s", _speed("tokens_per_s"), log=True), _SHARE_ROW),
        ),
    }
)
