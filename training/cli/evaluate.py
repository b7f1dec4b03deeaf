"""`isogloss evaluate`. Heavy imports wait until the command runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from isogloss.prompts.cli.settings import as_command
from isogloss.prompts.console.console import print_json, print_table
from isogloss.training.cli.options import (
    AsJson,
    Data,
    Languages,
    Machine,
    ModelName,
    Split,
    Store,
    interruptible,
    to_stderr,
)


@as_command
def evaluate(
    *,
    out: Annotated[Path, typer.Option(help="File for the predictions: .csv or .jsonl.")],
    model: ModelName = "pocket-bloom",
    data: Data = "Davlan/sib200",
    prompts: Annotated[
        list[str] | None,
        typer.Option(help="Prompt files, folders of them, or name[@version] in the store."),
    ] = None,
    store: Store = None,
    languages: Languages = "all",
    split: Split = "dev",
    scores: Annotated[
        bool, typer.Option(help="Keep every label's score, as `isogloss calibrate` needs.")
    ] = True,
    machine: Machine,
    as_json: AsJson = False,
) -> None:
    """Predict every sentence of a split under every prompt; write predictions, print accuracies.

    Interrupted, the same command goes on with the languages that are left, with any --workers.
    """
    from isogloss.training.cli.progress import EvaluationBar
    from isogloss.training.cli.tables import summary_tables
    from isogloss.training.evaluation import evaluate as evaluation
    from isogloss.training.evaluation.candidates import load_candidates
    from isogloss.training.evaluation.predictions import check_format
    from isogloss.training.evaluation.summary import summarize

    check_format(out)
    candidates = load_candidates(prompts or _own_prompts(model), store)
    backbone, shared = machine.load(model)
    job = evaluation.Evaluation(
        data, split, evaluation.choose_languages(backbone, data, languages), out, scores
    )
    with interruptible("finished languages are kept"), EvaluationBar() as bar:
        rows = evaluation.evaluate(backbone, candidates, job, bar.language, shared, to_stderr)
    summaries = summarize(rows)
    if as_json:
        facts = {"model": model, "data": data, "split": split, "out": str(out)}
        print_json({**facts, "prompts": [asdict(summary) for summary in summaries]})
    else:
        for table in summary_tables(summaries):
            print_table(table)


def _own_prompts(model: str) -> list[str]:
    """The prompt that an unfrozen run keeps beside its weights."""
    folder = Path(model) / "prompt"
    return [str(folder)] if folder.is_dir() else []
