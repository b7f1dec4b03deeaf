"""The figures of `bench engine` and `bench http`: a column a model, a line a contender."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from isogloss.deploy.bench.tables import SERVERS
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
        "isogloss": ("#0072B2", "o", SERVERS["isogloss"]),
        "fastapi": ("#6B6B6B", "^", SERVERS["fastapi"]),
        "ray_serve": ("#D55E00", "s", SERVERS["ray_serve"]),
    }
)
_OTHER_COLOUR = "#6B6B6B"  # of a peer that has no look of its own yet
Values = tuple[float, float, float]  # middle, low, high
Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity of a figure, drawn for every model."""

    label: str
    value: Callable[[str, Result, Result], Values | None]
    """From a contender's name, its result and the first result of its model."""
    log: bool = False
    guide: Callable[[Axes, Sequence[Result]], None] | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure."""

    x_label: str
    rows: tuple[Row, ...]
    share_y: bool = True
    """Whether all models have one scale."""


def save_engine_figures(report: Result, out: Path) -> list[Path]:
    """Write `<out without .json>-<curve>.svg` for every curve of a report of `bench engine`.

    All are drawn before the first is written.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    drawn = {}
    for curve, (file, plot) in _ENGINE_PLOTS.items():
        by_model = {
            model: [r for r in report["results"] if (r["model"], r["curve"]) == (model, curve)]
            for model in report["ratios"]
        }
        if any(by_model.values()):
            with style(f"engine-{file}"):
                svg = svg_of(_drawn(by_model, plot, _engine_caption(report)))
            drawn[out.with_name(f"{out.stem}-{file}.svg")] = svg
    for path, data in drawn.items():
        write_atomically(path, data)
    return list(drawn)


def save_http_figure(report: Result, out: Path) -> Path:
    """Write `<out without .json>.svg` of a report of `bench http`: rates above, times below.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    path = out.with_suffix(".svg")
    by_model = {
        result["model"]: [{**level, "x": level["concurrency"]} for level in result["levels"]]
        for result in report["results"]
    }
    with style("bench-http"):
        write_atomically(path, svg_of(_drawn(by_model, _HTTP_PLOT, report["hardware"]["name"])))
    return path


def svg_of(figure: Figure) -> bytes:
    """The same bytes every time, within one `style`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _drawn(by_model: Mapping[str, Sequence[Result]], plot: Plot, caption: str) -> Figure:
    """A grid: rows of the plot by models of the report."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, 0.9 + _ROW_INCHES * len(plot.rows)))
    grid = figure.subplots(
        len(plot.rows),
        len(by_model),
        squeeze=False,
        sharey="row" if plot.share_y else False,
        sharex=True,
    )
    for line, row in zip(grid, plot.rows, strict=True):
        for axes, results in zip(line, by_model.values(), strict=True):
            _draw_row(axes, row, results)
        line[0].set_ylabel(row.label)
    for axes, model in zip(grid[0], by_model, strict=True):
        axes.set_title(model, loc="left")
    for axes in grid[-1]:
        axes.set_xlabel(plot.x_label)
    # One legend for all panels, each contender once.
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper left", ncols=min(7, len(handles))
    )
    figure.supxlabel(caption, fontsize=8, color=GUIDE_COLOUR)
    return figure


def _draw_row(axes: Axes, row: Row, results: Sequence[Result]) -> None:
    from matplotlib.ticker import LogLocator

    xs = [result["x"] for result in results]
    axes.set_xscale("log", base=2)
    axes.set_xticks(xs, _tick_labels(xs))
    if row.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:,g}")
    axes.minorticks_off()
    names = dict.fromkeys([*_LOOKS, *(name for r in results for name in r["contenders"])])
    for name in names:
        colour, mark, label = _LOOKS.get(name, (_OTHER_COLOUR, "*", name.replace("_", " ")))
        points = [(r["x"], v) for r in results if (v := row.value(name, r, results[0])) is not None]
        if points:
            at, values = zip(*points, strict=True)
            middles, lows, highs = zip(*values, strict=True)
            axes.plot(at, middles, color=colour, marker=mark, ms=4.5, lw=1.5, label=label)
            axes.fill_between(at, lows, highs, color=colour, alpha=0.15, lw=0)
    if row.guide is not None:
        row.guide(axes, results)


def _tick_labels(xs: Sequence[int]) -> list[str]:
    """Numbers, but for one whose next is so near that they would overlap."""
    nexts = [*xs[1:], math.inf]
    return [f"{x:,}" if x * 1.5 <= n else "" for x, n in zip(xs, nexts, strict=True)]


def _engine_caption(report: Result) -> str:
    return (
        f"{report['hardware']['name']}; prompts of {report['settings']['prompt_length']} tokens; "
        "lines: medians, bands: lowest to highest or 95 % intervals"
    )


def _measured(quantity: str, times: float = 1) -> Callable[[str, Result, Result], Values | None]:
    def value(name: str, result: Result, first: Result) -> Values | None:
        measured = result["contenders"].get(name, {}).get(quantity)
        return measured and (
            times * measured["median"],
            times * measured["min"],
            times * measured["max"],
        )

    return value


def _cost(name: str, result: Result, first: Result) -> Values | None:
    """Ours paired round by round; a peer's from its medians."""
    if (cost := result["costs"].get(name)) is not None:
        return cost["median"], cost["low"], cost["high"]
    if name not in result["contenders"] or name not in first["contenders"]:
        return None
    seconds, least = (each["contenders"][name]["seconds"]["p50"] for each in (result, first))
    return (seconds / least,) * 3


