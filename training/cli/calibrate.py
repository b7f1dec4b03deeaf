"""`isogloss calibrate`. Heavy imports wait until the command runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isogloss.prompts.console.console import print_json, print_table
from isogloss.training.cli.options import (
    AsJson,
    DryRun,
    OnlyModel,
    Store,
    tell_generation,
    to_stderr,
)

if TYPE_CHECKING:
    from isogloss.training.calibration.calibrated import Calibrated


def calibrate(
    evaluations: Annotated[
        list[Path],
        typer.Option(help="Predictions of `isogloss evaluate --split dev`, to fit on."),
    ],
    store: Store = None,
    report: Annotated[
        list[Path] | None, typer.Option(help="Predictions of the test split, to judge by.")
    ] = None,
    model: OnlyModel = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for calibration.csv and reliability.csv.")
    ] = None,
    dry_run: DryRun = False,
    note: Annotated[
        str, typer.Option(help="Kept with the generation, after what was measured.")
    ] = "isogloss calibrate",
    as_json: AsJson = False,
) -> None:
    """Fit a temperature for each route and clade on dev, and publish them with the routes.

    Scores are then as often right as they say. Thin evidence backs off to the parent clade. Prints
    the expected calibration error before and after.
    """
    from isogloss.prompts.store.store import open_store
    from isogloss.training.calibration import calibrated as calibration

    opened = open_store(store)
    dev = calibration.read_scores(evaluations, "dev", model)
    test = calibration.read_scores(report or [], "test", model)
    state = opened.state()
    found = [
        calibration.calibrate(key, rows, test.get(key, []), state) for key, rows in dev.items()
    ]
    for calibrated in found:
        _tell_unmeasured(calibrated)
    if out is not None:
        _write(out, found)
    generation = None
    if not dry_run:
        full_note = "; ".join([note, *map(_in_words, found)])
        generation = calibration.publish_temperatures(opened, found, full_note).generation
    _report(found, generation, as_json)


def _tell_unmeasured(calibrated: Calibrated) -> None:
    if codes := calibrated.unmeasured:
        to_stderr(
            f"{calibrated.table.model.id}: {len(codes)} languages were not evaluated under the "
            f"prompt they are routed to, and back off to their clades: {', '.join(codes)}"
        )


def _in_words(calibrated: Calibrated) -> str:
    from isogloss.training.calibration.tables import before_after

    measured = calibrated.overall.measured
    errors = [f"{before_after(measures)} on {split}" for split, measures in measured.items()]
    table = calibrated.table
    return f"{table.model.id}, {table.task}: calibration error {', '.join(errors)}"


def _write(out: Path, found: Sequence[Calibrated]) -> None:
    from isogloss.training.calibration.tables import calibration_csv, reliability_csv
    from isogloss.training.files import writable_folder, write_atomically

    writable_folder(out)
    write_atomically(out / "calibration.csv", calibration_csv(found))
    write_atomically(out / "reliability.csv", reliability_csv(found))


def _report(found: Sequence[Calibrated], generation: int | None, as_json: bool) -> None:
    from isogloss.training.calibration import tables

    if as_json:
        print_json({"generation": generation, "tables": [*map(tables.as_json, found)]})
        return
    for calibrated in found:
        print_table(tables.calibration_table(calibrated))
    tell_generation(generation)
