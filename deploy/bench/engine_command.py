"""`isogloss bench engine` and `bench table`. Heavy imports wait until a command runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from isogloss.deploy.bench.options import (
    AsJson,
    Models,
    Out,
    Seed,
    Threads,
    WhichDevice,
    check_writable,
    choose_models,
    parse_sizes,
    tell,
)
from isogloss.prompts.console import console

if TYPE_CHECKING:
    import torch

Sizes = str | None


class Curve(StrEnum):
    """What a benchmark may vary."""

    BATCH_SIZE = "batch-size"
    RESIDENT_PROMPTS = "resident-prompts"
    PROMPTS_PER_TEXT = "prompts-per-text"
    TEXT_LENGTH = "text-length"


class Precision(StrEnum):
    """Of our linear layers, as torch names it."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


def _sizes_option(help: str) -> Any:
    return typer.Option(help=f"{help}; commas between.", metavar="N,N,...")


def engine(
    model: Models = None,
    curve: Annotated[
        list[Curve] | None, typer.Option(help="Repeatable. (default: all four)")
    ] = None,
    batch_sizes: Annotated[Sizes, _sizes_option("Texts in a batch")] = None,
    residents: Annotated[Sizes, _sizes_option("Prompts in memory")] = None,
    prompts_per_text: Annotated[Sizes, _sizes_option("Prompts on each text")] = None,
    text_lengths: Annotated[Sizes, _sizes_option("Tokens of each text")] = None,
    prompts: Annotated[
        int | None, typer.Option(min=1, help="Different prompts in a mixed batch. (default: 8)")
    ] = None,
    prompt_length: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a prompt. (default: 10)")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Turns at the headline's batch size. (default: 4)")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Repeat quick places for so long. (default: 8)")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer places and turns, one model: some two minutes.")
    ] = False,
    device: WhichDevice = "auto",
    dtype: Annotated[
        list[Precision] | None,
        typer.Option(
            help="Of ours, repeatable; the peers run in the first wider than a byte. (default: "
            "float32, int8 and, where it is faster than float32, bfloat16; on GPUs bfloat16)"
        ),
    ] = None,
    threads: Threads = None,
    seed: Seed = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Score texts of SIB-200's lengths under mixed prompts: ours, transformers, PEFT.

    Full-size models with random weights: nothing is downloaded. Needs 7 GB of memory,
    xglm-1.7B 22 GB.
    With --out also a figure of each curve is written beside the JSON object.
    """
    asked: dict[str, Any] = {
        "batch_sizes": _sizes(batch_sizes, "--batch-sizes"),
        "residents": _sizes(residents, "--residents"),
        "prompts_per_text": _sizes(prompts_per_text, "--prompts-per-text"),
        "text_lengths": _sizes(text_lengths, "--text-lengths"),
        "curves": curve and tuple(dict.fromkeys(name.value.replace("-", "_") for name in curve)),
        "models": model and choose_models(model),
        "prompts": prompts,
        "prompt_length": prompt_length,
        "rounds": rounds,
        "seconds": seconds,
    }
    check_writable(out)  # before anything slow: mistakes show at once

    from isogloss.deploy.bench.engine import bench_engine
    from isogloss.deploy.bench.engine_plots import save_engine_plots
    from isogloss.deploy.bench.engine_settings import QUICK, EngineSettings
    from isogloss.deploy.bench.engine_tables import engine_tables
    from isogloss.deploy.bench.report import progress

    where, dtypes = _choose_precisions(device, dtype, threads)
    chosen = {name: value for name, value in asked.items() if value is not None}
    settings = EngineSettings(
        **{**(QUICK if quick else {}), **chosen}, device=where, dtypes=dtypes, seed=seed
    )
    with progress() as say:
        report = bench_engine(settings, say)
    if out is not None:
        save_engine_plots(report, out)
    tell(report, engine_tables, out, as_json)


def table(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="What --out of bench engine wrote.")
    ],
    into: Annotated[
        Path | None,
        typer.Option(help="Markdown file in which to replace the tables of these files."),
    ] = None,
) -> None:
    """Make Markdown tables of results of `bench engine`.

    In a Markdown file a table stands between `<!-- bench table FILE -->` and `<!-- end -->`, the
    path as seen from that file's folder.
    """
    from isogloss.deploy.bench.engine_markdown import insert_table, markdown_table, read_report

    for file in files:
        found = markdown_table(read_report(file))
        if into is None:
            console.say(found)
        else:
            insert_table(into, file, found)


def _sizes(text: str | None, option: str) -> tuple[int, ...] | None:
    return None if text is None else parse_sizes(text, option)


def _choose_precisions(
    device: Literal["auto", "cpu", "cuda"], asked: list[Precision] | None, threads: int | None
) -> tuple[torch.device, tuple[torch.dtype, ...]]:
    import torch

    from isogloss.deploy.bench.number_formats import default_precisions
    from isogloss.prompts.model.checkpoint import Dtype, choose_device, choose_dtype

    if threads is not None:
        torch.set_num_threads(threads)
    where = choose_device(device)
    if not asked:
        return where, default_precisions(where)
    names: list[Dtype] = [name.value for name in dict.fromkeys(asked)]
    return where, tuple(choose_dtype(name, where) for name in names)
