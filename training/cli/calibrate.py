"""`isogloss calibrate`. Heavy imports wait until the command runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from isogloss.prompts.cli.settings import as_command
from isogloss.prompts.console.console import print_json, print_table, say
from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.training.cli.options import (
    AsJson,
    DryRun,
    Machine,
    OnlyModel,
    Store,
    interruptible,
    parse_languages,
    tell_generation,
    to_stderr,
)

if TYPE_CHECKING:
    from isogloss.prompts.model.backbone import Backbone
    from isogloss.prompts.store.store import PromptStore, StoreState
    from isogloss.training.calibration.calibrated import Calibrated
    from isogloss.training.calibration.scaling import PriorRule
    from isogloss.training.evaluation.predictions import Group, Prediction

MinProbability = Annotated[
    float,
    typer.Option(min=0.5, max=0.9999, help="How probable it must be that a prior gains on dev."),
]


@as_command
def calibrate(
    *,
    evaluations: Annotated[
        list[Path],
        typer.Option(help="Predictions of `isogloss evaluate --split dev`, to fit on."),
    ],
    store: Store = None,
    report: Annotated[
        list[Path] | None, typer.Option(help="Predictions of the test split, to judge by.")
    ] = None,
    model: OnlyModel = None,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(
            help="Learn label priors from text: a folder of <code>.txt, <code>/train.tsv or "
            "NTREX-128. Needs the model."
        ),
    ] = None,
    texts: Annotated[int, typer.Option(min=1, help="Unlabelled texts of a language, at most.")] = (
        200
    ),
    languages: Annotated[
        str,
        typer.Option(
            help="Languages to learn priors of: codes with commas between them; every: all that "
            "--unlabelled has. (default: the evaluated ones)"
        ),
    ] = "",
    min_probability: MinProbability = 0.75,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for calibration.csv, reliability.csv, and what texts were read."),
    ] = None,
    dry_run: DryRun = False,
    note: Annotated[
        str, typer.Option(help="Kept with the generation, after what was measured.")
    ] = "isogloss calibrate",
    machine: Machine,
    as_json: AsJson = False,
) -> None:
    """Fit a temperature for each route and clade on dev, and publish them with the routes.

    Scores are then as often right as they say. With --unlabelled, what a prompt says of any text
    of a language is learned too, and taken off first on the routes where that makes more dev
    answers right. Thin evidence backs off to the parent clade. Prints accuracy and the expected
    calibration error before and after.
    """
    from isogloss.prompts.store.store import open_store
    from isogloss.training.calibration import calibrated as calibration

    opened = open_store(store)
    dev = calibration.read_scores(evaluations, "dev", model)
    test = calibration.read_scores(report or [], "test", model)
    state = opened.state()
    rules: Mapping[Group, PriorRule] = {}
    if unlabelled:
        wanted = _Wanted(tuple(unlabelled), texts, languages, min_probability, out)
        rules = _learn(wanted, dev, opened, state, machine)
    found = [
        calibration.calibrate(key, rows, test.get(key, []), state, rules.get(key))
        for key, rows in dev.items()
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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to learn priors from."""

    folders: tuple[Path, ...]
    texts: int
    languages: str
    min_probability: float
    out: Path | None

    def codes(self, rows: Sequence[Prediction]) -> Collection[str] | None:
        """Languages; None: all that the folders have."""
        if self.languages == "every":
            return None
        return parse_languages(self.languages) or {row.language for row in rows}


def _learn(
    wanted: _Wanted,
    dev: Mapping[Group, Sequence[Prediction]],
    store: PromptStore,
    state: StoreState,
    machine: Machine,
) -> dict[Group, PriorRule]:
    """Read the texts under the routed prompts of every task."""
    from isogloss.training.calibration.calibrated import routes_of
    from isogloss.training.calibration.priors import learn_priors
    from isogloss.training.calibration.scaling import PriorRule
    from isogloss.training.calibration.unlabelled import load_unlabelled
    from isogloss.training.cli.progress import EvaluationBar

    tables = {key: routes_of(key, rows, state) for key, rows in dev.items()}
    texts = {
        key: load_unlabelled(wanted.folders, wanted.codes(rows), wanted.texts)
        for key, rows in dev.items()
    }
    backbone, workers = machine.load(_the_model(dev))
    for rows in dev.values():
        _check_model(backbone, rows[0])
    rules = {}
    kept = "nothing is kept without --out" if wanted.out is None else "what was read is kept"
    with _kept(wanted.out) as folder, interruptible(kept):
        for key, table in tables.items():
            prompts = {name: store.read(state.resolve(name)[2]) for name in table.references}
            _tell_without_text(dev[key], texts[key])
            with EvaluationBar() as bar:
                read = (backbone, table, prompts, texts[key], folder)
                learned = learn_priors(*read, bar.language, workers, to_stderr)
            rules[key] = PriorRule(learned, wanted.min_probability)
    return rules


def _the_model(dev: Mapping[Group, Sequence[Prediction]]) -> str:
    names = {rows[0].fingerprint: rows[0].model for rows in dev.values()}
    if len(names) > 1:
        raise InvalidInput(
            f"--unlabelled: these predictions are of {' and '.join(sorted(names.values()))}, and "
            "one model at a time reads texts; name it with --model"
        )
    return next(iter(names.values()))


def _check_model(backbone: Backbone, row: Prediction) -> None:
    if backbone.fingerprint != row.fingerprint:
        raise InvalidData(
            f"--model {row.model!r}: has the fingerprint {backbone.fingerprint}, and the "
            f"predictions are of {row.fingerprint}; evaluate again with this model"
        )


@contextmanager
def _kept(out: Path | None) -> Iterator[Path]:
    """The folder of what is read; without --out it goes with the command."""
    if out is not None:
        yield out / "unlabelled"
        return
    with TemporaryDirectory(prefix="isogloss-") as folder:
        yield Path(folder)


def _tell_without_text(rows: Sequence[Prediction], texts: Collection[str]) -> None:
    if codes := sorted({row.language for row in rows} - set(texts)):
        to_stderr(
            f"{rows[0].model}: --unlabelled has no text of {len(codes)} languages, which take "
            f"their clades' priors: {', '.join(codes)}"
        )


def _tell_unmeasured(calibrated: Calibrated) -> None:
    if codes := calibrated.unmeasured:
        to_stderr(
            f"{calibrated.table.model.id}: {len(codes)} languages were not evaluated under the "
            f"prompt they are routed to, and back off to their clades: {', '.join(codes)}"
        )


def _in_words(calibrated: Calibrated) -> str:
    from isogloss.training.calibration.tables import accuracies, assigned_in_words, before_after

    measured, table = calibrated.overall.measured, calibrated.table
    errors = [f"{before_after(measures)} on {split}" for split, measures in measured.items()]
    words = f"{table.model.id}, {table.task}: calibration error {', '.join(errors)}"
    if told := assigned_in_words(calibrated):
        words = f"{words}; at thresholds in place of one half {told}"
    if not calibrated.priors:
        return words
    shares = [f"{accuracies(measures)} on {split}" for split, measures in measured.items()]
    return f"{words}; accuracy with label priors {', '.join(shares)}"


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
        if told := tables.assigned_in_words(calibrated):
            say(f"at thresholds in place of one half: {told}")
    tell_generation(generation)
