"""The two tables as Markdown, for the page that explains the rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Row = Mapping[str, str]
"""A row of calibration.csv or rules.csv, as read."""
_BINS = (("0.75", "0.85"), ("0.85", "0.95"), ("0.95", "1"), ("0.75", "1"))
_FEW = 20  # routes, below which a share says little


def calibration_table(rows: Sequence[Row]) -> str:
    """Routes, mean stated probability and share that gain, by kind of world and bin."""
    cells = {(row["world"], float(row["low"]), float(row["high"])): row for row in rows}
    worlds = [*dict.fromkeys(row["world"] for row in rows)]
    lines = [
        "| worlds | 0.75 to 0.85 | 0.85 to 0.95 | above 0.95 | all routes |",
        "|---|---|---|---|---|",
    ]
    for world in worlds:
        found = [cells.get((world, float(low), float(high))) for low, high in _BINS]
        lines.append(f"| {world} | {' | '.join(map(_claim, found))} |")
    return "\n".join(lines)


def _claim(row: Row | None) -> str:
    if row is None:
        return "-"
    told = f"{100 * float(row['stated']):.0f} % stated, {100 * float(row['true']):.0f} % true"
    routes = int(row["routes"])
    return f"{told} ({routes}{', few' if routes < _FEW else ''})"


def rules_table(rows: Sequence[Row]) -> str:
    """Gains by rule and kind of world; routes where nothing can be gained."""
    worlds = [*dict.fromkeys(row["world"] for row in rows)]
    cells = {(row["world"], row["rule"]): row for row in rows}
    lines = [f"| rule | {' | '.join(worlds)} |", f"|---|{'---|' * len(worlds)}"]
    for rule in dict.fromkeys(row["rule"] for row in rows):
        lines.append(f"| {rule} | {' | '.join(_outcome(cells[w, rule]) for w in worlds)} |")
    best = [cells[world, rows[0]["rule"]] for world in worlds]
    attainable = [f"{float(row['attainable_points']):+.1f}" for row in best]
    return "\n".join([*lines, f"| at most | {' | '.join(attainable)} |"])


def _outcome(row: Row) -> str:
    if float(row["attainable_points"]) == 0:
        return f"{float(row['routes']):.0f} routes"
    return f"{float(row['gain_points']):+.1f}"
