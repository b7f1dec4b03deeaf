"""Tables as people's tools write them: the one reader of CSV and TSV files, and the one writer.

The first line that is not blank names the columns; blanks around a name and its case do not
count. Cells are quoted as the csv module (and pandas, and spreadsheets) do by default. Blank rows
are passed over. Whatever else is unexpected is refused with file, line and remedy. What we write is
CSV with a header and LF ends.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.files.texts import read_lines

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LONGEST_CELL = 2**31 - 1  # for the csv module; lines have a limit of their own
_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}


@dataclass(frozen=True, slots=True)
class Layout:
    """What a table has to be."""

    columns: tuple[str, ...]
    """Must be there, in any order; others may be."""
    delimiter: str = "\t"
    filled: bool = True
    """Whether none of `columns` may be blank."""
    may_be_empty: tuple[str, ...] = ()
    """Of them, those that may all the same."""
    prefixes: tuple[str, ...] = ()
    """How further columns' names may begin whose rest is taken as it stands."""
    missing: str = "check the path"
    """The remedy where there is no file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its cells by column, and the line of the file where it begins."""

    where: str
    line: int
    cells: dict[str, str]


def read_table(path: Path, layout: Layout, lines: Iterable[str] | None = None) -> Iterator[Row]:
    """Yield the rows of a table.

    Args:
        path: of the file.
        layout: what it has to be.
        lines: the file's, where it is open already.

    Raises:
        InvalidData: no such file, no text, no header, or a row that cannot be read.
    """
    header: list[str] | None = None
    lines = read_lines(path, missing=layout.missing) if lines is None else lines
    for line, cells in _records(path, lines, layout):
        where = f"{path}, line {line}"
        if header is None:
            header = _header(where, cells, layout)
            continue
        _check(where, header, cells, layout)
        row = Row(where, line, dict(zip(header, cells, strict=True)))
        if layout.filled:
            _check_filled(row, [each for each in layout.columns if each not in layout.may_be_empty])
        yield row


def table_bytes(
    columns: Iterable[object], rows: Iterable[Iterable[object]], numbers: str = ""
) -> bytes:
    """Return a table as the content of a CSV file.

    Args:
        columns: their names.
        rows: a cell for each column; None is written as an empty cell.
        numbers: the format of floats, such as ".6g"; by default all of their digits.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(
        # Zero has no sign in a table.
        [format(cell + 0.0, numbers) if isinstance(cell, float) else cell for cell in row]
        for row in rows
    )
    return text.getvalue().encode()


def record_bytes(records: Sequence[DataclassInstance], numbers: str = ".6g") -> bytes:
    """Return records of one class, at least one, as `table_bytes` does: a column a field."""
    columns = (field.name for field in fields(records[0]))
    return table_bytes(columns, map(astuple, records), numbers)


def _check_filled(row: Row, columns: Sequence[str]) -> None:
    if empty := [name for name in columns if not row.cells[name].strip()]:
        raise InvalidData(
            f"{row.where}: column {', '.join(empty)} is empty; fill or delete the row"
        )


class _Remembered:
    """Lines as they are handed out, and those of the record under way."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.record.append(line)
        return line


def _records(path: Path, given: Iterable[str], layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the line where it begins."""
    csv.field_size_limit(_LONGEST_CELL)
    lines = _Remembered(given)
    # strict: an unclosed quote would otherwise swallow the rest of the file into one cell.
    reader = csv.reader(lines, delimiter=layout.delimiter, strict=True)
    begun = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield begun, cells
            lines.record.clear()
            begun = reader.line_num + 1
    except csv.Error as error:
        said = _complaint(begun, "".join(lines.record), reader.line_num, layout, str(error))
        raise InvalidData(f"{path}, line {said}") from None


def _complaint(begun: int, record: str, last: int, layout: Layout, said: str) -> str:
    """The line that the csv module complains of, what is wrong there, and the remedy."""
    if begun == 1 and (other := _other_delimiter(record.strip(), layout)):
        return f"1: {other}"
    opened = begun + _opening_quote(record, layout.delimiter)
    double = "double a quote inside a quoted text and quote a text that begins with one"
    if "end of data" in said:
        return f"{opened}: the quote that opens here never closes; {double}"
    if "expected after" in said:
        ends = "" if opened == last else f", in line {last},"
        return (
            f"{opened}: the quoted text that begins here ends{ends} before other characters; "
            f"{double}"
        )
    if "new-line character" in said:
        return f"{last}: a carriage return inside the line; remove it"
    return f"{last}: cannot be read as a table ({said})"


def _opening_quote(record: str, delimiter: str) -> int:
    """How many lines into a record its last quoted cell begins, or the first that ends amiss."""
    ends = f"{re.escape(delimiter)}\\r\\n"
    quoted = re.compile(rf'(?:\A|(?<=[{ends}]))"(?>(?:[^"]++|"")*)"?+(?P<amiss>[^{ends}])?')
    place = 0
    for found in quoted.finditer(record):
        place = found.start()
        if found["amiss"]:
            break
    return len(re.findall(r"\r\n|\r|\n", record[:place]))


def _header(where: str, cells: Sequence[str], layout: Layout) -> list[str]:
    names = [_column(cell, layout) for cell in cells]
    if missing := [name for name in layout.columns if name not in names]:
        if other := _other_delimiter(layout.delimiter.join(cells), layout):
            raise InvalidData(f"{where}: {other}")
        wanted = layout.delimiter.replace("\t", "<tab>").join(layout.columns)
        raise InvalidData(
            f"{where}: no column {', '.join(missing)}; the first line must be {wanted} "
            f"(found {_shown(cells)})"
        )
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise InvalidData(f"{where}: column {', '.join(twice)} is there twice; keep one")
    return names


def _column(cell: str, layout: Layout) -> str:
    """A column's name as the layout has it, where it has it."""
    name = cell.strip()
    for known in layout.columns:
        if name.casefold() == known.casefold():
            return known
    for prefix in layout.prefixes:
        if name.casefold().startswith(prefix.casefold()):
            return prefix + name[len(prefix) :]
    return name


def _other_delimiter(header: str, layout: Layout) -> str:
    """What to say where the columns are there, between other characters."""
    for other, name in _NAMES.items():
        found = {_column(cell.strip().strip('"'), layout) for cell in header.split(other)}
        if other != layout.delimiter and found.issuperset(layout.columns):
            wanted = _NAMES[layout.delimiter]
            return f"its columns are separated by {name}; save it with {wanted} between them"
    return ""


def _check(where: str, header: Sequence[str], cells: Sequence[str], layout: Layout) -> None:
    separators = _NAMES[layout.delimiter]
    if layout.delimiter == "\t" and _swallows_rows(cells, len(header) - 1):
        raise InvalidData(
            f"{where}: the quoted text that begins here holds whole rows; close its quote, or "
            "quote the text and double the quote inside it"
        )
    if len(cells) != len(header):
        raise InvalidData(
            f"{where}: {len(cells)} columns where the header has {len(header)}; separate columns "
            f"by one of the {separators} and quote a text that contains one"
        )


def _swallows_rows(cells: Sequence[str], delimiters: int) -> bool:
    """Whether a cell has a line that is a row: two stray quotes make one cell of all between."""
    return any(
        line.count("\t") >= delimiters > 0
        for cell in cells
        if "\n" in cell
        for line in cell.split("\n")[1:]
    )


def _shown(cells: Sequence[str]) -> str:
    text = repr(list(cells))
    return text if len(text) <= 200 else f"{text[:200]}..."
