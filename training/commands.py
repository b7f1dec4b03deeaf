"""`isogloss evaluate` and `route`, and the list of this package's commands.

Heavy imports wait until a command runs.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from prompts.console import print_json, print_table
from training.options import (
    AsJson,
    Data,
    Device,
    Dtype,
    ManyValuesCommand,
    ModelName,
    RayAddress,
    Workers,
    parse_codes,
    to_stderr,
)
from training.study_command import study
from training.train_command import train

if TYPE_CHECKING:
    from training.routing import Routed


def register(app: typer.Typer) -> None:
    """Add the commands of this package to the command line."""
    for command in (train, evaluate, route, study):
        app.command(cls=ManyValuesCommand)(command)


def evaluate(
    out: Annotated[Path, typer.Option(help="File for the predictions: .csv or .jsonl.")],
    model: ModelName = "pocket-bloom",
    data: Data = "Davlan/sib200",
    prompts: Annotated[
        list[str] | None,
        typer.Option(help="Prompt files, folders of them, or name[@version] in the store."),
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Prompt store. (default: the user's)")] = None,
    languages: Annotated[
        str,
        typer.Option(
            help="Codes with commas between them; all: what the model was pretrained on; "
            "every: all that the data has."
        ),
    ] = "all",
    split: Annotated[Literal["dev", "test"], typer.Option(help="Split to evaluate on.")] = "dev",
    device: Device = "auto",
    dtype: Dtype = "auto",
    workers: Workers = None,
    ray_address: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Predict every sentence of a split under every prompt; write predictions, print accuracies.

    Interrupted, the same command goes on with the languages that are left, with any --workers.
    """
    from training import evaluate as evaluation
    from training.candidates import load_candidates
    from training.predictions import check_format
    from training.progress import EvaluationBar
    from training.summary import summarize
    from training.tables import summary_tables
    from training.work.jobs import ModelSpec, Pool, load_here

    check_format(out)
    pool = Pool.of(workers, ray_address)
    candidates = load_candidates(prompts or _own_prompts(model), store)
    backbone, shared = load_here(ModelSpec(model, device, dtype), pool)
    job = evaluation.Evaluation(
        data, split, evaluation.choose_languages(backbone, data, languages), out
    )
    try:
        with EvaluationBar() as bar:
            rows = evaluation.evaluate(backbone, candidates, job, bar, shared, to_stderr)
    except KeyboardInterrupt:
        typer.echo("interrupted: finished languages are kept; run it again to go on", err=True)
        raise typer.Exit(130) from None
    summaries = summarize(rows)
    if as_json:
        facts = {"model": model, "data": data, "split": split, "out": str(out)}
        print_json({**facts, "prompts": [asdict(own) for own in summaries]})
    else:
        for table in summary_tables(summaries):
            print_table(table)


def _own_prompts(model: str) -> list[str]:
    """The prompt that an unfrozen run keeps beside its weights."""
    own = Path(model) / "prompt"
    return [str(own)] if own.is_dir() else []


def route(
    evaluations: Annotated[
        list[Path], typer.Option(help="Predictions of `isogloss evaluate --split dev`.")
    ],
    store: Annotated[Path | None, typer.Option(help="Prompt store. (default: the user's)")] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(help="Files (or folders) of evaluated prompts to publish with the routes."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Use this model's predictions only, as they name it.")
    ] = None,
    clades: Annotated[
        str, typer.Option(help="Only these clades may get a route (commas between them).")
    ] = "",
    min_languages: Annotated[
        int, typer.Option(min=1, help="A clade needs this many evaluated languages.")
    ] = 2,
    min_sentences: Annotated[
        int, typer.Option(min=1, help="A clade needs this many dev sentences.")
    ] = 100,
    min_gain: Annotated[
        float, typer.Option(help="Points of accuracy that a route must gain more than.")
    ] = 0.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the choice and publish nothing.")
    ] = False,
    note: Annotated[str, typer.Option(help="Kept with the generation.")] = "isogloss route",
    as_json: AsJson = False,
) -> None:
    """Choose the universal prompt and each clade's from dev results, and publish the routes.

    A clade gets the prompt with the best mean accuracy over its languages where that gains over
    what it would get otherwise; routes and prompts become one new generation of the store.
    """
    from prompts.store import open_store
    from training import routing
    from training.candidates import load_candidates
    from training.select import Rule

    groups = routing.read_evidence(evaluations, model)
    files = load_candidates(prompts, store) if prompts else []
    absent = dry_run and store is not None and not store.exists()
    opened = None if absent else open_store(store, create=not dry_run)
    rule = Rule(min_languages, min_sentences, min_gain / 100)
    wanted = parse_codes(clades) or None
    routed = [routing.build_routes(rows, rule, wanted, opened, files) for rows in groups.values()]
    generation = None
    if opened is not None and not dry_run:
        generation = routing.publish_routes(opened, routed, note).generation
    _report_routes(routed, generation, as_json)


def _report_routes(routed: list[Routed], generation: int | None, as_json: bool) -> None:
    from training.tables import choice_table

    if as_json:
        tables = [
            {
                "routes": own.table.model_dump(mode="json"),
                "decisions": [asdict(d) for d in (own.choice.universal, *own.choice.decisions)],
            }
            for own in routed
        ]
        print_json({"generation": generation, "tables": tables})
        return
    for own in routed:
        print_table(choice_table(own.choice, f"{own.table.model.id}, {own.table.task}"))
    published = (
        "dry run: nothing was published"
        if generation is None
        else (f"published as generation {generation}")
    )
    typer.echo(published)
