"""The confusion matrix: of each clade's texts, which share is taken for which clade's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.languages.languages import languages
from isogloss.training.canvas import new_figure
from isogloss.training.recipes.detection.tables import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL_INCHES = 0.3
_MARGIN_INCHES = 2.1
_OTHERS = "elsewhere"
_SHOWN_PERCENT = 0.05  # less rounds to nothing


def draw_confusion(kind: str, rows: Sequence[Row]) -> Figure:
    """Draw one kind of text; rows of the matrix add up to 100 %."""
    from matplotlib.colors import PowerNorm

    true = _ordered({row["true_clade"] for row in rows})
    elsewhere = {row["detected_clade"] for row in rows} - set(true)
    columns = [*true, *([_OTHERS] if elsewhere else [])]
    counts = _counts(rows, true, columns)
    percent = counts / counts.sum(axis=1, keepdims=True) * 100  # (true, detected)
    figure, axes = new_figure(_MARGIN_INCHES + _CELL_INCHES * len(true))
    # Errors are few: a power makes one percent visible beside a hundred.
    axes.imshow(percent, cmap="Blues", norm=PowerNorm(0.35, 0, 100), aspect="auto")
    _write_shares(axes, percent)
    names = _names(true)
    sizes = counts.sum(axis=1)
    labels = [f"{name} ({size:,.0f})" for name, size in zip(names, sizes, strict=True)]
    axes.set_yticks(range(len(true)), labels, size=8)
    shown = [*names, *columns[len(true) :]]
    axes.set_xticks(
        range(len(columns)), shown, size=8, rotation=55, ha="right", rotation_mode="anchor"
    )
    axes.grid(False)
    axes.tick_params(length=0)
    axes.set_ylabel("clade of the text (number of texts)")
    axes.set_xlabel("clade of the detected language")
    axes.set_title(f"{kind.capitalize()}: % of each clade's texts", loc="left")
    return figure


def _counts(rows: Sequence[Row], true: list[str], columns: list[str]) -> NDArray[np.float64]:
    """Texts (true clade, detected clade)."""
    counts = np.zeros((len(true), len(columns)))
    for row in rows:
        detected = row["detected_clade"] if row["detected_clade"] in true else _OTHERS
        cell = true.index(row["true_clade"]), columns.index(detected)
        counts[cell] += int(row["number_of_texts"])
    return counts


def _write_shares(axes: Axes, percent: NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(percent):
        if share >= _SHOWN_PERCENT:
            text = "100" if share > 99.95 else f"{share:.1f}"
            colour = "white" if share > 30 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, size=6.5)


def _root(clade: str) -> str:
    """Return the family at whose root a clade's lineage begins; a language outside: itself."""
    found = (entry.lineage[0] for entry in languages().values() if clade in entry.lineage)
    return next(found, clade)


def _ordered(clades: set[str]) -> list[str]:
    """Sort clades so that those of one family are neighbours."""
    return sorted(clades, key=lambda clade: (_root(clade), clade == _root(clade), clade))


def _names(clades: Sequence[str]) -> list[str]:
    """Return names to show: a family beside a branch of its own is what is left of it."""
    branched = {_root(clade) for clade in clades if _root(clade) != clade}
    plain = [clade.replace("_", " ") for clade in clades]
    return [
        f"other {name}" if clade in branched else name
        for clade, name in zip(clades, plain, strict=True)
    ]
