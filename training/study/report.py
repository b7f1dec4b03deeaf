"""One HTML page that tells what the study shows; it needs nothing beside it and prints well."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from isogloss.training.files import write_atomically
from isogloss.training.study.captions import captions
from isogloss.training.study.correlations import measure_name
from isogloss.training.study.freezing_findings import SAME_POINTS
from isogloss.training.study.kinship import family_heading, places
from isogloss.training.study.parts import PARTS, absent_parts
from isogloss.training.study.results import Setting, StudyResults
from isogloss.training.study.rows import (
    ChangeRow,
    CorrelationRow,
    GainRow,
    LanguageRow,
    StudyTables,
    WeakeningRow,
)
from isogloss.training.study.words import counted, duration, plain, share, signed, size

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True, slots=True)
class LanguageLine:
    """A line of Table 4: one language, both settings."""

    name: str
    settings: Mapping[Setting, LanguageRow]
    gain: GainRow | None


@dataclass(frozen=True, slots=True)
class MetricLine:
    """A line of Table 1: one measure, both settings and the difference."""

    metric: str
    settings: Mapping[Setting, CorrelationRow]
    weakening: WeakeningRow | None


def write_report(
    results: StudyResults, tables: StudyTables, figures: Mapping[str, Path], path: Path
) -> None:
    """Write the page. `figures` are SVG files, by part, which are copied into it.

    Raises:
        InvalidInput: it cannot be written.
    """
    findings = (*tables.findings, *tables.time_findings)
    text = _template().render(
        results=results,
        tables=tables,
        parts=[part for part in PARTS if part not in absent_parts(results)],
        titles=PARTS,
        absent=absent_parts(results),
        findings=findings,
        verdicts=Counter(finding.verdict for finding in findings if finding.verdict),
        captions=captions(results, tables),
        figures={part: data_uri(file) for part, file in figures.items()},
        groups=language_groups(tables),
        changes=change_groups(tables.figure5),
        metrics=metric_lines(tables),
        seeds=sorted({run.seed for run in results.runs}),
        source=places([results.source])[0].name,
        any_full=bool(results.base("full")),
        same_points=SAME_POINTS,
    )
    write_atomically(path, text.encode())


def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "plain": plain,
        "signed": signed,
        "share": share,
        "size": size,
        "duration": duration,
        "counted": counted,
        "setting": setting_text,
        "measure": measure_name,
    }
    source = resources.files("isogloss.training.study").joinpath("report.html.jinja")
    return environment.from_string(source.read_text(encoding="utf-8"))


def data_uri(figure: Path) -> str:
    """An SVG as an address that carries the picture itself."""
    return f"data:image/svg+xml;base64,{base64.b64encode(figure.read_bytes()).decode()}"


def setting_text(value: JsonValue) -> str:
    """A setting as a person writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(setting_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {setting_text(item)}" for key, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def language_groups(tables: StudyTables) -> dict[str, list[LanguageLine]]:
    """Table 4 by family or branch, a line per language."""
    by_language: dict[str, dict[Setting, LanguageRow]] = {}
    for row in tables.table4:
        by_language.setdefault(row.language, {})[row.setting] = row
    gains = {row.language: row for row in tables.table4_freezing}
    groups: dict[str, list[LanguageLine]] = {}
    for settings in by_language.values():
        first = next(iter(settings.values()))
        heading = family_heading(first.family, first.group)
        groups.setdefault(heading, []).append(
            LanguageLine(first.name, settings, gains.get(first.language))
        )
    return groups


def change_groups(rows: Sequence[ChangeRow]) -> dict[str, list[ChangeRow]]:
    """Figure 5's rows by family or branch."""
    groups: dict[str, list[ChangeRow]] = {}
    for row in rows:
        groups.setdefault(family_heading(row.family, row.group), []).append(row)
    return groups


def metric_lines(tables: StudyTables) -> list[MetricLine]:
    """Table 1 with a line per measure."""
    weakenings = {row.metric: row for row in tables.table1_freezing}
    metrics = dict.fromkeys(row.metric for row in tables.table1)
    return [
        MetricLine(
            metric,
            {row.setting: row for row in tables.table1 if row.metric == metric},
            weakenings.get(metric),
        )
        for metric in metrics
    ]
