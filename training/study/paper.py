"""The numbers that Philippy et al. (2024) print, and which of their four models a model is.

`training/study/published/table1.csv` and `table4.csv` hold their Tables 1 and 4 as printed, with
languages by code. One cell of Table 1 looks like a misprint: BLOOM-1.1B, unfrozen, FEA is -0.4685,
where every reading of the table that we tried gives a positive number of about that size.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

from isogloss.prompts.files.tables import Layout, read_table
from isogloss.training.study.results import SETTINGS, Setting

DATA = Path(__file__).parent / "published"
MODEL_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "bloom-560m": "BLOOM-560M",
        "bloom-1b1": "BLOOM-1.1B",
        "xglm-564M": "XGLM-564M",
        "xglm-1.7B": "XGLM-1.7B",
    }
)
_SHAPES = {  # architecture and hidden size, from the paper's Table 2
    ("bloom", 1024): "bloom-560m",
    ("bloom", 1536): "bloom-1b1",
    ("xglm", 1024): "xglm-564M",
    ("xglm", 2048): "xglm-1.7B",
}
_OWNERS = {"bloom": "bigscience", "xglm": "facebook"}


@dataclass(frozen=True, slots=True)
class PaperAccuracy:
    """One cell of Table 4: over four seeds, in percent and percentage points."""

    percent: float
    std_points: float


def paper_model(model: str, architecture: str, hidden_size: int) -> str | None:
    """Which of the paper's four models is it? Its name there ("bloom-560m"), or None.

    A hub id and the bare name of a full-size configuration must be one of the four, so BLOOMZ and
    other models of the same shape are not. A folder, whatever its name, counts by its shape.
    """
    owner, _, name = model.rpartition("/")
    by_shape = _SHAPES.get((architecture, hidden_size))
    if Path(model).is_dir():
        return by_shape
    named = next((known for known in MODEL_NAMES if known.casefold() == name.casefold()), None)
    if named is None or named != by_shape:
        return None
    return named if owner.casefold() in ("", _OWNERS[architecture]) else None


def paper_accuracies(model: str, setting: Setting) -> Mapping[str, PaperAccuracy]:
    """Table 4's column of one model and setting, by language code; empty for other models."""
    return _table4().get((model, setting), {})


def paper_correlation(model: str, setting: Setting, metric: str) -> float | None:
    """One cell of Table 1 (`metric` is "DATA", "SYN", ...), None where the table has none."""
    return _table1().get((model, setting, metric))


def freezing_gain_points(model: str) -> float:
    """How much freezing gains on average over Table 4's languages, in percentage points.

    Raises KeyError for a model that is not among the four.
    """
    frozen, full = (
        fmean(cell.percent for cell in _table4()[model, setting].values()) for setting in SETTINGS
    )
    return frozen - full


@functools.cache
def _table4() -> Mapping[tuple[str, str], Mapping[str, PaperAccuracy]]:
    columns: dict[tuple[str, str], dict[str, PaperAccuracy]] = {}
    for row in _rows("table4.csv"):
        cell = PaperAccuracy(float(row["accuracy_percent"]), float(row["std_points"]))
        columns.setdefault((row["model"], row["setting"]), {})[row["code"]] = cell
    return columns


@functools.cache
def _table1() -> Mapping[tuple[str, str, str], float]:
    return {
        (row["model"], row["setting"], row["metric"]): float(row["correlation"])
        for row in _rows("table1.csv")
    }


def _rows(name: str) -> Iterator[dict[str, str]]:
    return (row.cells for row in read_table(DATA / name, Layout(("model", "setting"), ",")))
