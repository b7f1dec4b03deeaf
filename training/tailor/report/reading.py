"""What a job left in its folder, as the page needs it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isogloss.prompts.errors import InvalidData
from isogloss.training.data.clades import name_of


@dataclass(frozen=True, slots=True)
class Gain:
    """A bar of the forest plot: points of accuracy over the universal prompt, on test."""

    name: str
    languages: int
    sentences: int
    points: float
    low: float
    high: float
    moved: bool


@dataclass(frozen=True, slots=True)
class Level:
    """One language's accuracy, in percent, under the universal prompt and its own route."""

    code: str
    name: str
    clade: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Run:
    """Everything of one job. `gains` and `languages` are of test; without a test split, empty."""

    facts: Mapping[str, Any]
    table: Mapping[str, Any]
    overall: Gain | None
    over_single: Gain | None
    gains: tuple[Gain, ...]
    languages: tuple[Level, ...]
    candidates: tuple[Mapping[str, str], ...]
    calibration: tuple[Mapping[str, str], ...]

    @property
    def evidence(self) -> Sequence[Mapping[str, Any]]:
        """Why each clade got its prompt."""
        found: Sequence[Mapping[str, Any]] = self.table["evidence"]
        return found

    @property
    def calibrated(self) -> Mapping[str, str] | None:
        """Errors over all answers: of test where there is one, else of dev."""
        rows = {row["split"]: row for row in self.calibration if row["clade"] == "(all)"}
        return rows.get("test") or rows.get("dev")


def read_run(out: Path) -> Run:
    """Read a job's tables.

    Raises:
        InvalidData: plan.json or routes.json is missing or damaged.
    """
    facts, table = _json(out / "plan.json"), _json(out / "routes.json")
    over = "universal"
    overall = {row["over"]: row for row in _rows(out / "gains_overall.csv")}
    clades = [row for row in _rows(out / "gains_clades.csv") if row.get("over", over) == over]
    single = next((row for name, row in overall.items() if name != over), None)
    return Run(
        facts,
        table,
        _gain(overall[over]) if over in overall else None,
        _gain(single) if single else None,
        tuple(_gain(row) for row in clades if row["level"] == "clade"),
        tuple(_level(row) for row in _rows(out / "languages.csv")),
        tuple(_rows(out / "candidates.csv")),
        tuple(_rows(out / "calibration.csv")),
    )


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidData(
            f"{path}: cannot be read ({error}); run `isogloss tailor` again"
        ) from error
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    """A table's rows; a table that was not made has none."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _gain(row: Mapping[str, str]) -> Gain:
    points, low, high = (float(row[name]) for name in ("gain_points", "low", "high"))
    languages, sentences, moved = (int(row[n]) for n in ("languages", "sentences", "moved"))
    return Gain(row["name"], languages, sentences, points, low, high, moved > 0)


def _level(row: Mapping[str, str]) -> Level:
    before, after = (100 * float(row[name]) for name in ("universal", "routed"))
    return Level(row["language"], name_of(row["language"]), row["clade"], before, after)
