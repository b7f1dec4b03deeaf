"""From settings to options: what the commands of `isogloss bench` and the long runs share.

A command takes its settings as one frozen dataclass. A field annotated with a `typer.Option` is an
option: its name, type, default, limits and help are written once, where the settings are. A field
that holds settings itself contributes its own options.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import Field, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.models import OptionInfo

from isogloss.prompts.console.console import print_json, print_table
from isogloss.prompts.errors import InvalidInput
from isogloss.training.files import write_atomically

if TYPE_CHECKING:
    from isogloss.prompts.console.plain_table import PlainTable

Say = Callable[[str], None]
Report = Mapping[str, Any]
Out = Annotated[Path | None, typer.Option(help="Also write the JSON object here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@dataclass(frozen=True)
class Read:
    """Beside an option: what typer reads where that is not the field's type."""

    typed: Any
    convert: Callable[[Any, str], Any]
    """From what typer read, and the option's name, to the field's value."""


def as_command(command: Callable[..., None]) -> Callable[..., None]:
    """Let typer call a function whose first parameter is a dataclass of settings."""
    settings, *others = inspect.signature(command, eval_str=True).parameters.values()

    @functools.wraps(command)
    def called(**given: Any) -> None:
        made = _made(settings.annotation, given)
        command(made, **given)

    parameters = [*_parameters(settings.annotation()), *others]
    keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    called.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    return called


def check_limits(settings: Any) -> None:
    """Hold settings to the limits of their options, wherever they were made.

    Raises:
        InvalidInput: naming the first field that is below its limit, or empty.
    """
    for field, annotation in _annotated(type(settings)):
        value, option = getattr(settings, field.name), _option(annotation)
        if option is None or value is None:
            continue
        if option.min is not None:
            least = min(value, default=0) if isinstance(value, tuple) else value
            if least < option.min:
                raise InvalidInput(f"{field.name}: must be at least {option.min}, not {least}")
        elif value == ():
            raise InvalidInput(f"{field.name}: name at least one")


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


def _annotated(settings: type) -> list[tuple[Field[Any], Any]]:
    hints = get_type_hints(settings, include_extras=True)
    return [(field, hints[field.name]) for field in fields(settings)]


def _metadata(annotation: Any, kind: type) -> Any:
    return next((m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, kind)), None)


def _option(annotation: Any) -> OptionInfo | None:
    option: OptionInfo | None = _metadata(annotation, OptionInfo)
    return option


def _parameters(settings: Any) -> Iterator[inspect.Parameter]:
    """One for each option, as typer reads it; defaults are those of these settings."""
    for field, annotation in _annotated(type(settings)):
        default = getattr(settings, field.name)
        if is_dataclass(annotation):
            yield from _parameters(default)
        elif option := _option(annotation):
            if read := _metadata(annotation, Read):
                option = copy.copy(option)
                option.min = None  # of each value: `check_limits` sees to it
                if read.typed is str:
                    option.show_default = ",".join(map(str, default))
                annotation, default = Annotated[read.typed | None, option], None
            yield inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )


def _made(settings: type, given: dict[str, Any]) -> Any:
    """Settings of what was given; takes out of it what they need."""
    values = {}
    for field, annotation in _annotated(settings):
        if is_dataclass(annotation):
            values[field.name] = _made(annotation, given)  # type: ignore[arg-type]
        elif option := _option(annotation):
            value, read = given.pop(field.name), _metadata(annotation, Read)
            if read is None:
                values[field.name] = value
            elif value not in (None, []):
                name = option.default  # where typer keeps a name, if one is given
                flag = name if isinstance(name, str) else f"--{field.name.replace('_', '-')}"
                values[field.name] = read.convert(value, flag)
    return settings(**values)
