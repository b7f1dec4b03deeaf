"""What every figure of the study shares: its look, colours that everybody can tell apart, files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.training.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES = 8.2  # a report's column
# Okabe and Ito's palette, without the yellow and black that do badly as bars on white.
FAMILY_COLOURS: Mapping[str, str] = {
    "Indo-European": "#0072B2",
    "Atlantic-Congo": "#D55E00",
    "Dravidian": "#009E73",
    "Sino-Tibetan": "#CC79A7",
    "Uralic": "#E69F00",
    "Austronesian": "#56B4E9",
}
OTHER_COLOUR = "#6B6B6B"
GUIDE_COLOUR = "#8A8A8A"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures are alike everywhere
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "path",  # needs no font where it is read
}


@contextmanager
def style(name: str) -> Iterator[None]:
    """The study's look, for drawing and saving the figure of this name."""
    from matplotlib.style import context

    # "default" undoes a reader's own matplotlibrc. The salt makes the ids inside an SVG the same
    # every time.
    with context(["default", {**_STYLE, "svg.hashsalt": name}]):
        yield


def new_figure(height_inches: float) -> tuple[Figure, Axes]:
    """An empty figure of a report's width, without a window or any global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, height_inches))
    return figure, figure.subplots()


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write `name`.svg and `name`.png, the same bytes every time; return the SVG's path.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    path = folder / f"{name}.svg"
    write_atomically(path, _rendered(figure, "svg", {"Date": None}))
    write_atomically(path.with_suffix(".png"), _rendered(figure, "png", {"Software": None}))
    return path


def _rendered(figure: Figure, kind: str, metadata: Mapping[str, str | None]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=160, metadata=dict(metadata))
    return buffer.getvalue()


def family_colour(family: str, languages: int) -> str:
    """The same colour for a family in every study; grey for rare ones and single languages."""
    return FAMILY_COLOURS.get(family, OTHER_COLOUR) if languages > 1 else OTHER_COLOUR
