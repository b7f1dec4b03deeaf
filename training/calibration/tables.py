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
        "as the model gives them -> scaled; dev sentences by what was fitted without them. Prior: "
        "how much of it is taken off; what that gains on dev, and how probably that is above zero",
    )
    splits = tuple(calibrated.overall.measured)
    for heading in ("Clade", "Prompt"):
        table.add_column(heading)
    measures = [f"{split} {name}" for split in splits for name in ("accuracy", "error", "surprise")]
    for heading in ("Languages", "Prior", "Temperature", *measures):
        table.add_column(heading, justify="right")
    for report in calibrated.clades:
        if report.clade in (EVERYWHERE, UNIVERSAL) or report.clade in calibrated.table.clades:
            table.add_row(*_cells(report, _prior(report, calibrated), splits))
    return table


def _prior(report: CladeReport, calibrated: Calibrated) -> str:
    if report.clade == EVERYWHERE:
        return ""
    decisions = {decision.route: decision for decision in calibrated.priors}
    if (decision := decisions.get(report.clade)) is None:
        return "yes" if report.prior else "no"
    used = f"{decision.strength:g} of it" if decision.used else "no"
    return f"{used}, {100 * decision.gain:+.1f} ({decision.probability:.2f})"


def _cells(report: CladeReport, prior: str, splits: Sequence[Split]) -> list[str]:
    temperature = "" if report.temperature is None else f"{report.temperature:.2f}"
    cells = [report.clade, report.prompt, str(len(report.languages)), prior, temperature]
    for split in splits:
        measured = report.measured.get(split)
        cells += ["-"] * 3 if measured is None else _measures(measured)
    return cells


def _measures(measured: Measured) -> list[str]:
    surprise = f"{measured.before.surprise:.3f} -> {measured.after.surprise:.3f}"
    return [accuracies(measured), before_after(measured), surprise]


def accuracies(measured: Measured) -> str:
    """Share of right answers; before and after where priors change it."""
    before, after = f"{measured.accuracy:.1%}", f"{measured.accuracy_after:.1%}"
    return before if before == after else f"{before} -> {after}"


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
        "priors": calibrated.table.priors,
        "prior_decisions": [asdict(decision) for decision in calibrated.priors],
        **_several(calibrated),
        "unmeasured": calibrated.unmeasured,
        "clades": [
            {
                "clade": report.clade,
                "prompt": report.prompt,
                "languages": report.languages,
                "temperature": report.temperature,
                "prior": report.prior,
                "measured": {split: m.flat() for split, m in report.measured.items()},
            }
            for report in calibrated.clades
        ],
    }


def _several(calibrated: Calibrated) -> dict[str, Any]:
    """What there is to say where texts may have several labels."""
    if not calibrated.assigned:
        return {}
    return {
        "thresholds": calibrated.table.thresholds,
        "assigned": {
            split: {"at_one_half": asdict(half), "at_thresholds": asdict(fitted)}
            for split, (half, fitted) in calibrated.assigned.items()
        },
    }


def assigned_in_words(calibrated: Calibrated) -> str:
    """F1 at one half and at the thresholds, split by split; empty where one label is right."""
    return ", ".join(
        f"micro F1 {half.micro_f1:.1%} -> {fitted.micro_f1:.1%} and macro F1 "
        f"{half.macro_f1:.1%} -> {fitted.macro_f1:.1%} on {split}"
        for split, (half, fitted) in calibrated.assigned.items()
    )


def calibration_csv(calibrated: Sequence[Calibrated]) -> bytes:
    """One row a model, task, split and clade."""
    return _csv(
        {
            "model": each.table.model.id,
            "task": each.table.task,
            "split": split,
            "clade": report.clade,
            "prompt": report.prompt,
            "languages": len(report.languages),
            "temperature": report.temperature,
            "prior": int(report.prior),
            **measured.flat(),
        }
        for each in calibrated
        for report in each.clades
        for split, measured in report.measured.items()
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
