"""Small tables of one model's run: what was tried, what was chosen, and what it came to on test.

OUT/candidates.csv    every prompt: how it was made, dev and (if evaluated) test accuracy
OUT/languages.csv     test accuracy of each language, under the universal prompt and its own route
OUT/predictions.csv   the same, sentence by sentence
OUT/nearly_free.csv   what prompts together and label priors gain, English 8-shot
OUT/steps.csv         the commands, and the seconds they took
OUT/*                 tables and figures of `isogloss calibrate`, `gains` and `tailoring`

Accuracies are shares of 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from isogloss.prompts.files.tables import table_bytes
from isogloss.prompts.format.prompt import load_prompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.routing.routes import Route, RouteTable
from isogloss.training.evaluation.candidates import prompt_files
from isogloss.training.evaluation.predictions import Prediction, read_predictions
from isogloss.training.evaluation.summary import PromptSummary, summarize
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.recipes.ship import nearly_free
from isogloss.training.recipes.ship.plan import PAPER, PAPER_MORE, Step
from isogloss.training.recipes.ship.settings import ENGLISH
from isogloss.training.recipes.ship.steps import Finished, summaries
from isogloss.training.selection.served import as_served, routes_of

_FACTS = ("way", "clade", "shots", "seed", "epochs_run", "seconds")
_SEEDS = re.compile(r"-plain-length16-seed[0-9]+$")
_FEWEST_SEEDS = 8
_SHOWN = (".csv", ".svg", ".png")
Cell = str | float | int | None


def write_results(
    steps: Sequence[Step], finished: Mapping[str, Finished], table: RouteTable, out: Path
) -> None:
    """Write every table of one model.

    Args:
        steps: of its plan.
        finished: the same, done.
        table: the routes that were chosen.
        out: folder of the tables.

    Raises:
        InvalidInput: a table cannot be written.
    """
    writable_folder(out)
    for name in ("calibration", "gains", "tailoring"):
        if name not in finished:
            continue
        for path in sorted(finished[name].folder.glob("*.*")):
            if path.suffix in _SHOWN:
                write_atomically(out / path.name, path.read_bytes())
    test = read_predictions(finished["test"].folder / "predictions.csv")
    _write(out / "steps.csv", ("step", "seconds", "command"), _steps(steps, finished))
    _write(out / "candidates.csv", *_candidates(finished, table, summarize(test)))
    routes = routes_of(table, sorted({row.language for row in test}))
    answers = _answers(test, table, routes)
    _write(out / "languages.csv", *_languages(answers, routes))
    _write(out / "predictions.csv", *_predictions(answers))


def write_nearly_free(
    finished: Mapping[str, Finished], model: Backbone, data: str, out: Path
) -> None:
    """Write what prompts together and label priors gain, where there are seeds enough to tell."""
    grids = [name for name in (PAPER, PAPER_MORE) if name in finished]
    files = {n: p for grid in grids for n, p in prompt_files(finished[grid].folder).items()}
    chosen = {n: path for n, path in files.items() if _SEEDS.search(n)}
    if len(chosen) < _FEWEST_SEEDS:
        return
    test, dev = (
        nearly_free.answers_of(
            read_predictions(finished[name].folder / "predictions.csv"), list(chosen)
        )
        for name in ("test", "dev-sources")
    )
    keep = finished["test"].folder / "priors.npy"
    priors = nearly_free.kept_priors(keep, model, list(chosen.values()), data, test)
    rows = nearly_free.compare(test, dev, priors)
    _write(out / "nearly_free.csv", *nearly_free.table(rows))


def _steps(steps: Sequence[Step], finished: Mapping[str, Finished]) -> list[Sequence[Cell]]:
    return [(step.name, finished[step.name].seconds, str(step)) for step in steps]


def _candidates(
    finished: Mapping[str, Finished], table: RouteTable, test: Sequence[PromptSummary]
) -> tuple[Sequence[str], list[Sequence[Cell]]]:
    evaluations = [name for name in ("dev-sources", "dev-clades") if name in finished]
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
        results = [*_means(summary), *(_means(shown) if shown else ("", ""))]
        made = [prompt.card.kind, prompt.length, *map(_plain, facts)]
        rows.append([summary.prompt, *made, *results, " ".join(routed)])
    accuracies = [f"{split}_{what}" for split in ("dev", "test") for what in ("mean", "english")]
    return ["prompt", "kind", "length", *_FACTS, *accuracies, "routes"], rows


def _means(summary: PromptSummary) -> list[Cell]:
    english = summary.languages.get(ENGLISH)
    return [_share(summary.mean), "" if english is None else _share(english)]


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
