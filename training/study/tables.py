"""From runs to tidy tables: a pure function of the results, the same bytes every time.

Only timings.csv differs between two runs of the same study.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from isogloss.prompts.files.tables import record_bytes
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.study.accuracy_tables import (
    accuracies_csv,
    change_rows,
    gain_rows,
    language_rows,
    mean_rows,
    runs_csv,
)
from isogloss.training.study.beside import Summary, beside_rows, settings_csv, summary
from isogloss.training.study.correlations import correlation_rows, distance_rows, weakening_rows
from isogloss.training.study.costs import cost_findings, cost_rows, time_findings, times_csv
from isogloss.training.study.family_findings import family_findings, likeness_findings
from isogloss.training.study.findings import (
    language_findings,
    length_findings,
    mean_findings,
    shot_findings,
)
from isogloss.training.study.results import SETTINGS, StudyResults, absent_parts
from isogloss.training.study.rows import FindingRow, StudyTables


def write_tables(results: StudyResults, folder: Path, other: Summary | None = None) -> StudyTables:
    """Write every table that has rows as a CSV in `folder`, and return what they show.

    `other` is a study of the same test to compare with.

    Raises:
        InvalidInput: the folder cannot be written.
    """
    tables = study_tables(results)
    if other is not None:
        tables = replace(tables, beside=beside_rows(summary(results), other))
    files = {
        "settings": settings_csv(results),
        "runs": runs_csv(results),
        "accuracies": accuracies_csv(results),
        "timings": times_csv(results),
    }
    for field in fields(tables):
        rows = getattr(tables, field.name)
        if rows and field.name != "time_findings":
            files[field.name] = record_bytes(rows)
    writable_folder(folder)
    for name, content in files.items():
        write_atomically(folder / f"{name}.csv", content)
    return tables


def study_tables(results: StudyResults) -> StudyTables:
    """Every table whose part was asked for and has its runs."""
    absent = absent_parts(results)
    tables = StudyTables()
    if "figure2" not in absent:
        tables = replace(tables, figure2=mean_rows(results, map(results.base, SETTINGS)))
    if "table4" not in absent:
        gains = tuple(gain_rows(results))
        tables = replace(tables, table4=tuple(language_rows(results)), table4_freezing=gains)
    if "figure3" not in absent:
        tables = replace(tables, figure3=mean_rows(results, results.by_shots().values()))
    if "figure4" not in absent:
        tables = replace(tables, figure4=mean_rows(results, results.by_length().values()))
    if "figure5" not in absent:
        tables = replace(tables, figure5=change_rows(results))
    if "table1" not in absent:
        rows = tuple(correlation_rows(results))
        tables = replace(
            tables,
            table1=rows,
            table1_distances=distance_rows(rows),
            table1_freezing=tuple(weakening_rows(results)),
        )
    if "section4" not in absent:
        times = time_findings(results)
        tables = replace(tables, section4=cost_rows(results), time_findings=times)
    return replace(tables, findings=_findings(results, tables))


def _findings(results: StudyResults, tables: StudyTables) -> tuple[FindingRow, ...]:
    """In the paper's order; each part says nothing where its table is empty."""
    findings: list[FindingRow] = []
    if tables.figure2:
        findings += mean_findings(results, tables.figure2)
    if tables.table4:
        findings += language_findings(results, tables.table4_freezing)
    if tables.figure3:
        findings += shot_findings(results)
    if tables.figure4:
        findings += length_findings(results, tables.figure4)
    if tables.figure5:
        findings += family_findings(results)
    findings += likeness_findings(results, tables.table1_freezing)
    if tables.section4:
        findings += cost_findings(results, tables.section4)
    return tuple(findings)
