"""`isogloss bench`. Heavy imports wait until a command runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from prompts.console import ReportingGroup, print_json, print_table
from prompts.errors import InvalidInput

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


@app.command()
def engine(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="bloom-560m, bloom-1b1, xglm-564M, xglm-1.7B, or all; repeatable. "
            "(default: bloom-560m and xglm-564M)"
        ),
    ] = None,
    batch_sizes: Annotated[str, typer.Option(help="Texts in a batch; commas between.")] = "1,8,32",
    prompts: Annotated[int, typer.Option(min=1, help="Different prompts in a batch.")] = 8,
    prompt_length: Annotated[int, typer.Option(min=1, help="Tokens of a prompt.")] = 10,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds of each batch size, at least.")] = 3,
    seconds: Annotated[
        float, typer.Option(min=0, help="Repeat small batches until this much time has passed.")
    ] = 15.0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: CUDA where there is one.")
    ] = "auto",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Precision; auto: float32 on CPU, bfloat16 on GPUs."),
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of matrix products. (default: every core)")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, texts and prompts.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON object here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score texts of SIB-200's lengths under mixed prompts: ours, transformers, PEFT.

    Full-size models with random weights: nothing is downloaded. Needs up to 10 GB of memory.
    """
    sizes = parse_sizes(batch_sizes)  # before anything slow: mistakes show at once
    _check_writable(out)

    import torch

    from deploy.bench.engine import DEFAULT_MODELS, EngineSettings, bench_engine
    from deploy.bench.report import engine_tables, progress
    from prompts.full_size import FULL_SIZE
    from prompts.loading import choose_device, choose_dtype

    if threads is not None:
        torch.set_num_threads(threads)
    where = choose_device(device)
    named = tuple(dict.fromkeys(model or DEFAULT_MODELS))
    settings = EngineSettings(
        models=tuple(FULL_SIZE) if "all" in named else named,
        batch_sizes=sizes,
        prompts=prompts,
        prompt_length=prompt_length,
        repeats=repeats,
        seconds=seconds,
        device=where,
        dtype=choose_dtype(dtype, where),
        seed=seed,
    )
    with progress() as say:
        report = bench_engine(settings, say)
    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if as_json:
        print_json(report)
        return
    for table in engine_tables(report):
        print_table(table)


def parse_sizes(text: str) -> tuple[int, ...]:
    """Batch sizes with commas between them, each once, ascending.

    Raises:
        InvalidInput: not whole numbers from 1.

    >>> parse_sizes("8,1,8")
    (1, 8)
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise InvalidInput(f"--batch-sizes {text!r}: give whole numbers from 1, as in 1,8,32")
    return tuple(sorted({int(part) for part in parts}))


def _check_writable(out: Path | None) -> None:
    """Say so before the measurement rather than after it.

    Raises:
        InvalidInput: the file could not be written.
    """
    if out is None:
        return
    folder = out.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or out.is_dir():
        raise InvalidInput(f"--out {str(out)!r}: name a file in a folder that you may write to")
