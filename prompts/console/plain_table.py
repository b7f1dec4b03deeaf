"""Tables of text: rich's, with strings that are text and nothing else."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from isogloss.prompts.console.refusals import printable


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


def plain(cell: Any, style: str = "") -> Any:
    """Return a string as text without markup or harm; anything else as it is."""
    if isinstance(cell, str):
        return Text(printable(cell), style)
    return cell
