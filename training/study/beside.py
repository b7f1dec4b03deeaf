"""Two finished studies side by side: where their mean accuracies differ, seed by seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.prompts.files.tables import Layout, Row, read_table, table_bytes
from isogloss.training.study.estimates import Interval, counted, difference
from isogloss.training.study.results import SETTING_NAMES, SETTINGS, StudyResults
from isogloss.training.study.rows import BesideRow

_SETTINGS = Layout(("setting", "value"), ",", filled=False, missing="finish that study first")
_RUNS = ("setting", "kind", "shots", "length", "seed", "mean_percent")


@dataclass(frozen=True, slots=True)
class Summary:
    """A finished study in short."""

    model: str
    variant: str
    tested_on: tuple[str, ...]  # the split, then the languages' codes
    means: Mapping[tuple[str, str], Mapping[int, float]]
    """(part, which of its runs) -> seed -> accuracy over languages, in percent"""

    @property
    def name(self) -> str:
        """What a table calls it."""
        return f"{Path(self.model).name}, {self.variant}"


def settings_csv(results: StudyResults) -> bytes:
    """settings.csv: what the study was run on and how, its variant among it."""
    facts: dict[str, Any] = {
        "model": results.model,
        "variant": results.variant,
        "data": results.data,
        "source": results.source,
        "split": results.split,
        "languages": " ".join(results.languages),
        "shots": results.shots,
        "length": results.length,
        **{f"training.{name}": value for name, value in results.settings.items()},
    }
    rows = ((k, v if isinstance(v, str) else json.dumps(v)) for k, v in facts.items())
    return table_bytes(("setting", "value"), rows)


def summary(results: StudyResults) -> Summary:
    """Of this study."""
    runs = (
        (r.setting, r.kind, r.shots, r.length, r.seed, 100 * r.mean_accuracy) for r in results.runs
    )
    return Summary(
        results.model,
        results.variant,
        (results.split, *results.languages),
        _means(runs, results.shots, results.length),
    )


def read_summary(out: Path) -> Summary:
    """Of a study in its folder.

    Raises:
        InvalidData: the folder has no finished study, or a table that cannot be read.
    """
    tables = out / "tables"
    facts = read_settings(tables / "settings.csv")
    try:
        layout = Layout(_RUNS, ",", missing=_SETTINGS.missing)
        runs = [_run(row) for row in read_table(tables / "runs.csv", layout)]
        means = _means(runs, int(facts["shots"]), int(facts["length"]))
        tested_on = (facts["split"], *facts["languages"].split())
        return Summary(facts["model"], facts["variant"], tested_on, means)
    except (KeyError, ValueError) as error:
        raise InvalidData(f"{tables}: not the tables of a study ({error}); run it again") from error


def read_settings(path: Path) -> dict[str, str]:
    """What a study's settings.csv says.

    Raises:
        InvalidData: no such file, or one that cannot be read.
    """
    return {row.cells["setting"]: row.cells["value"] for row in read_table(path, _SETTINGS)}


def check_same_test(tested_on: tuple[str, ...], other: Summary) -> None:
    """Refuse to compare with a study of another split or other languages.

    Raises:
        InvalidInput: says what each was tested on.
    """
    if tested_on != other.tested_on:
        raise InvalidInput(
            f"--beside: that study was tested on {_said(other.tested_on)}, this one on "
            f"{_said(tested_on)}; compare studies of the same --split and --languages"
        )


def beside_rows(ours: Summary, other: Summary) -> tuple[BesideRow, ...]:
    """What differs, for the runs that both studies have."""
    return tuple(
        _row(*key, means, other.means[key])
        for key, means in ours.means.items()
        if key in other.means
    )


def _said(tested_on: tuple[str, ...]) -> str:
    split, *codes = tested_on
    return f"{split}, {counted(len(codes), 'language')}"


def _row(part: str, runs: str, ours: Mapping[int, float], other: Mapping[int, float]) -> BesideRow:
    mean, theirs = fmean(ours.values()), fmean(other.values())
    off = difference(ours, other) or Interval(mean - theirs, None, None, 0)
    return BesideRow(part, runs, off.n, mean, theirs, off.mean, off.low, off.high)


_Run = tuple[str, str, int, int, int, float]  # as `_RUNS`


def _run(row: Row) -> _Run:
    setting, kind, shots, length, seed, percent = (row.cells[name] for name in _RUNS)
    return setting, kind, int(shots), int(length), int(seed), float(percent)


def _means(
    runs: Iterable[_Run], shots: int, length: int
) -> dict[tuple[str, str], dict[int, float]]:
    """In the order of parts and their runs."""
    means: dict[tuple[str, str], dict[int, float]] = {}
    for run in sorted(runs, key=lambda run: (SETTINGS.index(run[0]), *run[1:])):
        for key in _parts_of(run, shots, length):
            means.setdefault(key, {})[run[4]] = run[5]
    return dict(sorted(means.items(), key=lambda item: item[0][0]))


def _parts_of(run: _Run, shots: int, length: int) -> Iterator[tuple[str, str]]:
    """Parts that a run belongs to; `shots` and `length`: the usual ones."""
    setting, kind, own_shots, own_length, *_ = run
    usual = (own_shots, own_length) == (shots, length)
    if kind == "residual":
        if usual:
            yield "figure5", "reparameterized"
        return
    if usual:
        yield "figure2", SETTING_NAMES[setting]  # type: ignore[index]
    if setting == "frozen" and own_length == length:
        yield "figure3", f"{counted(own_shots, 'example')} per label"
    if setting == "frozen" and own_shots == shots:
        yield "figure4", f"prompts of {counted(own_length, 'token')}"
