"""Predictions on disk: one row per prompt, language and sentence, as CSV or JSON lines.

Columns: model, fingerprint, prompt, digest, task, language, split, index_id, gold, predicted, and
`log_prob.<label>` for each label (natural logarithm, a softmax over the labels' tokens). In JSON
lines the last are one object, `log_probs`. Files may lack them: routes can be chosen without, and
temperatures cannot be fitted.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from prompts.errors import InvalidData, InvalidInput
from training.data import Split

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
    gold: str
    predicted: str
    log_probs: dict[str, float]  # label -> natural logarithm; empty where they were not kept

    @property
    def correct(self) -> bool:
        """Whether the prediction is the gold label."""
        return self.predicted == self.gold


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
            json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in predictions
        ).encode()
    rows = list(predictions)
    labels = list(rows[0].log_probs) if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(_LOG_PROB + label for label in labels)])
    for row in rows:
        cells = [getattr(row, name) for name in _COLUMNS]
        writer.writerow([*cells, *(f"{row.log_probs[label]:.6g}" for label in labels)])
    return text.getvalue().encode()


def read_predictions(path: Path) -> list[Prediction]:
    """Read a file of predictions.

    Raises:
        InvalidInput: another ending.
        InvalidData: no such file, or a line that is no prediction (named).
    """
    check_format(path)
    found: list[Prediction] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found += (Prediction(**fields) for fields in _read_rows(path.suffix, file))
    except FileNotFoundError:
        raise InvalidData(f"{path}: no such file; write it with `isogloss evaluate`") from None
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise InvalidData(
            f"{path}, row {len(found) + 1}: not a prediction ({error}); evaluate again"
        ) from error
    if not found:
        raise InvalidData(f"{path}: no predictions; evaluate again")
    return found


def _read_rows(suffix: str, file: Iterable[str]) -> Iterator[dict[str, Any]]:
    if suffix == ".jsonl":
        yield from (_from_json(json.loads(line)) for line in file)
        return
    rows = csv.reader(file, strict=True)
    header = next(rows, [])
    for row in rows:
        yield _from_csv(header, row)


def _from_json(fields: dict[str, Any]) -> dict[str, Any]:
    log_probs = {label: float(value) for label, value in fields.get("log_probs", {}).items()}
    return {**{name: str(fields[name]) for name in _COLUMNS}, "log_probs": log_probs}


def _from_csv(header: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    cells = dict(zip(header, row, strict=True))
    log_probs = {
        name.removeprefix(_LOG_PROB): float(value)
        for name, value in cells.items()
        if name.startswith(_LOG_PROB)
    }
    return {**{name: cells[name] for name in _COLUMNS}, "log_probs": log_probs}


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
