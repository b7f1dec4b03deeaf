"""A table for people: what tailoring gains over each control."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from isogloss.prompts.console.plain_table import PlainTable, table_of
from isogloss.training.selection.tailoring import TailoringRow

_MEANS = {"overall": "mean of {} clades", "alpha": "for 1 of alpha, {} clades"}


def tailoring_table(rows: Sequence[TailoringRow]) -> PlainTable:
    """Points of accuracy, overall, by clade and by alpha."""
    columns: dict[str, Callable[[TailoringRow], str]] = {
        "Model": lambda row: row.model,
        "Effect": lambda row: row.effect,
        "Clade": lambda row: row.clade or _MEANS[row.level].format(row.clades),
        "Languages": lambda row: str(row.languages),
        "Seeds": lambda row: str(row.seeds),
        "Points": lambda row: f"{row.estimate:+.2f}",
        "95 %": _interval,
        "SD of clades": lambda row: "" if row.sd_between is None else f"{row.sd_between:.2f}",
    }
    return table_of(rows, columns, "Prompts tuned for a clade over their controls")


def _interval(row: TailoringRow) -> str:
    if row.low is None or row.high is None:
        return "none of one seed"
    return f"{row.low:+.2f} to {row.high:+.2f}"
