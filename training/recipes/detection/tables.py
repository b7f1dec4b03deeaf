"""Reading an evaluation's tables back."""

from __future__ import annotations

from pathlib import Path

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.files import tables as table_files

Row = dict[str, str]


def read_table(path: Path, detector: str) -> list[Row]:
    """Return one detector's rows of a table that `isogloss detect --evaluate --out` wrote.

    Raises:
        InvalidData: there is no such table, or it has none.
    """
    layout = table_files.Layout(
        ("detector",), ",", missing=f"isogloss detect --evaluate ... --out {path.parent} writes it"
    )
    found = (row.cells for row in table_files.read_table(path, layout))
    rows = [cells for cells in found if cells["detector"] == detector]
    if not rows:
        raise InvalidData(f"{path} has nothing of detector {detector!r}; evaluate it, or name one")
    return rows
