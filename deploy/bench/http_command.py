"""`isogloss bench http`. Heavy imports wait until the command runs."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Literal

import typer

from isogloss.deploy.bench.options import (
    AsJson,
    Seed,
    WhichDevice,
    WhichDtype,
    check_writable,
    parse_sizes,
    tell,
)

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="pocket-bloom, pocket-xglm, bloom-560m, bloom-1b1, xglm-564M, xglm-1.7B (full size, "
        "random weights), or a folder in the hub's layout; repeatable. (default: pocket-bloom, "
        "bloom-560m and xglm-564M)",
    ),
]


def register(bench: typer.Typer) -> None:
    """Add the command to `isogloss bench`."""
    bench.command()(http)


def http(
    model: Models = None,
    concurrency: Annotated[
        str, typer.Option(help="Connections of the closed loop; commas between.")
    ] = "1,8,32,128",
    seconds: Annotated[
        float, typer.Option(min=1, help="Load at each concurrency; slow servers get more.")
    ] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each server takes.")] = 2,
    client: Annotated[
        Literal["wrk", "python"],
        typer.Option(help="What sends the requests; python costs the servers processor time."),
    ] = "wrk",
    prompts: Annotated[int, typer.Option(min=1, help="Different prompts, taking turns.")] = 8,
    prompt_length: Annotated[int, typer.Option(min=1, help="Tokens of a prompt.")] = 10,
    device: WhichDevice = "auto",
    dtype: WhichDtype = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of each server's matrix products. (default: all cores)"),
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write the JSON object here, and a plot beside it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load whole servers over HTTP: ours, plain FastAPI, plain Ray Serve with @serve.batch.

    Full-size models have random weights: nothing is downloaded. Needs up to 8 GB of memory, 3 GB
    of disk, and wrk.
    """
    levels = parse_sizes(concurrency, "--concurrency")  # before anything slow
    check_writable(out)

    import torch

    from isogloss.deploy.bench.http import DEFAULT_MODELS, HttpSettings, bench_http
    from isogloss.deploy.bench.http_report import draw, http_tables
    from isogloss.deploy.bench.report import progress
    from isogloss.prompts.model.checkpoint import choose_device, choose_dtype

    where = choose_device(device)
    settings = HttpSettings(
        models=tuple(dict.fromkeys(model or DEFAULT_MODELS)),
        concurrency=levels,
        seconds=seconds,
        rounds=rounds,
        client=client,
        prompts=prompts,
        prompt_length=prompt_length,
        device=where,
        dtype=str(choose_dtype(dtype, where)).removeprefix("torch."),  # type: ignore[arg-type]
        threads=threads or torch.get_num_threads(),
        seed=seed,
    )
    # An interrupted benchmark takes its servers and folders with it, however it is told.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with progress() as say:
        report = bench_http(settings, say)
    tell(report, http_tables, out, as_json)
    if out is not None:
        draw(report, out.with_suffix(".svg"))