def _all_of_the_rate(axes: Axes, results: Sequence[Result]) -> None:
    axes.axhline(100, color=GUIDE_COLOUR, lw=1, ls="--", zorder=0.5)
    axes.set_ylim(bottom=0)


def _within_three_per_cent(axes: Axes, results: Sequence[Result]) -> None:
    axes.axhspan(1 - _CLOSE, 1 + _CLOSE, color=GUIDE_COLOUR, alpha=0.15, lw=0, zorder=0.5)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.85), max(high, 1.15))


def _one_forward_each(axes: Axes, results: Sequence[Result]) -> None:
    xs = [result["x"] for result in results]
    axes.plot(xs, xs, color=GUIDE_COLOUR, lw=1, ls="--", zorder=0.5)
    axes.set_ylim(0.8, 1.8 * xs[-1])
    axes.annotate(
        "a forward a prompt",
        (xs[-1], xs[-1]),
        xytext=(-12, 0),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=8,
        color=GUIDE_COLOUR,
    )


def _engine_alone(axes: Axes, results: Sequence[Result]) -> None:
    rates = [result["engine_texts_per_s"]["median"] for result in results]
    xs, colour = [result["x"] for result in results], _LOOKS["isogloss"][0]
    axes.plot(xs, rates, ":", color=colour, lw=1.2, label="our engine")
    axes.set_ylim(bottom=0)


_SHARE = Row(
    "% of its precision's matrix rate", _measured("share_of_rate", 100), guide=_all_of_the_rate
)
_ENGINE_PLOTS: Mapping[str, tuple[str, Plot]] = MappingProxyType(
    {
        "batch_size": (
            "batch",
            Plot("texts in a batch", (Row("texts/s", _measured("texts_per_s"), log=True), _SHARE)),
        ),
        "resident_prompts": (
            "residents",
            Plot(
                "prompts in memory, of which each text has one",
                (Row("time / time with one prompt", _cost, guide=_within_three_per_cent),),
            ),
        ),
        "prompts_per_text": (
            "prompts-per-text",
            Plot(
                "prompts on each text",
                (Row("time / time with one prompt", _cost, log=True, guide=_one_forward_each),),
            ),
        ),
        "text_length": (
            "length",
            Plot(
                "tokens of each text",
                (Row("tokens/s", _measured("tokens_per_s"), log=True), _SHARE),
            ),
        ),
    }
)
_HTTP_PLOT = Plot(
    "connections",
    (
        Row("requests/s", _measured("requests_per_s"), guide=_engine_alone),
        Row("median time of a request (ms)", _measured("p50_ms"), log=True),
    ),
    share_y=False,
)
