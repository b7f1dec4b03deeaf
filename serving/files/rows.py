"""A row of a file, what is added to it, and what every format of files can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from isogloss.prompts.errors import IsoglossError
from isogloss.serving.client.answering import Outcome

_Value = str | float | bool | None
Added = Mapping[str, _Value]
"""What is added to a row, by name."""

ADDED = ("label", "score", "language", "confidence", "known", "clade", "prompt", "error")
ABSTAINED = "abstained"

_DIGITS = 6
"""Of scores: the same text in another batch differs further behind."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was read."""

    place: str
    """How a person finds it."""
    text: str
    problem: str | None
    """Why the text cannot be had; None: it is there."""
    kept: Any
    """What its format needs to write the row again."""
    read: int
    """How much of the file was read up to here, of its table's `total`."""
    size: int
    """About how many bytes it takes, at least those of its text."""


class Table(Protocol):
    """An open file of rows."""

    total: int
    """What `Row.read` comes to in the end: bytes, or rows."""

    def head(self) -> bytes:
        """What stands before the rows."""

    def rows(self) -> Iterator[Row]:
        """Yield all rows in order; InvalidData: the rest cannot be read."""

    def written(self, row: Row, added: Added) -> bytes:
        """A row with what is added to it."""

    def finish(self, part: Path, out: Path) -> None:
        """Make what was written the file that was asked for, whole or not at all."""


def names_added(abstain: bool) -> tuple[str, ...]:
    """Names of what is added; whether an answer is `abstained` where that was asked."""
    return (*ADDED[:2], ABSTAINED, *ADDED[2:]) if abstain else ADDED


def added_to(outcome: Outcome, abstain: bool) -> Added:
    """What is added to a row that has this outcome."""
    nothing: dict[str, _Value] = dict.fromkeys(names_added(abstain))
    if isinstance(outcome, IsoglossError):
        return nothing | {"error": " ".join(str(outcome).split())}
    language = outcome.language
    found: dict[str, _Value] = {
        "label": outcome.cell,
        "score": round(outcome.score, _DIGITS),
        "language": language.code,
        "confidence": round(language.confidence, _DIGITS),
        "known": None if language.known is None else round(language.known, _DIGITS),
        "clade": outcome.route.clade,
        "prompt": f"{outcome.prompt.name}@{outcome.prompt.version}",
    }
    if abstain:
        found[ABSTAINED] = outcome.abstained
    return nothing | found
