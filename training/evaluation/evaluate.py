"""What prompts answer, sentence by sentence and language by language.

A language is a unit of work: its predictions are made here or by workers, and kept as they come.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.languages.languages import canonical, languages
from isogloss.prompts.languages.pretraining_data import CORPORA
from isogloss.prompts.languages.sib200 import PAPER_52
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.data.labelled import Example, Split, check_labels, language_codes, load_split
from isogloss.training.evaluation.candidates import Candidate, check_alike
from isogloss.training.evaluation.predictions import (
    Prediction,
    check_format,
    read_predictions,
    to_bytes,
)
from isogloss.training.evaluation.scoring import predict
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.workers.pool import run_units
from isogloss.training.workers.units import PoolSpec


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What to evaluate on, and where to keep the predictions."""

    data: str
    split: Split
    languages: tuple[str, ...]
    out: Path
    scores: bool = True  # whether to keep each label's, or only the chosen label


LanguageDone = Callable[[str, int, int, bool], None]
"""Told of a language whose predictions are there: its code, how many are done, of how many, and
whether an earlier, interrupted run had made them."""


@dataclass(frozen=True, slots=True)
class LanguageUnit:
    """Every prompt's predictions for one language, kept as a file of its own until all are there.

    It carries its sentences, so that a worker predicts what the part's name says.
    """

    name: str  # the language's code
    split: Split
    examples: tuple[Example, ...]
    candidates: tuple[Candidate, ...]
    part: Path

    def run(self, model: Backbone, watcher: None) -> None:
        """Predict and write the part.

        Raises:
            InvalidPrompt: this model is not the one the prompts were trained for.
            InvalidInput: the part cannot be written.
        """
        for candidate in self.candidates:
            candidate.prompt.check_fits(model)
        rows = predict(model, self.candidates, self.examples, self.name, self.split)
        write_atomically(self.part, to_bytes(rows, self.part.suffix))


def evaluate(
    model: Backbone,
    candidates: Sequence[Candidate],
    job: Evaluation,
    language_done: LanguageDone,
    workers: PoolSpec | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Prediction]:
    """Predict every sentence of every language under every prompt and write `job.out`.

    Finished languages are kept beside `out` until it is written, so an interrupted evaluation goes
    on where it stopped when the same command is given again, with workers or without.

    Args:
        model: predicts, unless there are workers; they load their own.
        candidates: the prompts.
        job: what to evaluate on.
        language_done: told of each language, first of those that are kept.
        workers: predict instead.
        say: told what happens to workers.

    Raises:
        InvalidData: a language or split cannot be read, or has labels the prompts do not know;
            nothing was predicted yet.
        InvalidInput: prompts of different tasks, or `out` cannot be written.
        Unavailable: workers cannot start, or die again and again.
    """
    check_format(job.out)
    labels = check_alike(model, candidates)
    writable_folder(job.out.parent)
    parts = writable_folder(job.out.with_name(f".{job.out.name}.{_identity(model, candidates)}"))
    units = [_unit(candidates, job, code, labels, parts) for code in job.languages]
    kept = [unit.name for unit in units if unit.part.exists()]
    for done, code in enumerate(kept, start=1):
        language_done(code, done, len(units), True)
    left = [unit for unit in units if unit.name not in kept]
    running = run_units(left, model, workers, out=parts, say=say)
    with closing(running) as finished:
        for done, (index, _) in enumerate(finished, start=len(kept) + 1):
            language_done(left[index].name, done, len(units), False)
    rows = [row for unit in units for row in read_predictions(unit.part)]
    write_atomically(job.out, to_bytes(rows, job.out.suffix, scores=job.scores))
    shutil.rmtree(parts)
    return rows


def _unit(
    candidates: Sequence[Candidate],
    job: Evaluation,
    code: str,
    labels: Sequence[str],
    parts: Path,
) -> LanguageUnit:
    problem = candidates[0].prompt.card.problem
    examples = load_split(job.data, code, job.split, problem)
    check_labels(examples, labels, f"{job.data} {code} {job.split}", problem)
    part = parts / f"{code}-{job.split}-{examples_digest(examples)}.jsonl"
    return LanguageUnit(code, job.split, tuple(examples), tuple(candidates), part)


def choose_languages(model: Backbone, data: str, asked: str) -> tuple[str, ...]:
    """The languages of `--languages`.

    `all` are the data's languages that the model was pretrained on (pocket models: the paper's 52,
    whichever the architecture; models of which nothing is known: all that the data has), `every`
    all that the data has, and anything else a list of codes with commas between them.

    Raises:
        InvalidData: the data lacks a language that was asked for, or has none of them.
    """
    present = language_codes(data)
    if asked == "every":
        return tuple(present)
    if asked != "all":
        names = (canonical(name.strip()) for name in asked.split(",") if name.strip())
        codes = tuple(dict.fromkeys(names))
        if lacking := [code for code in codes if code not in present]:
            raise InvalidData(
                f"--languages: {data} has no {', '.join(lacking)}; it has {len(present)}, such as "
                f"{', '.join(present[:5])}"
            )
        return codes
    chosen = tuple(code for code in present if _pretrained_on(model, code))
    if not chosen:
        raise InvalidData(
            f"--languages all: {model.model_id} was pretrained on none of {data}'s languages "
            f"({', '.join(present[:5])}...); name codes, or use --languages every"
        )
    return chosen


def _pretrained_on(model: Backbone, code: str) -> bool:
    if Path(model.model_id).name.startswith("pocket-"):
        return code in PAPER_52
    if model.architecture not in CORPORA:
        return model.pretraining is None or model.pretraining.known(code) > 0
    entry = languages().get(code)
    if entry is None:
        return False
    return entry.in_bloom if model.architecture == "bloom" else entry.in_xglm


def _identity(model: Backbone, candidates: Sequence[Candidate]) -> str:
    facts = [model.fingerprint, *([c.name, c.prompt.digest] for c in candidates)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def examples_digest(examples: Sequence[Example]) -> str:
    """Twelve digits that tell these sentences and labels from any others."""
    rows = [asdict(example) for example in examples]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]
