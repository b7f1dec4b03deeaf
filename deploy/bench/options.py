"""What the commands of `isogloss bench` share: options, and the checks before anything slow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from isogloss.prompts.console.console import print_json, print_table
from isogloss.prompts.errors import InvalidInput
from isogloss.training.files import write_atomically

if TYPE_CHECKING:
    import torch

    from isogloss.prompts.console.plain_table import PlainTable

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="bloom-560m, bloom-1b1, xglm-564M, xglm-1.7B, or all; repeatable. "
        "(default: bloom-560m and xglm-564M)",
    ),
]
WhichDevice = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="auto: CUDA where there is one.")
]
WhichDtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option("--dtype", help="Precision; auto: float32 on CPU, bfloat16 on GPUs."),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of matrix products. (default: every core)")
]
Seed = Annotated[int, typer.Option(min=0, help="Of weights, texts and prompts.")]
Out = Annotated[Path | None, typer.Option(help="Also write the JSON object here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def choose_machine(
    device: Literal["auto", "cpu", "cuda"],
    dtype: Literal["auto", "float32", "bfloat16", "float16"],
    threads: int | None,
) -> tuple[torch.device, torch.dtype]:
    """Where and in which precision to measure, with so many threads.

    Raises:
        InvalidInput: CUDA was asked for and there is none.
    """
    import torch

    from isogloss.prompts.model.checkpoint import choose_device, choose_dtype

    if threads is not None:
        torch.set_num_threads(threads)
    where = choose_device(device)
    return where, choose_dtype(dtype, where)


def choose_models(asked: Sequence[str] | None) -> tuple[str, ...]:
    """Names of full-size models, each once; `all` stands for every one."""
    from isogloss.deploy.bench.contest import DEFAULT_MODELS
    from isogloss.prompts.model.full_size import FULL_SIZE

    named = tuple(dict.fromkeys(asked or DEFAULT_MODELS))
    return tuple(FULL_SIZE) if "all" in named else named


def tell(
    report: Mapping[str, Any],
    tables: Callable[[Mapping[str, Any]], list[PlainTable]],
    out: Path | None,
    as_json: bool,
) -> None:
    """Write and print what was measured."""
    if out is not None:
        write_atomically(out, (json.dumps(report, indent=2) + "\n").encode())
    if as_json:
        print_json(report)
        return
    for table in tables(report):
        print_table(table)


def parse_sizes(text: str, option: str = "--batch-sizes") -> tuple[int, ...]:
    """Sizes with commas between them, each once, ascending.

    Raises:
        InvalidInput: not whole numbers from 1.

    >>> parse_sizes("8,1,8")
    (1, 8)
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise InvalidInput(f"{option} {text!r}: give whole numbers from 1, as in 1,8,32")
    return tuple(sorted({int(part) for part in parts}))


def parse_shares(text: str) -> tuple[float, ...]:
    """Thresholds with commas between them, each once, ascending.

    Raises:
        InvalidInput: not numbers above 0 and up to 1.

    >>> parse_shares("1,0.9")
    (0.9, 1.0)
    """
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or not all(0 < share <= 1 for share in found):
        raise InvalidInput(
            f"--thresholds {text!r}: give numbers above 0 and up to 1, as in 0.9,1 (0, one prompt "
            "a text, is always measured)"
        )
    return tuple(found)


def check_writable(out: Path | None) -> None:
    """Say so before the measurement rather than after it.

    Raises:
        InvalidInput: the file could not be written.
    """
    if out is None:
        return
    folder = out.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK) or out.is_dir():
        raise InvalidInput(f"--out {str(out)!r}: name a file in a folder that you may write to")
