"""One HTML page that tells what the study shows; it needs nothing beside it and prints well."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import JsonValue

from isogloss.training.data.clades import name_of
from isogloss.training.files import write_atomically
from isogloss.training.study.beside import Summary, summary
from isogloss.training.study.correlations import measure_name
from isogloss.training.study.estimates import (
    counted,
    duration,
    listing,
    plain,
    share,
    signed,
    size,
)
from isogloss.training.study.findings import SAME_POINTS
from isogloss.training.study.kinship import family_heading
from isogloss.training.study.results import PARTS, VARIANTS, StudyResults, absent_parts
from isogloss.training.study.rows import ChangeRow, LanguageRow, StudyTables

if TYPE_CHECKING:
    from jinja2 import Template

_Row = TypeVar("_Row", LanguageRow, ChangeRow)
_SPREAD = "one standard deviation over seeds; small circles: single seeds."


def write_report(
    results: StudyResults,
    tables: StudyTables,
    figures: Mapping[str, Path],
    path: Path,
    other: Summary | None = None,
) -> None:
    """Write the page.

    Args:
        results: of the study.
        tables: what it shows.
        figures: SVG files, by part, which are copied into the page.
        path: of the page.
        other: the study that `tables.beside` compares with.

    Raises:
        InvalidInput: it cannot be written.
    """
    findings = (*tables.findings, *tables.time_findings)
    absent = absent_parts(results)
    text = _template().render(
        results=results,
        tables=tables,
        parts=[part for part in PARTS if part not in absent],
        titles=PARTS,
        absent=absent,
        findings=findings,
        verdicts=Counter(finding.verdict for finding in findings if finding.verdict),
        captions=captions(results, tables),
        figures={part: data_uri(file) for part, file in figures.items()},
        languages=_by_heading(tables.table4),
        accuracies={(row.language, row.setting): row for row in tables.table4},
        gains={row.language: row for row in tables.table4_freezing},
        changes=_by_heading(tables.figure5),
        metrics=list(dict.fromkeys(row.metric for row in tables.table1)),
        correlations={(row.metric, row.setting): row for row in tables.table1},
        weakenings={row.metric: row for row in tables.table1_freezing},
        seeds=sorted({run.seed for run in results.runs}),
        source=name_of(results.source),
        any_full=bool(results.base("full")),
        same_points=SAME_POINTS,
        variant=VARIANTS[results.variant],
        ours=summary(results),
        other=other,
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


def _by_heading(rows: Sequence[_Row]) -> dict[str, list[_Row]]:
    """A row of each language by family or branch."""
    groups: dict[str, list[_Row]] = {}
    for row in {row.language: row for row in rows}.values():
        groups.setdefault(family_heading(row.family, row.group), []).append(row)
    return groups


def captions(results: StudyResults, tables: StudyTables) -> dict[str, str]:
    """A caption for each part, from the study's own settings."""
    usual = _usual(results)
    paper = " Hatched: the paper." if any(row.paper_percent for row in tables.figure2) else ""
    marks = " Crosses: the paper." if any(row.paper_percent for row in tables.table4) else ""
    diamonds = (
        " Diamonds: the paper." if any(row.paper_r is not None for row in tables.table1) else ""
    )
    unknown = [row.name for row in tables.figure5 if row.change_percent is None]
    never = f" Not drawn, for plain prompts get none right: {listing(unknown)}." if unknown else ""
    return {
        "table4": f"Accuracy per language ({usual}), with the model frozen and with all weights "
        f"trained.{marks}",
        "figure2": f"Mean accuracy over {counted(len(results.languages), 'language')} ({usual}), "
        f"with and without model freezing. Error bars: {_SPREAD}{paper}",
        "figure3": f"Mean accuracy over languages by examples per label: frozen, plain prompts of "
        f"{counted(results.length, 'token')}. Band: {_SPREAD}",
        "figure4": f"Mean accuracy over languages by prompt length: frozen, plain prompts from "
        f"{counted(results.shots, 'example')} per label. Band: {_SPREAD}",
        "figure5": f"Relative change of accuracy by reparameterization against plain "
        f"prompts ({usual}, frozen), by family and there from gain to loss. Lines: 95 % interval "
        "over seeds and articles, each seed compared with itself and plain prompts' mean taken as "
        "known; pale bars: the interval includes zero; lines that leave the frame are cut."
        f"{never}",
        "table1": f"Pearson correlation, over languages, of accuracy ({usual}, mean over seeds) "
        f"with likeness to {name_of(results.source)} and with the amount of "
        f"pretraining data. Lines: 95 % interval over languages.{diamonds}",
        "section4": "What one prompt takes, beside all of the model's weights.",
    }


def _usual(results: StudyResults) -> str:
    seeds = sorted({run.seed for setting in ("frozen", "full") for run in results.base(setting)})
    source = name_of(results.source)
    return (
        f"{source}, {counted(results.shots, 'example')} per label, prompts of "
        f"{counted(results.length, 'token')}, {_seeds(seeds)}"
    )


def _seeds(seeds: list[int]) -> str:
    if not seeds:
        return "no seed"
    return f"seed{'s' * (len(seeds) > 1)} {listing([str(seed) for seed in seeds])}"
