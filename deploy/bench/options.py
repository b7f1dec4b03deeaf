"""What the commands of `isogloss bench` and the long runs share: options, progress, reports."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isogloss.prompts.cli.settings import Read
from isogloss.prompts.console.console import print_json, print_table
from isogloss.prompts.errors import InvalidInput
from isogloss.training.files import write_atomically

if TYPE_CHECKING:
    from isogloss.prompts.console.plain_table import PlainTable

Say = Callable[[str], None]
Report = Mapping[str, Any]
Out = Annotated[Path | None, typer.Option(help="Also write the JSON object here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def finish(
    measure: Callable[[Any, Say], dict[str, Any]],
    settings: Any,
    tables: Callable[[Report], list[PlainTable]],
    out: Path | None,
    as_json: bool,
    draw: Callable[[Report, Path], object] | None = None,
) -> None:
    """Run a benchmark; write and show what was measured.

    Args:
        measure: the benchmark.
        settings: its settings.
        tables: what people see.
        out: where to write the JSON object; figures go beside it.
        as_json: whether to print it in place of the tables.
        draw: writes the figures, which fail before the object is written.
    """
    check_writable(out)
    with progress() as say:
        report = measure(settings, say)
    if out is not None:
        if draw is not None:
            draw(report, out)
        write_json(report, out)
    if as_json:
        print_json(report)
        return
    for table in tables(report):
        print_table(table)


@contextmanager
def progress() -> Iterator[Say]:
    """Show on stderr what is going on: one changing line in a terminal, else a line each time.

    SIGTERM then ends a run as Ctrl-C does: with its servers and folders.
    """
    from rich.console import Console

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda line: console.print(line, highlight=False, soft_wrap=True)
        return
    with console.status("starting ...") as status:
        yield status.update


def write_json(report: Report, out: Path) -> None:
    """Write a report in one step.

    Raises:
        InvalidInput: it cannot be written.
    """
    write_atomically(out, (json.dumps(report, indent=2) + "\n").encode())


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


def parse_sizes(text: str, option: str) -> tuple[int, ...]:
    """Sizes with commas between them, each once, ascending.

    Raises:
        InvalidInput: not whole numbers from 1.

    >>> parse_sizes("8,1,8", "--batch-sizes")
    (1, 8)
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise InvalidInput(f"{option} {text!r}: give whole numbers from 1, as in 1,8,32")
    return tuple(sorted({int(part) for part in parts}))


def parse_shares(text: str, option: str) -> tuple[float, ...]:
    """Thresholds with commas between them, each once, ascending.

    Raises:
        InvalidInput: not numbers above 0 and up to 1.

    >>> parse_shares("1,0.9", "--thresholds")
    (0.9, 1.0)
    """
    try:
        shares = sorted({float(part) for part in text.split(",")})
    except ValueError:
        shares = []
    if not shares or not all(0 < share <= 1 for share in shares):
        raise InvalidInput(
            f"{option} {text!r}: give numbers above 0 and up to 1, as in 0.9,1 (0, one prompt a "
            "text, is always measured)"
        )
    return tuple(shares)


def each_once(names: Sequence[str], option: str) -> tuple[str, ...]:
    """Values of an option that may be repeated, as fields name them: in order, with underscores."""
    return tuple(
        dict.fromkeys(
            name.value.replace("-", "_") if isinstance(name, StrEnum) else name for name in names
        )
    )


SIZES = Read(str, parse_sizes)
SHARES = Read(str, parse_shares)
REPEATED = Read(list[str], each_once)
