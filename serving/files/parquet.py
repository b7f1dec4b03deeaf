"""Parquet: what is added is written beside, and joined with the columns once all of it is there.

A Parquet file cannot be continued, for its index stands at its end. The part is therefore a file of
JSON lines, one a row, and the last step reads both and writes the file.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as arrow
from pyarrow import parquet

from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.prompts.files.durable import sync_existing, temporary_name
from isogloss.serving.client.batches import bytes_of
from isogloss.serving.files.opened import install
from isogloss.serving.files.rows import ABSTAINED, Added, Row

_READ_ROWS = 1024
_WRITTEN_ROWS = 16_384
"""Of a row group, at most."""
_NUMBERS = ("score", "confidence", "known")


class Parquet:
    """One Parquet file."""

    def __init__(self, path: Path, column: str, prefix: str, added: Sequence[str]) -> None:
        self._path = path
        self._column = column
        with self._open() as file:
            self._schema = file.schema_arrow
            self.total = file.metadata.num_rows
        self._added = arrow.schema([(prefix + name, _type(name)) for name in added])
        names = self._schema.names
        if names.count(column) != 1 or not _is_text(self._schema.field(column).type):
            raise InvalidInput(
                f"--column {column!r}: {path} has the columns {', '.join(names)[:200]}; name one "
                "of texts"
            )
        if twice := sorted(set(self._added.names).intersection(names)):
            raise InvalidInput(
                f"{path}: column {', '.join(twice)} is there already, and would be added; give "
                "added columns other names, e.g. with --prefix predicted_"
            )

    def head(self) -> bytes:
        """Nothing stands before the rows of the part."""
        return b""

    def rows(self) -> Iterator[Row]:
        """Yield the rows; as `Table`."""
        with self._open() as file:
            batches = file.iter_batches(_READ_ROWS, columns=[self._column])
            cells = (cell for batch in batches for cell in batch.column(0))
            for number, cell in enumerate(cells, start=1):
                text, problem = self._text(cell)
                yield Row(f"row {number}", text, problem, None, number, 1 + bytes_of(text))

    def written(self, row: Row, added: Added) -> bytes:
        """A line of the part."""
        return json.dumps(added, ensure_ascii=False).encode() + b"\n"

    def finish(self, part: Path, out: Path) -> None:
        """Join the part with the columns."""
        temporary = temporary_name(out.parent)
        try:
            with self._open() as file, part.open("rb") as lines:
                self._join(file, lines, temporary)
            sync_existing(temporary)
            install(temporary, out)
        finally:
            temporary.unlink(missing_ok=True)
        os.unlink(part)

    def _text(self, cell: Any) -> tuple[str, str | None]:
        try:
            text = cell.as_py()
        except UnicodeDecodeError as error:
            return "", f"the text is not UTF-8 (byte 0x{error.object[error.start]:02x})"
        return (text, None) if text is not None else ("", f"column {self._column!r} is null")

    def _join(self, file: Any, lines: IO[bytes], path: Path) -> None:
        schema = self._schema
        for each in self._added:
            schema = schema.append(each)
        with parquet.ParquetWriter(path, schema) as writer:
            for batch in file.iter_batches(_WRITTEN_ROWS):
                added = self._columns(itertools.islice(lines, batch.num_rows))
                writer.write_batch(
                    arrow.RecordBatch.from_arrays([*batch.columns, *added], schema=schema)
                )

    def _columns(self, lines: Iterator[bytes]) -> list[Any]:
        rows = [list(json.loads(line).values()) for line in lines]
        columns = zip(*rows, strict=True)
        return [
            arrow.array(list(values), type=field.type)
            for field, values in zip(self._added, columns, strict=True)
        ]

    def _open(self) -> Any:
        try:
            return parquet.ParquetFile(self._path)
        except (OSError, arrow.ArrowException) as error:
            raise InvalidData(
                f"{self._path}: cannot be read as Parquet ({error}); check the path"
            ) from error


def _type(name: str) -> Any:
    if name == ABSTAINED:
        return arrow.bool_()
    return arrow.float64() if name in _NUMBERS else arrow.string()


def _is_text(kind: Any) -> bool:
    kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
    return bool(arrow.types.is_string(kind) or arrow.types.is_large_string(kind))
