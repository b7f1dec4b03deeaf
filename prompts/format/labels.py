"""What may be a label: short, one of a bounded number, and free of control characters.

Every answer repeats labels, 256 texts at a time, and terminals obey the control characters in them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.errors import InvalidData

MOST_LABELS = 1000
LONGEST_LABEL = 128

_CONTROL = {"Cc", "Cs", "Zl", "Zp"}
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They turn the direction of what stands behind them, also outside the label."""


def has_control_characters(text: str) -> bool:
    """Whether a text holds what a terminal obeys instead of showing it."""
    if text.isascii():
        return not text.isprintable()
    return any(each in _TURNING or unicodedata.category(each) in _CONTROL for each in text)


def check_labels(labels: Sequence[str]) -> None:
    """Require that labels may be a task's.

    Raises:
        InvalidData: there are too many, or one is too long or holds a control character.
    """
    if len(labels) > MOST_LABELS:
        raise InvalidData(
            f"{len(labels)} labels are too many: a task has at most {MOST_LABELS}; check that the "
            "column of labels is the right one, or merge rare labels"
        )
    for label in labels:
        if problem := _problem(label):
            raise InvalidData(f"label {shown(label)}: {problem}; correct the label")


def check_words(words: Mapping[str, str]) -> None:
    """Require that words may be spoken for labels, given by label.

    Raises:
        InvalidData: one is too long or holds a control character.
    """
    for label, word in words.items():
        if problem := _problem(word):
            raise InvalidData(
                f"word {shown(word)} of label {shown(label)}: {problem}; choose another word"
            )


def _problem(name: str) -> str | None:
    if len(name) > LONGEST_LABEL:
        return f"{len(name)} characters are too many, at most {LONGEST_LABEL} are allowed"
    if has_control_characters(name):
        return "it holds control characters, such as a line break, a tab or an escape"
    return None


def _checked(text: str) -> str:
    if has_control_characters(text):
        raise ValueError("it holds control characters")
    return text


Named = Annotated[str, Field(max_length=LONGEST_LABEL), AfterValidator(_checked)]
"""A name or a word that answers and tables show."""
