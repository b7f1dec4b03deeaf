"""`isogloss bench swap`. Heavy imports wait until the command runs."""

from __future__ import annotations

import signal
from typing import Annotated, Literal

import typer

from isogloss.deploy.bench.options import AsJson, Out, check_writable, tell


def register(bench: typer.Typer) -> None:
    """Add the command to `isogloss bench`."""
    bench.command()(swap)


def swap(
    model: Annotated[
        str, typer.Option(help="A pocket model, whose shipped prompts take turns.")
    ] = "pocket-bloom",
    swaps: Annotated[int, typer.Option(min=1, help="Publishes in all.")] = 1000,
    clients: Annotated[int, typer.Option(min=1, help="That ask all the time.")] = 32,
    replicas: Annotated[int, typer.Option(min=1, help="Of the model.")] = 2,
    rounds: Annotated[
        int, typer.Option(min=1, help="Phases with swaps, and as many without, taking turns.")
    ] = 5,
    every_s: Annotated[
        float, typer.Option(min=0, help="Between publishes; 0: one after the other.")
    ] = 0.25,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "int8"],
        typer.Option(help="As of isogloss serve."),
    ] = "auto",
    haproxy: Annotated[
        bool | None,
        typer.Option(help="Take requests in through HAProxy. (default: where it is installed)"),
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Publish prompts in turn under load: what clients notice of it, and how long it takes.

    Every answer's scores are compared with those of its digest. Needs /proc (Linux).
    """
    check_writable(out)

    from isogloss.deploy.bench.report import progress
    from isogloss.deploy.bench.swap import SwapSettings, bench_swap, swap_tables
    from isogloss.deploy.load.server import ServerSettings

    server = ServerSettings(model, dtype, replicas, haproxy)
    settings = SwapSettings(server, swaps, clients, rounds, every_s)
    # An interrupted benchmark takes its server and folders with it, however it is told.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with progress() as say:
        report = bench_swap(settings, say)
    tell(report, swap_tables, out, as_json)
