"""What one job leaves for a person: small tables, its facts, and the report.

OUT/plan.json         what there was, what was planned, and what it took
OUT/routes.json       the routes with their evidence
OUT/candidates.csv    every prompt: how it was made, dev and (if evaluated) test accuracy
OUT/steps.csv         the commands, and the seconds they took
OUT/languages.csv     test accuracy of each language, under the universal prompt and its own route
OUT/predictions.csv   the same, sentence by sentence
OUT/*                 tables and figures of `isogloss calibrate` and `gains`
OUT/report.html       all of it, on one page

Accuracies are shares of 1. Without a test split there is no languages.csv, predictions.csv or gain.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from isogloss.prompts.files.tables import table_bytes
from isogloss.prompts.format.prompt import load_prompt
from isogloss.prompts.routing.routes import Route, RouteTable
from isogloss.training.evaluation.candidates import prompt_files
from isogloss.training.evaluation.predictions import Prediction, read_predictions
from isogloss.training.evaluation.summary import PromptSummary, summarize
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.selection.served import as_served, routes_of
from isogloss.training.tailor.plan import DEV, DEV_CLADES, TEST
from isogloss.training.tailor.steps import Finished, summaries
from isogloss.training.tailor.words import Step

_FACTS = ("way", "clade", "shots", "seed", "epochs_run", "seconds")
_SHOWN = (".csv", ".svg", ".png")
_OF_TEST = ("languages.csv", "predictions.csv")
Cell = str | float | int | None


def write_results(
    steps: Sequence[Step],
    finished: Mapping[str, Finished],
    table: RouteTable,
    facts: Mapping[str, Any],
    out: Path,
) -> Path:
    """Write every table and the report; return the report's path.

    Args:
        steps: of the plan.
        finished: the same, done.
        table: the routes that were chosen.
        facts: of plan.json.
        out: folder of the tables; those of an earlier run that are not made again go.

    Raises:
        InvalidInput: a table cannot be written.
    """
    from isogloss.training.tailor.report import write_report

    writable_folder(out)
    for old in (*out.glob("gains*"), *(out / name for name in _OF_TEST)):
        old.unlink(missing_ok=True)
    for name in ("calibration", "gains"):
        for path in sorted(finished[name].folder.glob("*.*")) if name in finished else ():
            if path.suffix in _SHOWN:
                write_atomically(out / path.name, path.read_bytes())
    test = read_predictions(finished[TEST].folder / "predictions.csv") if TEST in finished else []
    _write(out / "steps.csv", ("step", "seconds", "command"), _steps(steps, finished))
    candidates = _candidates(finished, table, summarize(test) if test else (), facts["first"])
    _write(out / "candidates.csv", *candidates)
    if test:
        routes = routes_of(table, sorted({row.language for row in test}))
        answers = _answers(test, table, routes)
        _write(out / "languages.csv", *_languages(answers, routes))
        _write(out / "predictions.csv", *_predictions(answers))
    write_atomically(out / "routes.json", table.model_dump_json(indent=1).encode())
    write_atomically(out / "plan.json", json.dumps(facts, indent=1, ensure_ascii=False).encode())
    return write_report(out)


def _steps(steps: Sequence[Step], finished: Mapping[str, Finished]) -> list[Sequence[Cell]]:
    return [(step.name, finished[step.name].seconds, str(step)) for step in steps]


def _candidates(
    finished: Mapping[str, Finished], table: RouteTable, test: Sequence[PromptSummary], first: str
) -> tuple[Sequence[str], list[Sequence[Cell]]]:
    evaluations = [name for name in (DEV, DEV_CLADES) if name in finished]
    dev = [summary for name in evaluations for summary in summaries(finished[name].folder)]
    tested = {summary.prompt: summary for summary in test}
    files = {n: p for step in finished.values() for n, p in prompt_files(step.folder).items()}
    rows: list[Sequence[Cell]] = []
    for summary in sorted(dev, key=lambda s: (-s.mean, s.prompt)):
        prompt = load_prompt(files[summary.prompt])
        facts = [prompt.card.training.get(name) for name in _FACTS]
        clades = [clade for clade, chosen in table.clades.items() if chosen == summary.prompt]
        routed = ["universal"] * (summary.prompt == table.universal) + clades
        shown = tested.get(summary.prompt)
        results = [*_means(summary, first), *(_means(shown, first) if shown else ("", ""))]
        made = [prompt.card.kind, prompt.length, *map(_plain, facts)]
        rows.append([summary.prompt, *made, *results, " ".join(routed)])
    accuracies = [f"{split}_{what}" for split in ("dev", "test") for what in ("mean", "first")]
    return ["prompt", "kind", "length", *_FACTS, *accuracies, "routes"], rows


def _means(summary: PromptSummary, first: str) -> list[Cell]:
    own = summary.languages.get(first)
    return [_share(summary.mean), "" if own is None else _share(own)]


def _plain(value: object) -> Cell:
    return value if isinstance(value, str | int | float) else ""


Answers = dict[str, dict[str, dict[str, Prediction]]]
"""language -> sentence -> "universal" and "routed"."""


def _answers(test: Iterable[Prediction], table: RouteTable, routes: Mapping[str, Route]) -> Answers:
    by_language: Answers = {code: {} for code in routes}
    for row in test:
        answers = by_language[row.language].setdefault(row.index_id, {})
        if row.prompt == table.universal:
            answers["universal"] = row
        if row.prompt == routes[row.language].reference:
            answers["routed"] = as_served(row, routes[row.language])
    return by_language


def _languages(
    answers: Answers, routes: Mapping[str, Route]
) -> tuple[Sequence[str], list[Sequence[Cell]]]:
    rows: list[Sequence[Cell]] = []
    for code, sentences in answers.items():
        accuracies = [
            fmean(arms[arm].correct for arms in sentences.values())
            for arm in ("universal", "routed")
        ]
        route = routes[code]
        facts = (code, route.clade or "", route.reference, len(sentences))
        rows.append([*facts, *map(_share, accuracies)])
    return ["language", "clade", "prompt", "sentences", "universal", "routed"], rows


def _predictions(answers: Answers) -> tuple[Sequence[str], list[Sequence[Cell]]]:
    rows: list[Sequence[Cell]] = [
        [code, sentence, arms["routed"].gold, arms["universal"].predicted, arms["routed"].predicted]
        for code, sentences in answers.items()
        for sentence, arms in sentences.items()
    ]
    return ["language", "index_id", "gold", "universal", "routed"], rows


def _share(value: float) -> str:
    return f"{value:.4f}"


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    write_atomically(path, table_bytes(columns, rows))
