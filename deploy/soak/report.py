"""What a long run leaves: one JSON object, for memory a table and a figure beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from isogloss.deploy.bench.figures import svg_of
from isogloss.deploy.bench.options import write_json
from isogloss.deploy.load.machine import SERVER_PACKAGES, hardware, versions
from isogloss.prompts.console.console import print_json
from isogloss.training.canvas import new_figure, style
from isogloss.training.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MIB = 1 << 20


def soak_report(name: str, settings: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    """One run in the shape of the benchmarks' objects.

    Args:
        name: of the run.
        settings: its settings, a dataclass.
        result: what it saw.
    """
    return {
        "soak": name,
        "hardware": hardware(torch.device("cpu")),
        "versions": versions(*SERVER_PACKAGES),
        "settings": asdict(settings),
        "results": [dict(result)],
    }


def tell(report: Mapping[str, Any], out: Path | None) -> None:
    """Print a run, without its series, and write all of it.

    Raises:
        InvalidInput: it cannot be written.
    """
    if out is not None:
        write(report, out)
    print_json(_without_series(report))


def write(report: Mapping[str, Any], out: Path) -> None:
    """Write a run: `out`, and where there is a series the same name with .csv and .svg.

    Raises:
        InvalidInput: it cannot be written.
    """
    write_json(_without_series(report), out)
    for result in report["results"]:
        if "series" in result:
            write_atomically(out.with_suffix(".csv"), series_csv(result["series"]).encode())
            with style("isogloss"):
                write_atomically(out.with_suffix(".svg"), svg_of(figure_of(result["series"])))


def _without_series(report: Mapping[str, Any]) -> dict[str, Any]:
    results = [
        {name: value for name, value in result.items() if name != "series"}
        for result in report["results"]
    ]
    return {**report, "results": results}


def series_csv(series: Sequence[Mapping[str, float]]) -> str:
    """Samples of memory as a table: a row each, a column for every process, bytes."""
    columns = list(dict.fromkeys(name for row in series for name in row))
    output = io.StringIO()
    writer = csv.DictWriter(output, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(series)
    return output.getvalue()


def figure_of(series: Sequence[Mapping[str, float]]) -> Figure:
    """A curve for each replica and for HAProxy, one for all of Ray's own processes.

    Args:
        series: `at_s`, and bytes by `role pid`, at each time.
    """
    figure, axes = new_figure(3.6)
    names = sorted({name for row in series for name in row if name.split()[0] != "ray"} - {"at_s"})
    minutes = [row["at_s"] / 60 for row in series]
    for name in names:
        axes.plot(minutes, [row.get(name, float("nan")) / _MIB for row in series], label=name)
    ray = [sum(held for name, held in row.items() if name.startswith("ray ")) for row in series]
    axes.plot(minutes, [held / _MIB for held in ray], ":", label="Ray's own processes")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes")
    axes.set_ylabel("resident memory (MiB)")
    axes.legend(fontsize=8)
    return figure
