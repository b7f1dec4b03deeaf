"""Tables of text: rich's, with strings that are text and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from rich.table import Table
from rich.text import Text

from isogloss.prompts.console.refusals import printable

Row = TypeVar("Row")


class PlainTable(Table):
    """A table whose strings hold no markup and nothing that acts on a terminal."""

    def __init__(
        self, *headers: str, title: str | None = None, caption: str | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.title = None if title is None else plain(title, "table.title")
        self.caption = None if caption is None else plain(caption, "table.caption")
        for header in headers:
            self.add_column(header)

    def add_column(self, header: Any = "", *args: Any, **options: Any) -> None:
        """Add a column; its name is text."""
        super().add_column(plain(header), *args, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row; its cells are text."""
        super().add_row(*map(plain, cells), **options)


def table_of(
    rows: Iterable[Row], columns: Mapping[str, Callable[[Row], str]], title: str | None = None
) -> PlainTable:
    """A table of rows: each column's heading, and what makes its cell of a row."""
    table = PlainTable(*columns, title=title)
    for row in rows:
        table.add_row(*(cell(row) for cell in columns.values()))
    return table


def plain(cell: Any, style: str = "") -> Any:
    """Return a string as text without markup or harm; anything else as it is."""
    if isinstance(cell, str):
        return Text(printable(cell), style)
    return cell
