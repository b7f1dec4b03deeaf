"""Predictions on disk: one row per prompt, language and sentence, as CSV or JSON lines.

Columns: model, fingerprint, prompt, digest, task, language, split, index_id, gold, predicted, and
`log_prob.<label>` for each label (natural logarithm, a softmax over the labels' tokens; of
independent labels, of each one's own probability). In JSON lines the last are one object,
`log_probs`. Files may lack them: routes can be chosen without, and temperatures cannot be fitted.
Where texts may have several labels, or the labels are levels, two more columns say so: `problem`,
and `score`, how right the answer is.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.prompts.files.tables import Layout, Row, read_table, table_bytes
from isogloss.prompts.files.texts import read_lines
from isogloss.prompts.format.problem import (
    ASSIGNED,
    Problem,
    join_labels,
    score_answer,
)
from isogloss.training.data.labelled import Split

_COLUMNS = (
    "model",
    "fingerprint",
    "prompt",
    "digest",
    "task",
    "language",
    "split",
    "index_id",
    "gold",
    "predicted",
)
_PROBLEM_COLUMNS = ("problem", "score")
_LOG_PROB = "log_prob."


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one prompt answered for one sentence."""

    model: str
    fingerprint: str  # of the backbone
    prompt: str
    digest: str  # of the prompt
    task: str
    language: str
    split: str
    index_id: str
    gold: str  # several labels in one cell: see `prompts.format.problem`
    predicted: str
    log_probs: dict[str, float]  # label -> natural logarithm; empty where they were not kept
    problem: Problem = "single_label"
    score: float | None = None  # of other problems: `score_answer`

    @property
    def correct(self) -> float:
        """How right the prediction is, from 0 to 1: where one label is right, either of them."""
        return float(self.predicted == self.gold) if self.score is None else self.score

    @property
    def labels(self) -> list[str]:
        """Of the task, levels in their order; empty where scores were not kept."""
        return list(self.log_probs)

    def answering(self, log_probs: Mapping[str, float]) -> Prediction:
        """The same with other scores, and the answer that they make."""
        predicted = best_answer(self.problem, log_probs)
        score = score_of(self.problem, self.gold, predicted, log_probs)
        return replace(self, predicted=predicted, log_probs=dict(log_probs), score=score)


def score_of(problem: Problem, gold: str, predicted: str, labels: Iterable[str]) -> float | None:
    """How right an answer is, where it is more than right or wrong: else None."""
    if problem == "single_label":
        return None
    return score_answer(problem, gold, predicted, list(labels))


def best_answer(problem: Problem, log_probs: Mapping[str, float]) -> str:
    """The likeliest label, or all that are likelier than not, in one cell."""
    if problem == "multi_label":
        return join_labels(label for label, said in log_probs.items() if said > _HALF)
    return max(log_probs, key=log_probs.__getitem__)


_HALF = math.log(ASSIGNED)


def check_format(path: Path) -> None:
    """Refuse a file name whose ending says neither CSV nor JSON lines.

    Raises:
        InvalidInput: the ending is another.
    """
    if path.suffix not in (".csv", ".jsonl"):
        raise InvalidInput(f"{path}: predictions are kept as .csv or .jsonl; choose one as ending")


def to_bytes(predictions: Iterable[Prediction], suffix: str, *, scores: bool = True) -> bytes:
    """Predictions as the content of a file with this ending (all with the same labels).

    Without `scores` a file is a third smaller, and says which label was chosen, not how surely.
    """
    if not scores:
        predictions = (replace(row, log_probs={}) for row in predictions)
    if suffix == ".jsonl":
        return "".join(
            json.dumps(_fields(row), ensure_ascii=False) + "\n" for row in predictions
        ).encode()
    rows = list(predictions)
    labels = list(rows[0].log_probs) if rows else []
    plain = all(row.problem == "single_label" for row in rows)
    columns = _COLUMNS if plain else (*_COLUMNS, *_PROBLEM_COLUMNS)
    cells = (
        [*(getattr(row, name) for name in columns), *(row.log_probs[label] for label in labels)]
        for row in rows
    )
    return table_bytes([*columns, *(_LOG_PROB + label for label in labels)], cells, ".6g")


