"""The figure of `bench engine`: speed by batch size, a column a model, a line a contender."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from isogloss.training.canvas import GUIDE_COLOUR, WIDTH_INCHES, style
from isogloss.training.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROW_INCHES = 2.5
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
        "torch_compile": ("#F0E442", "<", "torch.compile"),
        "openvino": ("#000000", ">", "OpenVINO"),
    }
)
_OTHER_COLOUR = "#6B6B6B"  # of a peer that has no look of its own yet
Result = Mapping[str, Any]


def save_engine_figure(report: Result, out: Path) -> Path | None:
    """Write `<out without .json>-batch.svg` of a report of `bench engine`.

    Returns:
        The file, or None where batch sizes were not measured.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    by_model = {
        model: [r for r in report["results"] if (r["model"], r["curve"]) == (model, "batch_size")]
        for model in report["ratios"]
    }
    if not any(by_model.values()):
        return None
    path = out.with_name(f"{out.stem}-batch.svg")
    with style("engine-batch"):
        write_atomically(path, svg_of(_drawn(by_model, _caption(report))))
    return path


def svg_of(figure: Figure) -> bytes:
    """The same bytes every time, within one `style`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _drawn(by_model: Mapping[str, Sequence[Result]], caption: str) -> Figure:
    """Rates above, shares of the matrix-product rate below; a column a model."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(WIDTH_INCHES, 0.9 + _ROW_INCHES * 2))
    grid = figure.subplots(2, len(by_model), squeeze=False, sharey="row", sharex=True)
    for (above, below), (model, results) in zip(grid.T, by_model.items(), strict=True):
        _draw(above, results, "texts_per_s", 1)
        _draw(below, results, "share_of_rate", 100)
        above.set_title(model, loc="left")
        below.set_xlabel("texts in a batch")
        below.axhline(100, color=GUIDE_COLOUR, lw=1, ls="--", zorder=0.5)
        below.set_ylim(bottom=0)
    first = grid[0, 0]
    first.set_yscale("log")
    first.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    first.yaxis.set_major_formatter("{x:,g}")
    first.minorticks_off()
    first.set_ylabel("texts/s")
    grid[1, 0].set_ylabel("% of its precision's matrix rate")
    # One legend for all panels, each contender once.
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper left", ncols=min(7, len(handles))
    )
    figure.supxlabel(caption, fontsize=8, color=GUIDE_COLOUR)
    return figure


def _draw(axes: Axes, results: Sequence[Result], quantity: str, times: float) -> None:
    """A line a contender, with the lowest and highest round as its band."""
    xs = [result["x"] for result in results]
    axes.set_xscale("log", base=2)
    axes.set_xticks(xs, [f"{x:,}" for x in xs])
    axes.minorticks_off()
    for name in dict.fromkeys([*_LOOKS, *(name for r in results for name in r["contenders"])]):
        colour, mark, label = _LOOKS.get(name, (_OTHER_COLOUR, "*", name.replace("_", " ")))
        measured = {r["x"]: r["contenders"].get(name, {}).get(quantity) for r in results}
        rounds = {x: values for x, values in measured.items() if values is not None}
        if rounds:
            middles, lows, highs = (
                [times * values[end] for values in rounds.values()]
                for end in ("median", "min", "max")
            )
            axes.plot(list(rounds), middles, color=colour, marker=mark, ms=4.5, label=label)
            axes.fill_between(list(rounds), lows, highs, color=colour, alpha=0.15, lw=0)


def _caption(report: Result) -> str:
    return (
        f"{report['hardware']['name']}; prompts of {report['settings']['prompt_length']} tokens; "
        "lines: medians, bands: lowest to highest"
    )
