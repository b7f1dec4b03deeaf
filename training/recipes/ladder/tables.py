"""The small tables of training/results/ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.prompts.files.tables import record_bytes, table_bytes
from isogloss.training.files import write_atomically
from isogloss.training.recipes.ladder.comparisons import (
    SINGLE,
    GainRecord,
    Measured,
    SlopeRecord,
    gain_records,
    slope_records,
)
from isogloss.training.recipes.ladder.effects import EffectRecord, effect_records
from isogloss.training.recipes.ladder.findings import finding_records
from isogloss.training.recipes.ladder.paper_likeness import likeness_records
from isogloss.training.recipes.ladder.ways import EVERYWHERE, PAPERS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def write_tables(measured: Sequence[Measured], out: Path) -> None:
    """Write all tables.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    gains = gain_records(measured)
    by_level = {
        level: [row for row in gains if row.level == level]
        for level in ("overall", "clade", "amount", "language")
    }
    slopes, effects = slope_records(measured), effect_records(measured)
    likeness = likeness_records(measured)
    tables: dict[str, Sequence[DataclassInstance]] = {
        "gains": by_level["overall"],
        "clades": [row for row in by_level["clade"] if _told(row, (PAPERS, EVERYWHERE))],
        "amounts": [row for row in by_level["amount"] if row.over == SINGLE],
        "languages": [row for row in by_level["language"] if _told(row, (EVERYWHERE,))],
        "slopes": slopes,
        "effects": effects,
        "likeness": likeness,
        "findings": finding_records(gains, slopes, effects, likeness),
    }
    for name, records in tables.items():
        content = record_bytes(records, ".5g") if records else table_bytes(_EMPTY[name], [])
        write_atomically(out / f"{name}.csv", content)


_RARE: Mapping[str, type[SlopeRecord | EffectRecord]] = {
    "slopes": SlopeRecord,
    "effects": EffectRecord,
}
_EMPTY = {name: [field.name for field in fields(record)] for name, record in _RARE.items()}
"""Columns of what needs several rungs, or all candidates read."""


def _told(row: GainRecord, ways: Sequence[str]) -> bool:
    """One row a clade or language and model: seeds together, over the best single prompt."""
    return row.over == SINGLE and row.way in ways and not row.which.startswith("seed")
