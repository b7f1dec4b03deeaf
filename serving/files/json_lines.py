"""JSON Lines: a line stays as it is, but for one more field with all that is added.

The line's own text is kept, so numbers keep their digits and fields their order. An empty line is
no row. A line that is no JSON object stands in the added field as text.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.prompts.files.texts import check_head
from isogloss.serving.files.opened import HEAD_BYTES, MAX_LINE_BYTES, install, opened
from isogloss.serving.files.rows import Added, Row

FIELD = "isogloss"
_KINDS = {
    type(None): "null", bool: "a boolean", int: "a number", float: "a number",
    list: "a list", dict: "an object",
}  # fmt: skip


class JsonLines:
    """One file of a JSON object a line."""

    def __init__(self, path: Path, column: str, prefix: str) -> None:
        self._path = path
        self._column = column
        self._field = prefix + FIELD
        self.total = os.stat(path).st_size
        with opened(path) as file:
            check_head(file.read(HEAD_BYTES), str(path))

    def head(self) -> bytes:
        """Nothing stands before the rows."""
        return b""

    def rows(self) -> Iterator[Row]:
        """Yield the rows; as `Table`."""
        number = read = 0
        with opened(self._path) as file:
            for line_number, line in enumerate(
                iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1
            ):
                read += len(line)
                if len(line) > MAX_LINE_BYTES:
                    raise InvalidData(
                        f"{self._path}, line {line_number}: longer than {MAX_LINE_BYTES >> 20} "
                        "MiB; break it up"
                    )
                own = line.removeprefix(codecs.BOM_UTF8).strip()
                if own:
                    number += 1
                    yield self._row(f"row {number} (line {line_number})", own, read)

    def written(self, row: Row, added: Added) -> bytes:
        """A row's line with the added field."""
        line, is_object = row.kept
        if not is_object:
            added, line = {"line": line.decode("utf-8", "replace"), **added}, b"{}"
        begin = line[:-1].rstrip()
        comma = b"" if begin == b"{" else b", "
        name = json.dumps(self._field).encode()
        own = json.dumps(added, ensure_ascii=False).encode()
        return b"".join((begin, comma, name, b": ", own, b"}\n"))

    def finish(self, part: Path, out: Path) -> None:
        """Give the written lines their name."""
        install(part, out)

    def _row(self, place: str, line: bytes, read: int) -> Row:
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            said = f"the line is not UTF-8 (byte 0x{line[error.start]:02x})"
            return Row(place, "", said, (line, False), read, len(line))
        except (ValueError, RecursionError) as error:
            return Row(place, "", f"the line is no JSON ({error})", (line, False), read, len(line))
        if not isinstance(value, dict):
            return Row(place, "", "the line is no JSON object", (line, False), read, len(line))
        if self._field in value:
            raise InvalidInput(
                f"{self._path}, {place}: field {self._field} is there already, and would be added; "
                "give it another name, e.g. with --prefix predicted_"
            )
        text, problem = self._text(value)
        return Row(place, text, problem, (line, True), read, len(line))

    def _text(self, value: dict[str, Any]) -> tuple[str, str | None]:
        if self._column not in value:
            return "", f"field {self._column!r} is missing"
        text = value[self._column]
        if isinstance(text, str):
            return text, None
        return "", f"field {self._column!r} is {_KINDS.get(type(text), 'no text')}, no text"
