"""What people see of `bench http`: a table a model, and a plot of rates and times."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.prompts.console.plain_table import PlainTable
from isogloss.prompts.files import durable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {"isogloss": "isogloss serve", "fastapi": "FastAPI", "ray_serve": "Ray Serve, batches"}
# Okabe and Ito's, which everybody can tell apart; the look is that of the study's figures.
_COLOURS = {"isogloss": "#0072B2", "fastapi": "#6B6B6B", "ray_serve": "#D55E00"}
_MARKERS = {"isogloss": "o", "fastapi": "^", "ray_serve": "s"}
_MIB = 1 << 20
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "bench-http",
}


def http_tables(report: Mapping[str, Any]) -> list[PlainTable]:
    """One table for each model."""
    return [_table(result, report) for result in report["results"]]


def _table(result: Mapping[str, Any], report: Mapping[str, Any]) -> PlainTable:
    settings, machine = report["settings"], report["hardware"]
    table = PlainTable(
        title=f"{result['model']}, {settings['dtype']}, {settings['prompts']} prompts, "
        f"{result['tokens_per_text']:.0f} tokens a text, load from {settings['client']}\n"
        f"{machine['name']}, {machine['threads']} threads",
        caption=f"median (lowest to highest) of {settings['rounds']} rounds; a ratio of rates "
        "above 1, or of times below 1: isogloss is faster; of engine: texts/s over those of our "
        "forward pass alone at the same batch sizes; memory: of all the server's processes",
    )
    for heading in ("connections", "server"):
        table.add_column(heading)
    headings = ("requests/s", "isogloss", "p50 ms", "isogloss", "p95 ms", "p99 ms")
    for heading in (*headings, "texts a batch", "of engine", "memory"):
        table.add_column(heading, justify="right")
    for level in result["levels"]:
        _add_level(table, level, result["servers"])
    return table


def _add_level(table: PlainTable, level: Mapping[str, Any], servers: Mapping[str, Any]) -> None:
    for place, (name, own) in enumerate(level["contenders"].items()):
        ratio = level["ratios"].get(name)
        batch = own["texts_per_batch"]
        table.add_row(
            f"{level['concurrency']}" if place == 0 else "",
            NAMES[name],
            _spread(own["requests_per_s"]),
            f"{ratio['requests']['median']:.2f} x" if ratio else "",
            _spread(own["p50_ms"]),
            f"{ratio['p50']['median']:.2f} x" if ratio else "",
            f"{own['p95_ms']['median']:.4g}",
            f"{own['p99_ms']['median']:.4g}",
            f"{batch['median']:.1f}" if batch else "",
            "" if ratio else f"{level['share_of_engine']['median']:.0%}",
            _mebibytes(servers[name]["peak_memory_bytes"]),
        )
    table.add_section()


def _spread(values: Mapping[str, float]) -> str:
    return f"{values['median']:.4g} ({values['min']:.4g} to {values['max']:.4g})"


def _mebibytes(count: int | None) -> str:
    return "not measured" if count is None else f"{count / _MIB:.0f} MiB"


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Write the plot as SVG: rates above, times below, a column for each model.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.style import context

    drawn = io.BytesIO()
    with context(["default", _STYLE]):
        figure_of(report).savefig(drawn, format="svg", metadata={"Date": None})
    durable.write_atomically(path, drawn.getvalue())


def figure_of(report: Mapping[str, Any]) -> Figure:
    """Requests a second and median times over the number of connections."""
    from matplotlib.figure import Figure

    results = report["results"]
    figure = Figure(figsize=(max(4.6, 3.4 * len(results)), 5.4))
    axes = figure.subplots(2, len(results), squeeze=False, sharex="col")
    for column, result in enumerate(results):
        _curves(axes[0, column], result, "requests_per_s")
        _curves(axes[1, column], result, "p50_ms")
        axes[0, column].set_title(result["model"], loc="left")
        axes[1, column].set_xlabel("connections")
    axes[0, 0].set_ylabel("requests/s")
    axes[1, 0].set_ylabel("median time of a request (ms)")
    columns = 4 if len(results) > 1 else 2
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, fontsize=8.5)
    return figure


def _curves(axes: Axes, result: Mapping[str, Any], figure: str) -> None:
    connections = [level["concurrency"] for level in result["levels"]]
    for name, title in NAMES.items():
        spreads = [level["contenders"][name][figure] for level in result["levels"]]
        middles = [own["median"] for own in spreads]
        reach = [
            [own["median"] - own["min"] for own in spreads],
            [own["max"] - own["median"] for own in spreads],
        ]
        axes.errorbar(
            connections,
            middles,
            reach,
            label=title,
            color=_COLOURS[name],
            marker=_MARKERS[name],
            ms=5,
            lw=1.6,
            capsize=2,
        )
    if figure == "requests_per_s":
        engine = [level["engine_texts_per_s"]["median"] for level in result["levels"]]
        axes.plot(connections, engine, ":", color=_COLOURS["isogloss"], lw=1.2, label="our engine")
        axes.set_ylim(bottom=0)
    else:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(connections, [str(each) for each in connections])
    axes.minorticks_off()
