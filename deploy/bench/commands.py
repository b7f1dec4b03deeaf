"""`isogloss bench`. Heavy imports wait until a command runs; options are fields of the settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from isogloss.deploy.bench.engine_settings import QUICK, EngineSettings
from isogloss.deploy.bench.options import AsJson, Out, finish
from isogloss.deploy.bench.scale_settings import ScaleSettings
from isogloss.deploy.bench.settings import (
    DialectSettings,
    HttpSettings,
    MixtureSettings,
    PrecisionSettings,
    TrainSettings,
)
from isogloss.deploy.load.settings import SwapSettings
from isogloss.prompts.cli.settings import as_command
from isogloss.prompts.console import console

app = typer.Typer(
    cls=console.ReportingGroup,
    no_args_is_help=True,
    help="Measure against named peers, on the same weights and texts, in the same run.",
)


def register(isogloss: typer.Typer) -> None:
    """Add the commands of this package to the command line."""
    isogloss.add_typer(app, name="bench")


@app.command()
@as_command
def engine(
    settings: EngineSettings,
    context: typer.Context,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer points and rounds, one model: two minutes.")
    ] = False,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Score texts of SIB-200's lengths under mixed prompts: ours, transformers, PEFT.

    Full-size models with random weights: nothing is downloaded. Needs 7 GB of memory,
    xglm-1.7B 22 GB.
    With --out also a figure is written beside the JSON object.
    """
    from isogloss.deploy.bench.engine import bench_engine
    from isogloss.deploy.bench.figures import save_engine_figure
    from isogloss.deploy.bench.tables import engine_tables

    if quick:
        sources = {name: context.get_parameter_source(name) for name in QUICK}
        given = {
            name for name, source in sources.items() if source and source.name == "COMMANDLINE"
        }
        changes = {name: value for name, value in QUICK.items() if name not in given}
        settings = replace(settings, **changes)
    finish(bench_engine, settings, engine_tables, out, as_json, save_engine_figure)


@app.command()
def table(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What --out wrote.")],
) -> None:
    """Make Markdown tables of results of `bench engine` and `bench scale`."""
    from isogloss.deploy.bench.markdown import markdown_table, read_report

    for file in files:
        console.say(markdown_table(read_report(file)))


@app.command()
@as_command
def http(settings: HttpSettings, out: Out = None, as_json: AsJson = False) -> None:
    """Load whole servers over HTTP: ours, plain FastAPI, plain Ray Serve with @serve.batch.

    Full-size models have random weights: nothing is downloaded. Needs up to 8 GB of memory, 3 GB
    of disk, and wrk.
    """
    from isogloss.deploy.bench.http import bench_http
    from isogloss.deploy.bench.tables import http_tables

    finish(bench_http, settings, http_tables, out, as_json)


@app.command()
@as_command
def dialects(settings: DialectSettings, out: Out = None, as_json: AsJson = False) -> None:
    """Ask one server in other servers' ways and in our own, by turns: what each way costs.

    Needs wrk.
    """
    from isogloss.deploy.bench.dialects import bench_dialects, dialect_tables

    finish(bench_dialects, settings, dialect_tables, out, as_json)


@app.command()
@as_command
def train(settings: TrainSettings, out: Out = None, as_json: AsJson = False) -> None:
    """Train prompts with the paper's settings: transformers, PEFT, ours alone, ours together.

    Full-size models with random weights: nothing is downloaded. Needs up to 16 GB of memory.
    """
    from isogloss.deploy.bench.tables import train_tables
    from isogloss.deploy.bench.train import bench_train

    finish(bench_train, settings, train_tables, out, as_json)


@app.command()
@as_command
def scale(settings: ScaleSettings, out: Out = None, as_json: AsJson = False) -> None:
    """Simulate replicas: how many a load wants, what they cost, and how long answers take.

    By cost tables measured here or kept by replicas elsewhere. --check also loads a real server at
    three rates and compares. Full-size models have random weights: nothing is downloaded.
    """
    from isogloss.deploy.bench.scale import bench_scale
    from isogloss.deploy.bench.scale_tables import scale_tables

    finish(bench_scale, settings, scale_tables, out, as_json)


@app.command()
@as_command
def swap(settings: SwapSettings, out: Out = None, as_json: AsJson = False) -> None:
    """Publish prompts in turn under load: what clients notice of it, and how long it takes.

    Every answer's scores are compared with those of its digest. Needs /proc (Linux).
    """
    from isogloss.deploy.bench.swap import bench_swap
    from isogloss.deploy.bench.tables import swap_tables

    finish(bench_swap, settings, swap_tables, out, as_json)


@app.command()
@as_command
def precision(settings: PrecisionSettings, out: Out = None, as_json: AsJson = False) -> None:
    """Classify test sentences in faster precisions, and count labels that are not float32's."""
    from isogloss.deploy.bench.accuracy import bench_precision, precision_tables

    finish(bench_precision, settings, precision_tables, out, as_json)


@app.command()
@as_command
def mixture(settings: MixtureSettings, out: Out = None, as_json: AsJson = False) -> None:
    """Classify the first words of test sentences with prompts mixed, alone, and language told."""
    from isogloss.deploy.bench.accuracy import bench_mixture, mixture_tables

    finish(bench_mixture, settings, mixture_tables, out, as_json)
