"""What may be a label: short, one of a bounded number, and free of control characters.

Also labels as people write them: `--word LABEL=WORD`, and labels that only look different.

Every answer repeats labels, 256 texts at a time, and terminals obey the control characters in them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from isogloss.prompts.console.refusals import HARMFUL, shown
from isogloss.prompts.errors import InvalidData, InvalidInput

MOST_LABELS = 1000
LONGEST_LABEL = 128


def has_control_characters(text: str) -> bool:
    """Whether a text holds what a terminal obeys instead of showing it, a tab or a line break."""
    return "\t" in text or "\n" in text or HARMFUL.search(text) is not None


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


def parse_words(given: Sequence[str]) -> dict[str, str]:
    """Read LABEL=WORD, by the last "=" that leaves a word: labels have one more often than words.

    Raises:
        InvalidInput: no "=", an empty side, or a label given twice.
    """
    words: dict[str, str] = {}
    for text in given:
        label, word = _split(text)
        if not (label and word):
            raise InvalidInput(f"--word {text!r}: write it as label=word, e.g. --word weather=rain")
        if label in words:
            raise InvalidInput(f"--word {text!r}: label {label!r} has a word already")
        words[label] = word
    return words


def _split(text: str) -> tuple[str, str]:
    label, _, word = text.rpartition("=")
    while label and not word.strip():
        label, _, rest = label.rpartition("=")
        word = f"{rest}={word}"
    return label.strip(), word.strip()


def settle_words(words: Mapping[str, str], labels: Collection[str]) -> dict[str, str]:
    """Return words by the labels that there are: a word may have a "=", too.

    Raises:
        InvalidInput: two of them are of one label.
    """
    settled: dict[str, str] = {}
    for label, word in words.items():
        meant, spoken = _settled(label, word, labels)
        if meant in settled:
            raise InvalidInput(f"--word {label}={word}: label {meant!r} has a word already")
        settled[meant] = spoken
    return settled


def _settled(label: str, word: str, labels: Collection[str]) -> tuple[str, str]:
    if label in labels:
        return label, word
    whole = f"{label}={word}"
    meant = [known for known in labels if whole.startswith(f"{known}=")]
    known = max(meant, key=len, default=label)
    return known, whole[len(known) + 1 :]


def spelling(label: str) -> str:
    """What is left of a label without case, blanks at its ends, and invisible or odd forms."""
    plain = unicodedata.normalize("NFKC", label)
    seen = "".join(c for c in plain if unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", seen.casefold()).split())


def confused(labels: Iterable[str]) -> tuple[str, str] | None:
    """The first two labels that a person would take for one; None where all are distinct."""
    seen: dict[str, str] = {}
    for label in labels:
        other = seen.setdefault(spelling(label), label)
        if other != label:
            return other, label
    return None
