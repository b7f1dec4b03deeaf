"""CSV and TSV: every cell stays as it is, and columns are added behind.

Lines are read as they come, so that no more than a row is held. Bytes that are not UTF-8 are
written as they were read; only a text made of them cannot be answered. An empty line is no row.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from isogloss.prompts.console.refusals import shown, spelled_like
from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.prompts.files.texts import check_head
from isogloss.serving.files.opened import HEAD_BYTES, MAX_LINE_BYTES, install, not_utf8, opened
from isogloss.serving.files.rows import Added, Row

_LONGEST_CELL = 8 << 20
"""Characters: beyond, a quote was not closed."""
_MARK = "\ufeff"
_WHOLE_FILE = ("unexpected end of data", "field larger than")
"""What the csv module says where the fault is that a quote never closes."""


@dataclass(frozen=True, slots=True)
class _Header:
    names: list[str]
    marked: bool
    end: str


class _Lines:
    """Lines of text as they are handed out, those of the row under way, and how far they go."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.row: list[str] = []
        self.read_bytes = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_LINE_BYTES)
        if not line:
            raise StopIteration
        self.read_bytes += len(line)
        text = line.decode("utf-8", "surrogateescape")
        self.row.append(text)
        return text


class Delimited:
    """One file of cells between commas or tabs."""

    def __init__(self, path: Path, column: str, added: Sequence[str], delimiter: str) -> None:
        self._path = path
        self._delimiter = delimiter
        self.total = os.stat(path).st_size
        self._header = self._read_header()
        self._added = tuple(added)
        self._at = _position(path, column, self._header.names)
        if twice := sorted(set(added).intersection(self._header.names)):
            raise InvalidInput(
                f"{path}: column {', '.join(twice)} is there already, and would be added; give "
                "added columns other names, e.g. with --prefix predicted_"
            )

    def head(self) -> bytes:
        """The first line, with the added columns."""
        mark = codecs.BOM_UTF8 if self._header.marked else b""
        return mark + self._line([*self._header.names, *self._added])

    def rows(self) -> Iterator[Row]:
        """Yield the rows; as `Table`."""
        with opened(self._path) as file:
            lines, before = _Lines(file), 0
            for number, (begun, cells, problem) in enumerate(self._records(lines)):
                if number:  # the header is none
                    place, read = f"row {number} (line {begun})", lines.read_bytes
                    text, said, kept = self._fitted(cells, problem)
                    yield Row(place, text, said, kept, read, read - before)
                before = lines.read_bytes

    def written(self, row: Row, added: Added) -> bytes:
        """A row's line, with what is added."""
        return self._line([*row.kept, *map(_cell, added.values())])

    def finish(self, part: Path, out: Path) -> None:
        """Give the written lines their name."""
        install(part, out)

    def _read_header(self) -> _Header:
        with opened(self._path) as file:
            check_head(file.read(HEAD_BYTES), str(self._path))
            file.seek(0)
            lines = _Lines(file)
            _, names, problem = next(self._records(lines), (1, [], "the file is empty"))
            if problem is not None:
                raise InvalidData(f"{self._path}, line 1: {problem}; begin with the columns' names")
            end = "\r\n" if lines.row and lines.row[-1].endswith("\r\n") else "\n"
        marked = names[0].startswith(_MARK)
        return _Header([names[0].removeprefix(_MARK), *names[1:]], marked, end)

    def _records(self, lines: _Lines) -> Iterator[tuple[int, list[str], str | None]]:
        """Where each row begins, its cells, and what is wrong with it."""
        csv.field_size_limit(_LONGEST_CELL)
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        while True:
            lines.row.clear()
            begun, problem = reader.line_num + 1, None
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                cells, problem = self._leniently(begun, lines.row, str(error))
            if cells:
                yield begun, cells, problem

    def _leniently(self, begun: int, row: Sequence[str], said: str) -> tuple[list[str], str]:
        """The cells of a row that is not as it should be, as well as they can be told."""
        if any(part in said for part in _WHOLE_FILE):
            raise InvalidData(
                f"{self._path}: a quote in the row that begins in line {begun} never closes; "
                "double a quote inside a quoted text and quote a text that begins with one"
            )
        whole = "".join(row).rstrip("\r\n").replace("\r", " ")
        cells = next(csv.reader([whole], delimiter=self._delimiter), [])
        return cells, f"it cannot be read as a row ({said}); quote its texts"

    def _fitted(
        self, cells: list[str], problem: str | None
    ) -> tuple[str, str | None, Sequence[str]]:
        """A row's text, what is wrong with it, and a cell for each column."""
        columns = len(self._header.names)
        if problem is None and len(cells) != columns:
            problem = f"{len(cells)} cells where the header has {columns}; quote its texts"
        kept = [*cells, *[""] * (columns - len(cells))]
        kept[columns - 1 :] = [self._delimiter.join(kept[columns - 1 :])]
        text = kept[self._at]
        return text, problem or not_utf8(text), kept

    def _line(self, cells: Sequence[str]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self._delimiter, lineterminator="\r\n").writerow(cells)
        line = text.getvalue().removesuffix("\r\n") + self._header.end
        return line.encode("utf-8", "surrogateescape")


def _position(path: Path, column: str, names: Sequence[str]) -> int:
    if names.count(column) == 1:
        return names.index(column)
    if column in names:
        raise InvalidInput(f"{path}: column {column} is there twice; keep one")
    like = spelled_like(column, names)
    meant = f"; did you mean {like[0]!r}?" if like else "; name one with --column"
    raise InvalidInput(
        f"--column {column!r}: {path} has the columns {shown(', '.join(names), 200)}{meant}"
    )


def _cell(value: str | float | bool | None) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
