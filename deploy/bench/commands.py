"""`isogloss bench`. Heavy imports wait until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from isogloss.deploy.bench import http_command, swap_command
from isogloss.deploy.bench.engine_command import engine, table
from isogloss.deploy.bench.options import (
    AsJson,
    Models,
    Out,
    Seed,
    Threads,
    WhichDevice,
    WhichDtype,
    check_writable,
    choose_machine,
    choose_models,
    parse_shares,
    parse_sizes,
    tell,
)
from isogloss.prompts.console.console import ReportingGroup

app = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    help="Measure against named peers, on the same weights and texts, in the same run.",
)


def register(isogloss: typer.Typer) -> None:
    """Add the commands of this package to the command line."""
    isogloss.add_typer(app, name="bench")


@app.callback()
def bench() -> None:
    """Measure against named peers, on the same weights and texts, in the same run."""


app.command()(engine)
app.command()(table)
http_command.register(app)
swap_command.register(app)


@app.command()
def train(
    model: Models = None,
    population: Annotated[
        int, typer.Option(min=1, help="Prompts trained side by side: seeds x 4 learning rates.")
    ] = 16,
    epochs: Annotated[
        int,
        typer.Option(min=1, max=20, help="Measured in each round; the rest of 20 is projected."),
    ] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each contender takes.")] = 3,
    device: WhichDevice = "auto",
    dtype: WhichDtype = "auto",
    threads: Threads = None,
    seed: Seed = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Train prompts with the paper's settings: transformers, PEFT, ours alone, ours together.

    Full-size models with random weights: nothing is downloaded. Needs up to 16 GB of memory.
    """
    check_writable(out)

    from isogloss.deploy.bench.report import progress, train_tables
    from isogloss.deploy.bench.train import TrainSettings, bench_train

    where, precision = choose_machine(device, dtype, threads)
    settings = TrainSettings(
        models=choose_models(model),
        population=population,
        epochs=epochs,
        rounds=rounds,
        device=where,
        dtype=precision,
        seed=seed,
    )
    with progress() as say:
        report = bench_train(settings, say)
    tell(report, train_tables, out, as_json)


@app.command()
def profile(
    model: Annotated[str, typer.Option(help="A model of full size.")] = "bloom-560m",
    batch_size: Annotated[int, typer.Option(min=1, help="Texts of the batch.")] = 32,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16", "int8", "fp8"],
        typer.Option(help="Precision of the linear layers."),
    ] = "float32",
    device: WhichDevice = "auto",
    threads: Threads = None,
    seed: Seed = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Show where a forward pass spends its time."""
    check_writable(out)

    from isogloss.deploy.bench.profiling import ProfileSettings, bench_profile
    from isogloss.deploy.bench.report import profile_tables, progress
    from isogloss.prompts.model.checkpoint import choose_dtype
    from isogloss.prompts.model.full_size import full_size_config

    full_size_config(model)
    where, _ = choose_machine(device, "auto", threads)
    settings = ProfileSettings(
        model, choose_dtype(dtype, where), where, batch_size=batch_size, seed=seed
    )
    with progress() as say:
        report = bench_profile(settings, say)
    tell(report, profile_tables, out, as_json)


@app.command()
def precision(
    model: Annotated[
        list[str] | None,
        typer.Option(help="Hub id, folder or pocket model; repeatable. (default: both pockets)"),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            help="bfloat16, float16, int8 (processors) or fp8 (GPUs), compared with float32; "
            "repeatable. (default: bfloat16 and int8)"
        ),
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Prompt store. (default: the user's)")] = None,
    data: Annotated[
        str, typer.Option(help="Data set on the hub, or folder <code>/test.tsv.")
    ] = "Davlan/sib200",
    languages: Annotated[
        str, typer.Option(help="Codes with commas between them, all, or every.")
    ] = "all",
    sentences: Annotated[
        int | None, typer.Option(min=1, help="Of each language. (default: all of the test split)")
    ] = None,
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option("--device", help="Where the model runs.")
    ] = "cpu",
    threads: Threads = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Classify test sentences in faster precisions, and count labels that are not float32's."""
    check_writable(out)

    from isogloss.deploy.bench.precision import PrecisionSettings, bench_precision, parse_precisions
    from isogloss.deploy.bench.report import precision_tables, progress
    from isogloss.prompts.model.backbone import Backbone
    from isogloss.training.evaluation.evaluate import choose_languages

    choose_machine(device, "float32", threads)
    models = tuple(model or ("pocket-bloom", "pocket-xglm"))
    settings = PrecisionSettings(
        models=models,
        data=data,
        languages=choose_languages(Backbone.load(models[0], device="cpu"), data, languages),
        precisions=parse_precisions(dtype or ("bfloat16", "int8")),
        store=store,
        sentences=sentences,
        device=device,
    )
    with progress() as say:
        report = bench_precision(settings, say)
    tell(report, precision_tables, out, as_json)


@app.command()
def mixture(
    model: Annotated[
        str, typer.Option(help="Hub id, folder in the hub's layout, or pocket model.")
    ] = "pocket-bloom",
    store: Annotated[Path | None, typer.Option(help="Prompt store. (default: the user's)")] = None,
    task: Annotated[str | None, typer.Option(help="Label set by name. (default: topic)")] = None,
    data: Annotated[
        str, typer.Option(help="Data set on the hub, or folder <code>/test.tsv.")
    ] = "Davlan/sib200",
    languages: Annotated[
        str, typer.Option(help="Codes with commas between them, all, or every.")
    ] = "all",
    words: Annotated[str, typer.Option(help="Words of a text; commas between.")] = "2,3,5",
    thresholds: Annotated[
        str, typer.Option(help="Values of --mixture-threshold to try; commas between.")
    ] = "0.9,1",
    sentences: Annotated[
        int | None, typer.Option(min=2, help="Of each language. (default: all of the test split)")
    ] = None,
    device: WhichDevice = "auto",
    dtype: WhichDtype = "auto",
    threads: Threads = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the interval's samples.")] = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Classify the first words of test sentences with prompts mixed, alone, and language told."""
    lengths = parse_sizes(words, "--words")
    shares = parse_shares(thresholds)
    check_writable(out)

    from isogloss.deploy.bench.mixture import MixtureSettings, bench_mixture
    from isogloss.deploy.bench.report import mixture_tables, progress
    from isogloss.prompts.model.backbone import Backbone
    from isogloss.serving.config import ServingSettings
    from isogloss.training.evaluation.evaluate import choose_languages

    choose_machine(device, dtype, threads)
    backbone = Backbone.load(model, device=device, dtype=dtype)
    settings = MixtureSettings(
        serving=ServingSettings(models=(model,), store=store),
        data=data,
        languages=choose_languages(backbone, data, languages),
        words=lengths,
        thresholds=shares,
        sentences=sentences,
        task=task,
        seed=seed,
    )
    with progress() as say:
        report = bench_mixture(settings, backbone, say)
    tell(report, mixture_tables, out, as_json)
