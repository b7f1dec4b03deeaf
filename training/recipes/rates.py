"""`python -m isogloss.training.recipes.rates`: how far a step should move a prompt, by model.

AdamW moves every number by the rate, so the rate that trains well depends on how large the numbers
are that a model reads. For each model this trains 8-shot prompts, plain and residual, at rates that
are so many of its own embeddings' standard deviations, and at each says what dev has of English and
of all languages asked. Test is not read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from isogloss.prompts.console.console import reporting_errors, say
from isogloss.prompts.files.tables import record_bytes
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.cli.in_process import in_process
from isogloss.training.evaluation.candidates import prompt_files
from isogloss.training.evaluation.predictions import read_predictions
from isogloss.training.evaluation.summary import summarize
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.tuning.scale import embedding_spread

STEPS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SOURCE = "eng_Latn"


@dataclass(frozen=True, slots=True)
class Rate:
    """One model's prompts of one kind at one rate, all seeds together; accuracies on dev, in %."""

    model: str
    architecture: str
    spread: float  # standard deviation of the embeddings that the model reads
    kind: str  # plain, or residual with a first gain of so many spreads, or of 1
    step: float  # the rate, in spreads
    learning_rate: float
    seeds: int
    english: float
    mean: float  # over the languages asked


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    options = argparse.ArgumentParser(
        prog="python -m isogloss.training.recipes.rates", description=__doc__
    )
    options.add_argument("--data", required=True, help="SIB-200: <code>/{train,dev}.tsv")
    options.add_argument("--models", nargs="+", required=True, help="folders or pocket models")
    options.add_argument("--languages", default="eng_Latn,fra_Latn,ind_Latn,swh_Latn,hin_Deva")
    options.add_argument("--steps", nargs="+", type=float, default=list(STEPS), help="in spreads")
    options.add_argument("--shots", default="8")
    options.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    options.add_argument("--work", type=Path, default=Path("out/rates"))
    options.add_argument("--out", type=Path, default=Path("training/results/rates.csv"))
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, read dev, write one table; a model whose prompts are there is not trained again."""
    given = parser().parse_args(arguments)
    with reporting_errors():
        rows = [row for model in given.models for row in _measured(given, model)]
        writable_folder(given.out.parent)
        write_atomically(given.out, record_bytes(rows))
        say(f"{given.out}: {len(rows)} rows")


def _measured(given: argparse.Namespace, model: str) -> Iterator[Rate]:
    backbone = Backbone.load(model)
    spread = embedding_spread(backbone)
    work = given.work / Path(model).name
    run = in_process(work / "log.txt")
    for kind, more in _kinds(spread):
        out = work / kind
        if not (out / "dev.csv").is_file():
            rates = [f"{step * spread:.3g}" for step in given.steps]
            asked = ["--model", model, "--data", given.data]
            few = ["--source", SOURCE, "--shots", given.shots]
            many = ["--learning-rate", *rates, "--seed", *given.seeds]
            run(["train", *asked, *few, *more, *many, "--resume", "--out", str(out)])
            read = ["--prompts", str(out), "--languages", given.languages, "--no-scores"]
            run(["evaluate", *asked, *read, "--out", str(out / "dev.csv")])
        yield from _rows(model, backbone.architecture, spread, kind, out)


def _kinds(spread: float) -> Iterator[tuple[str, list[str]]]:
    yield "plain", []
    residual = ["--reparameterization", "residual", "--norm-gain"]
    yield "residual", [*residual, f"{spread:.3g}"]
    if not 0.5 < spread < 2:
        yield "residual-gain-1", [*residual, "1"]


def _rows(model: str, architecture: str, spread: float, kind: str, out: Path) -> Iterator[Rate]:
    rates = {
        name: float(SoftPrompt.load(path).card.training["learning_rate"])  # type: ignore[arg-type]
        for name, path in prompt_files(out).items()
    }
    found = [(rates[each.prompt], each) for each in summarize(read_predictions(out / "dev.csv"))]
    for rate in sorted(set(rates.values())):
        own = [each for at, each in found if at == rate]
        yield Rate(
            model=Path(model).name,
            architecture=architecture,
            spread=spread,
            kind=kind,
            step=float(f"{rate / spread:.2g}"),
            learning_rate=rate,
            seeds=len(own),
            english=100 * fmean(each.languages[SOURCE] for each in own),
            mean=100 * fmean(each.mean for each in own),
        )


if __name__ == "__main__":
    main()