def _fields(row: Prediction) -> dict[str, Any]:
    """Of a line; what was the only kind once is not told."""
    fields = asdict(row)
    if row.problem == "single_label":
        for name in _PROBLEM_COLUMNS:
            del fields[name]
    return fields


def read_predictions(path: Path) -> list[Prediction]:
    """Read a file of predictions; a pipe may have any name.

    Raises:
        InvalidInput: another ending.
        InvalidData: no such file, or a line that is no prediction (named).
    """
    lines = read_lines(path, missing=_MISSING)
    if path.exists() and not path.is_file() and not path.is_dir():
        first = next(lines, "")
        lines, json_lines = itertools.chain([first], lines), first.startswith("{")
    else:
        if not path.is_dir():
            check_format(path)
        json_lines = path.suffix == ".jsonl"
    rows = _from_json_lines(path, lines) if json_lines else _from_csv(path, lines)
    predictions = [Prediction(**fields) for fields in rows]
    if not predictions:
        raise InvalidData(f"{path}: no predictions; evaluate again")
    return predictions


_MISSING = "write it with `isogloss evaluate`"
_CSV = Layout(_COLUMNS, ",", filled=False, prefixes=(_LOG_PROB,))


def _from_json_lines(path: Path, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            yield {
                **{name: str(fields[name]) for name in _COLUMNS},
                "log_probs": {k: float(value) for k, value in fields.get("log_probs", {}).items()},
                **_kind(fields),
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidData(
                f"{path}, line {number}: not a prediction ({error}); evaluate again"
            ) from error


def _from_csv(path: Path, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for row in read_table(path, _CSV, lines):
        log_probs = {
            name.removeprefix(_LOG_PROB): _number(row, name)
            for name in row.cells
            if name.startswith(_LOG_PROB)
        }
        kind = _kind({**row.cells, "score": _number(row, "score")}) if "score" in row.cells else {}
        yield {**{name: row.cells[name] for name in _COLUMNS}, "log_probs": log_probs, **kind}


def _kind(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a line says of its kind of answer; a file of old says nothing."""
    if "problem" not in fields:
        return {}
    if fields["problem"] not in get_args(Problem):
        raise ValueError(f"problem {fields['problem']!r} is none of {get_args(Problem)}")
    return {"problem": fields["problem"], "score": float(fields["score"])}


def _number(row: Row, column: str) -> float:
    cell = row.cells[column].strip()
    try:
        return float(cell)
    except ValueError:
        raise InvalidData(
            f"{row.where}: column {column} holds {cell[:40]!r}, no number; a spreadsheet may have "
            "changed it: evaluate again, or save the sheet with decimal points"
        ) from None


Group = tuple[str, str]  # backbone's fingerprint, task


def read_split(
    paths: Sequence[Path], split: Split, model: str | None, why: str
) -> dict[Group, list[Prediction]]:
    """Predictions of one split, by backbone and task; `model`'s only where it is given.

    Args:
        paths: files of `isogloss evaluate`.
        split: the only one that they may hold.
        model: as the predictions name it; None: all.
        why: what a refusal says to somebody with predictions of another split.

    Raises:
        InvalidData: predictions of another split, or none of this model.
    """
    groups: dict[Group, list[Prediction]] = {}
    for path in paths:
        for row in read_predictions(path):
            if row.split != split:
                raise InvalidData(f"{path}: predictions of the {row.split} split; {why}")
            if model is None or row.model == model:
                groups.setdefault((row.fingerprint, row.task), []).append(row)
    if paths and not groups:
        raise InvalidData(f"--model {model!r}: no predictions of it in these files")
    return groups
