"""Reading an evaluation's tables back."""

from __future__ import annotations

import csv
from pathlib import Path

from prompts.errors import InvalidData

Row = dict[str, str]


def read_table(path: Path, detector: str) -> list[Row]:
    """Return one detector's rows of a table that `isogloss detect --evaluate --out` wrote.

    Raises:
        InvalidData: there is no such table, or it has none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InvalidData(
            f"{path} cannot be read ({error.strerror}); isogloss detect --evaluate ... --out "
            f"{path.parent} writes it"
        ) from error
    rows = [row for row in csv.DictReader(lines) if row.get("detector") == detector]
    if not rows:
        raise InvalidData(f"{path} has nothing of detector {detector!r}; evaluate it, or name one")
    return rows
