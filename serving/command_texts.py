"""What commands about texts share: where texts come from, and how they and tables are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from prompts.errors import InvalidInput, MalformedInput

Texts = Annotated[
    list[str], typer.Argument(help="Texts; - reads them from standard input, one a line.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]

_SHOWN_CHARS = 60


def read_texts(texts: Sequence[str], stdin: Any) -> list[str]:
    """Return the texts, with the lines of standard input in the place of a `-`.

    Raises:
        MalformedInput: a line is not UTF-8.
        InvalidInput: there is no text at all.
    """
    lines: list[str] = []
    for text in texts:
        if text != "-":
            lines.append(text)
            continue
        for number, line in enumerate(stdin.read().splitlines(), start=1):
            try:
                lines.append(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise MalformedInput(
                    f"line {number} of standard input is not UTF-8 ({error.reason} at byte "
                    f"{error.start}); convert it first, e.g. with iconv"
                ) from error
    if not lines:
        raise InvalidInput("standard input is empty: give at least one line of text")
    return lines


def shorten(text: str) -> str:
    """One line of a text, for a table."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARS else f"{line[: _SHOWN_CHARS - 1]}…"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under their columns' names."""
    from prompts import console
    from prompts.plain_table import PlainTable

    table = PlainTable(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print_table(table)
