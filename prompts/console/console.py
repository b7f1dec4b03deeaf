"""How commands speak: answers on stdout, as text or one JSON object; errors, one line, on stderr.

Exit codes: 0 done; 2 the input cannot be used (it was malformed, or names what is not there);
1 anything else, such as a disk that is full or a reader that has gone away.

Whatever is shown may come from a file or a server of somebody else: `refusals.printable` makes it
harmless to a terminal, and everything printed here, and every cell of a
`prompts.console.plain_table`, goes through it. What the terminal's encoding lacks is shown as a
question mark; JSON has it as an escape.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup

from isogloss.prompts.console.extras import extra_missing
from isogloss.prompts.console.refusals import HARMFUL, printable
from isogloss.prompts.errors import InvalidInput, IsoglossError, NotFound, TooLarge
from isogloss.prompts.files.given_paths import expanded

if TYPE_CHECKING:
    from rich.console import RenderableType


class ReportingGroup(TyperGroup):
    """A typer app (`cls=ReportingGroup`) whose commands may raise IsoglossError."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for command in self.commands.values():
            if command.callback is not None:
                command.callback = _prepared(command.callback)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line on streams that take any text."""
        prepare_streams()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an IsoglossError becomes one line and an exit code."""
        with reporting_errors():
            return super().invoke(ctx)


def _prepared(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command have its paths with home folders in the place of `~`, and say what it lacks."""

    @functools.wraps(callback)
    def call(*args: Any, **given: Any) -> Any:
        try:
            return callback(*args, **{name: _expanded(value) for name, value in given.items()})
        except ModuleNotFoundError as error:
            raise extra_missing(error, callback.__module__) from error

    return call


def _expanded(value: Any) -> Any:
    if isinstance(value, Path):
        return expanded(value)
    return [_expanded(each) for each in value] if isinstance(value, list) else value


def prepare_streams() -> None:
    """Let stdout and stderr show question marks for what their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn an IsoglossError into one line on stderr and an exit code.

    Raises:
        SystemExit: with the exit code.
    """
    try:
        yield
    except IsoglossError as error:
        say(f"error: {' '.join(str(error).split())}", err=True)
        raise SystemExit(exit_code(error)) from error


def exit_code(error: IsoglossError) -> int:
    """2 where the person's input is at fault, 1 where something else is."""
    return 2 if isinstance(error, InvalidInput | NotFound | TooLarge) else 1


def say(line: str, *, err: bool = False) -> None:
    """Print text for a person, to stdout or stderr."""
    if err:
        print(printable(line), file=sys.stderr)
        return
    with _to_stdout():
        print(printable(line))


def print_json(answer: Mapping[str, Any], indent: int | None = 2) -> None:
    """Print one JSON object, whole in every encoding."""
    text = json.dumps(answer, ensure_ascii=False, indent=indent)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(answer, indent=indent)
    # json escapes the first 32 itself: what else is harmful stands in strings.
    with _to_stdout():
        print(HARMFUL.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def report(
    answer: Mapping[str, Any], as_json: bool, told: str | Callable[[Any], RenderableType]
) -> None:
    """Print an answer: one JSON object, or for a person a sentence or the table made of it."""
    if as_json:
        print_json(answer)
    elif isinstance(told, str):
        say(told)
    else:
        print_table(told(answer))


def print_table(table: RenderableType) -> None:
    """Print a table; away from a terminal it is as wide as it needs to be, for other programs."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=1000)
    with _to_stdout():
        console.print(table)


@contextlib.contextmanager
def _to_stdout() -> Iterator[None]:
    """Print, and have it written, or say why it cannot be.

    Raises:
        IsoglossError: a full disk, for one. A reader that has gone away is left to typer.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        with open(os.devnull, "wb") as nowhere:  # else the interpreter tries again as it ends
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise IsoglossError(
            f"standard output cannot be written ({error.strerror or error})"
        ) from error
