"""From runs to tidy tables: a pure function of the results, the same bytes every time.

Only timings.csv differs between two runs of the same study.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any

from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.study.accuracy_tables import (
    accuracy_rows,
    change_rows,
    gain_rows,
    language_rows,
    length_rows,
    ordered,
    run_rows,
    setting_rows,
    shot_rows,
)
from isogloss.training.study.correlations import correlation_rows, distance_rows, weakening_rows
from isogloss.training.study.costs import cost_findings, cost_rows, time_findings, time_rows
from isogloss.training.study.family_findings import family_findings
from isogloss.training.study.findings import length_findings, likeness_findings, shot_findings
from isogloss.training.study.freezing_findings import language_findings, mean_findings
from isogloss.training.study.parts import absent_parts
from isogloss.training.study.results import StudyResults
from isogloss.training.study.rows import FindingRow, StudyTables

_FILES = (
    "runs",
    "accuracies",
    "table4",
    "table4_freezing",
    "figure2",
    "figure3",
    "figure4",
    "figure5",
    "table1",
    "table1_freezing",
    "table1_distances",
    "section4",
    "findings",
    "timings",
)


def write_tables(results: StudyResults, folder: Path) -> StudyTables:
    """Write every table that has rows as a CSV in `folder`, and return them all.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    tables = study_tables(results)
    writable_folder(folder)
    for name in _FILES:
        if rows := getattr(tables, name):
            write_atomically(folder / f"{name}.csv", to_csv(rows))
    return tables


def study_tables(results: StudyResults) -> StudyTables:
    """Every table whose part was asked for and has its runs."""
    absent = absent_parts(results)

    def there(part: str) -> bool:
        return part not in absent

    correlations = correlation_rows(results) if there("table1") else ()
    tables = StudyTables(
        runs=run_rows(results),
        accuracies=accuracy_rows(results),
        table4=language_rows(results) if there("table4") else (),
        table4_freezing=gain_rows(results) if there("table4") else (),
        figure2=setting_rows(results) if there("figure2") else (),
        figure3=shot_rows(results) if there("figure3") else (),
        figure4=length_rows(results) if there("figure4") else (),
        figure5=change_rows(results) if there("figure5") else (),
        table1=correlations,
        table1_distances=distance_rows(correlations),
        table1_freezing=weakening_rows(results) if there("table1") else (),
        section4=cost_rows(results) if there("section4") else (),
        timings=time_rows(results, ordered(results.runs)),
        time_findings=time_findings(results) if there("section4") else (),
    )
    return replace(tables, findings=_findings(results, tables))


def _findings(results: StudyResults, tables: StudyTables) -> tuple[FindingRow, ...]:
    """In the paper's order; each part says nothing where its table is empty."""
    found: list[FindingRow] = []
    if tables.figure2:
        found += mean_findings(results, tables.figure2)
    if tables.table4:
        found += language_findings(results, tables.table4_freezing)
    if tables.figure3:
        found += shot_findings(results)
    if tables.figure4:
        found += length_findings(results, tables.figure4)
    if tables.figure5:
        found += family_findings(results, tables.figure5)
    found += likeness_findings(results, tables.table1_freezing)
    if tables.section4:
        found += cost_findings(tables.section4)
    return tuple(found)


def to_csv(rows: Sequence[Any]) -> bytes:
    """Rows of one class as CSV: a column per field, six significant digits, nothing for None."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(rows[0]))
    writer.writerows([_cell(value) for value in astuple(row)] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return format(value + 0.0, ".6g") if isinstance(value, float) else str(value)
