"""Labels as people write them: `--word LABEL=WORD`, and labels that only look different."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from isogloss.prompts.errors import InvalidInput


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
        own, spoken = _settled(label, word, labels)
        if own in settled:
            raise InvalidInput(f"--word {label}={word}: label {own!r} has a word already")
        settled[own] = spoken
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
