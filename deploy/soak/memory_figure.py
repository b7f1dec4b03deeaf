"""The memory of a long run's processes over time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.prompts.files import durable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MIB = 1 << 20
_STYLE = {"svg.hashsalt": "isogloss", "axes.spines.top": False, "axes.spines.right": False}


def draw(series: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write the plot as SVG.

    Args:
        series: `at_s`, and bytes by `role pid`, at each time.
        path: of the file.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.style import context

    drawn = io.BytesIO()
    with context(["default", _STYLE]):
        figure_of(series).savefig(drawn, format="svg", metadata={"Date": None})
    durable.write_atomically(path, drawn.getvalue())


def figure_of(series: Sequence[Mapping[str, float]]) -> Figure:
    """A curve for each replica and for HAProxy, one for all of Ray's own processes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
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
