"""What commands about texts share: where texts come from, and how they and tables are shown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Annotated

import typer

from isogloss.prompts.errors import InvalidData, InvalidInput, MalformedInput, TooLarge
from isogloss.prompts.files.texts import lines_of, without_ends

Texts = Annotated[
    list[str], typer.Argument(help="Texts; - reads them from standard input, one a line.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]

MAX_STDIN_BYTES = 256 * 2**20
MAX_STDIN_LINES = 1_000_000

_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class GivenText:
    """A text, and how a person finds it: a line of standard input, or the n-th argument."""

    text: str
    number: int
    is_line: bool = False

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"line {self.number} of standard input" if self.is_line else f"text {self.number}"


def read_texts(texts: Sequence[str], stdin: IO[bytes] | None) -> list[GivenText]:
    """Return the texts, with the lines of standard input in the place of a `-`.

    Blank lines at the end are no texts; others are, so that the n-th line is the n-th text.

    Args:
        texts: the arguments.
        stdin: the bytes of standard input; None where it is closed.

    Raises:
        MalformedInput: standard input is no text in UTF-8, or an argument is not.
        TooLarge: there is more on standard input than fits the memory as texts.
        InvalidInput: there is no text at all, or standard input is closed or asked for twice.
    """
    if texts.count("-") > 1:
        raise InvalidInput("- is given twice, and standard input can be read once; give it once")
    given: list[GivenText] = []
    for number, text in enumerate(texts, start=1):
        given += _read_lines(stdin) if text == "-" else [_argument(text, number)]
    if not given:
        raise InvalidInput("standard input is empty: give at least one line of text")
    return given


def _argument(text: str, number: int) -> GivenText:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedInput(
            f"text {number} is not UTF-8 (at character {error.start + 1}); convert it first, e.g. "
            "with iconv"
        ) from None
    return GivenText(text, number)


def _read_lines(stdin: IO[bytes] | None) -> list[GivenText]:
    if stdin is None:
        raise InvalidInput("standard input is closed: give it texts, one a line")
    data = stdin.read(MAX_STDIN_BYTES + 1)
    if len(data) > MAX_STDIN_BYTES:
        raise TooLarge(
            f"standard input has more than {MAX_STDIN_BYTES >> 20} MiB; give it in parts, e.g. of "
            "split -l 100000"
        )
    if max(data.count(b"\n"), data.count(b"\r")) > MAX_STDIN_LINES:
        raise TooLarge(
            f"standard input has more than {MAX_STDIN_LINES:,} lines; give it in parts, e.g. of "
            "split -l 100000"
        )
    try:
        lines = list(without_ends(lines_of(io.BytesIO(data), "standard input")))
    except InvalidData as error:
        raise MalformedInput(str(error)) from None
    while lines and not lines[-1].strip():
        lines.pop()
    return [GivenText(line, number, is_line=True) for number, line in enumerate(lines, start=1)]


def shorten(text: str) -> str:
    """One line of a text, for a table."""
    line = " ".join(text[: 100 * _SHOWN_CHARS].split())
    return line if len(line) <= _SHOWN_CHARS else f"{line[: _SHOWN_CHARS - 1]}…"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under their columns' names."""
    from isogloss.prompts.console import console
    from isogloss.prompts.console.plain_table import PlainTable

    table = PlainTable(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print_table(table)
