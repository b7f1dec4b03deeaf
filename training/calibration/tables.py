"""A calibration as tables: for people, as CSV, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from isogloss.prompts.console.plain_table import PlainTable
from isogloss.prompts.files.tables import table_bytes
from isogloss.prompts.routing.routes import UNIVERSAL
from isogloss.training.calibration.calibrated import EVERYWHERE, Calibrated, CladeReport
from isogloss.training.calibration.reliability import BINS, Measured, rounded
from isogloss.training.data.labelled import Split


def calibration_table(calibrated: Calibrated) -> PlainTable:
    """All answers, and each route's; `calibration.csv` has the clades below the routes, too."""
    table = PlainTable(
        title=f"{calibrated.table.model.id}, {calibrated.table.task}",
        caption=f"error: expected calibration error in points, {BINS} bins of equal width (few "
        "answers never reach zero); surprise: mean negative log-probability of the right label; "
        "both at temperature 1 -> scaled; dev sentences at temperatures fitted without them",
    )
    splits = tuple(calibrated.overall.measured)
    for heading in ("Clade", "Prompt"):
        table.add_column(heading)
    measures = [f"{split} {name}" for split in splits for name in ("accuracy", "error", "surprise")]
    for heading in ("Languages", "Temperature", *measures):
        table.add_column(heading, justify="right")
    for clade in calibrated.clades:
        if clade.clade in (EVERYWHERE, UNIVERSAL) or clade.clade in calibrated.table.clades:
            table.add_row(*_cells(clade, splits))
    return table


def _cells(clade: CladeReport, splits: Sequence[Split]) -> list[str]:
    temperature = "" if clade.temperature is None else f"{clade.temperature:.2f}"
    cells = [clade.clade, clade.prompt, str(len(clade.languages)), temperature]
    for split in splits:
        measured = clade.measured.get(split)
        cells += ["-"] * 3 if measured is None else _measures(measured)
    return cells


def _measures(measured: Measured) -> list[str]:
    surprise = f"{measured.before.surprise:.3f} -> {measured.after.surprise:.3f}"
    return [f"{measured.accuracy:.1%}", before_after(measured), surprise]


def before_after(measured: Measured) -> str:
    """Expected calibration errors, in points."""
    before, after = measured.before.calibration_error, measured.after.calibration_error
    return f"{100 * before:.1f} -> {100 * after:.1f}"


def as_json(calibrated: Calibrated) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "model": calibrated.table.model.id,
        "task": calibrated.table.task,
        "temperatures": calibrated.table.temperatures,
        "unmeasured": calibrated.unmeasured,
        "clades": [
            {
                "clade": clade.clade,
                "prompt": clade.prompt,
                "languages": clade.languages,
                "temperature": clade.temperature,
                "measured": {split: m.flat() for split, m in clade.measured.items()},
            }
            for clade in calibrated.clades
        ],
    }


def calibration_csv(calibrated: Sequence[Calibrated]) -> bytes:
    """One row a model, task, split and clade."""
    return _csv(
        {
            "model": each.table.model.id,
            "task": each.table.task,
            "split": split,
            "clade": clade.clade,
            "prompt": clade.prompt,
            "languages": len(clade.languages),
            "temperature": clade.temperature,
            **measured.flat(),
        }
        for each in calibrated
        for clade in each.clades
        for split, measured in clade.measured.items()
    )


def reliability_csv(calibrated: Sequence[Calibrated]) -> bytes:
    """One row a model, task, split and bin of confidence, before and after: a diagram's points."""
    return _csv(
        {
            "model": each.table.model.id,
            "task": each.table.task,
            "split": split,
            "scaled": scaled,
            **rounded(asdict(point)),
        }
        for each in calibrated
        for (split, scaled), points in each.reliability.items()
        for point in points
    )


def _csv(rows: Iterator[dict[str, Any]]) -> bytes:
    first, *rest = rows
    return table_bytes(first, (row.values() for row in (first, *rest)))
