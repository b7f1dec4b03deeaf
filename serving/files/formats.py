"""Which format a file of rows has, by its name or as it is said to be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.serving.files.delimited import Delimited
from isogloss.serving.files.json_lines import JsonLines
from isogloss.serving.files.rows import Table

Format = Literal["csv", "tsv", "jsonl", "parquet"]

_ENDINGS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
            ".parquet": "parquet", ".pq": "parquet"}  # fmt: skip
_DELIMITERS = {"csv": ",", "tsv": "\t"}


def format_of(path: Path, out: Path, chosen: Format | None) -> str:
    """The format of a file, which is that of the file made of it.

    Raises:
        InvalidInput: its name does not tell, or the names of both tell different ones.
    """
    found = chosen or _ENDINGS.get(path.suffix.lower())
    if found is None:
        known = ", ".join(get_args(Format))
        raise InvalidInput(f"{path}: its name tells no format; give --format, one of {known}")
    made = _ENDINGS.get(out.suffix.lower(), found)
    if made != found:
        raise InvalidInput(
            f"--out {out}: it would be {found} like {path}, and its name says {made}; end it in "
            f".{found}"
        )
    return found


def open_table(path: Path, column: str, form: str, added: Sequence[str], prefix: str = "") -> Table:
    """Open a file of rows.

    Args:
        path: of the file.
        column: that has the texts.
        form: as `format_of` tells it.
        added: names of what is added to each row.
        prefix: of the added names.

    Raises:
        InvalidInput: it has no such column, or one of those that are to be added.
        InvalidData: it cannot be read.
    """
    if not path.is_file():
        raise InvalidData(f"{path}: no such file; check the path")
    if form == "jsonl":
        return JsonLines(path, column, prefix)
    if form == "parquet":
        return _parquet(path, column, added, prefix)
    names = [prefix + name for name in added]
    return Delimited(path, column, names, _DELIMITERS[form])


def _parquet(path: Path, column: str, added: Sequence[str], prefix: str) -> Table:
    try:
        from isogloss.serving.files.parquet import Parquet
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        raise InvalidInput(
            f"{path}: Parquet needs pyarrow, which is not installed; run pip install "
            "'isogloss[parquet]', or save the file as CSV"
        ) from error
    return Parquet(path, column, prefix, added)
