"""The result's tables as Markdown, for docs/measurements/when-tailoring-pays.md."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from isogloss.training.recipes.ladder.ways import EVERYWHERE, PAPERS, WAYS

Row = Mapping[str, str]
"""A row of one of the CSV tables, as read."""
EVEN = "even-today"
_SINGLE = "best single prompt"


def of_ladder(rows: Iterable[Row]) -> list[Row]:
    """The rungs that differ in alpha only, pretraining seeds together."""
    return [row for row in rows if row["which"] == "pooled"]


def shown_alpha(rows: Iterable[Row]) -> float:
    """The largest alpha that every architecture has; where none is shared, the largest."""
    alphas: dict[str, set[float]] = {}
    for row in of_ladder(rows):
        alphas.setdefault(row["architecture"], set()).add(float(row["alpha"]))
    shared = set.intersection(*alphas.values())
    return max(shared or set.union(*alphas.values()))


def gains_table(gains: Sequence[Row]) -> str:
    """Gain over the best single prompt by model and way."""
    return _by_way([row for row in gains if _overall(row)])


def universal_table(gains: Sequence[Row]) -> str:
    """The same over the universal prompt, which may be an ensemble: what clades alone add."""
    rows = [row for row in gains if row["level"] == "overall" and row["over"] != _SINGLE]
    return _by_way(rows)


def _by_way(rows: Sequence[Row]) -> str:
    cells = {(*_model(row), row["way"]): row for row in rows if not _seed(row)}
    models = sorted(dict.fromkeys(key[:3] for key in cells))
    lines = [
        [*_named(model), *(_gain(cells[*model, way]) for way in WAYS)]
        for model in models
        if all((*model, way) in cells for way in WAYS)
    ]
    return _table(["model", "alpha", *WAYS], lines)


def seeds_table(gains: Sequence[Row]) -> str:
    """The same one pretraining seed at a time, labels everywhere."""
    rows = [
        [row["architecture"], _number(row["alpha"]), row["which"], _gain(row)]
        for row in gains
        if _overall(row) and row["which"].startswith("seed") and row["way"] == EVERYWHERE
    ]
    return _table(["model", "alpha", "pretraining", "gain"], sorted(rows))


def slopes_table(slopes: Sequence[Row]) -> str:
    """Points more for 0.1 of alpha."""
    rows = [
        [row["architecture"], row["way"], row["rungs"], _gain(row, "slope_points")]
        for row in slopes
        if row["over"] == _SINGLE
    ]
    return _table(["model", "way", "models", "points for 0.1 of alpha"], rows)


def amounts_table(amounts: Sequence[Row]) -> str:
    """Gain by pretraining text, labels everywhere and the paper's way."""
    rows = [
        [*_named(_model(row)), row["way"], row["name"], row["languages"], _gain(row)]
        for row in amounts
        if row["over"] == _SINGLE and not _seed(row) and row["way"] in (PAPERS, EVERYWHERE)
    ]
    return _table(["model", "alpha", "way", "text, of English's", "languages", "gain"], rows)


def clades_table(clades: Sequence[Row]) -> str:
    """Clades that surely gain or lose, all clades of a model at once."""
    rows = [
        [*_named(_model(row)), row["way"], row["name"].replace("_", " "), *_moved(row), _gain(row)]
        for row in clades
        if row["over"] == _SINGLE and not _seed(row) and _surely(row)
    ]
    return _table(["model", "alpha", "way", "clade", "moved", "gain"], rows)


def effects_table(effects: Sequence[Row]) -> str:
    """Own-clade prompts, kinds and lengths; all languages together."""
    found = [r for r in effects if r["level"] == "overall" and not _seed(r)]
    cells = {(*_model(row), row["effect"]): row for row in found}
    names = [*dict.fromkeys(row["effect"] for row in found)]
    models = sorted(dict.fromkeys(_model(row) for row in found))
    rows = [
        [name, *(_gain(cells.get((*model, name)), "points") for model in models)] for name in names
    ]
    return _table(["effect", *(" ".join(_named(model)) for model in models)], rows)


def likeness_table(likeness: Sequence[Row]) -> str:
    """Accuracies by language beside the paper's."""
    rows = [
        [
            row["architecture"],
            _number(row["alpha"]),
            row["which"],
            f"{float(row['percent']):.1f} %",
            f"{float(row['paper_percent']):.1f} %",
            f"{float(row['correlation']):.2f}",
        ]
        for row in likeness
    ]
    return _table(["model", "alpha", "which", "mean", "paper's mean", "correlation"], rows)


PARTS = {
    "gains": gains_table,
    "universal": universal_table,
    "seeds": seeds_table,
    "slopes": slopes_table,
    "amounts": amounts_table,
    "clades": clades_table,
    "effects": effects_table,
    "likeness": likeness_table,
}
"""What the page shows, by name; each from the table `TABLES` says."""
TABLES = {name: name for name in PARTS} | {"seeds": "gains", "universal": "gains"}

_OLD_TABLE = re.compile(r"\A\n(?:\|[^\n]*\n)+")
Model = tuple[str, float, str]


def refreshed(page: str, results: Path) -> str:
    """The page with each table that follows a line `<!-- name -->` made anew."""
    for name, make in PARTS.items():
        table = make(read_rows(results / f"{TABLES[name]}.csv"))
        before, marker, after = page.partition(f"<!-- {name} -->\n")
        if marker:
            page = f"{before}{marker}\n{table}\n{_OLD_TABLE.sub('', after, count=1)}"
    return page


def read_rows(path: Path) -> list[Row]:
    """One of the tables."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _model(row: Row) -> Model:
    return row["architecture"], float(row["alpha"]), row["which"]


def _named(model: Model) -> list[str]:
    architecture, alpha, which = model
    return [
        architecture,
        f"{alpha:g}" + {"pooled": "", "ship": ", more steps"}.get(which, " today"),
    ]


def _seed(row: Row) -> bool:
    return row["which"].startswith("seed")


def _overall(row: Row) -> bool:
    return row["level"] == "overall" and row["over"] == _SINGLE


def _surely(row: Row) -> bool:
    return float(row["low_together"]) > 0 or float(row["high_together"]) < 0


def _moved(row: Row) -> list[str]:
    return [f"{float(row['moved']):g} of {row['languages']}"]


def _gain(row: Row | None, column: str = "gain_points") -> str:
    if row is None:
        return "-"
    points, low, high = (float(row[name]) for name in (column, "low", "high"))
    return f"{points:+.2f} ({low:+.2f} to {high:+.2f})"


def _number(cell: str) -> str:
    return f"{float(cell):g}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
