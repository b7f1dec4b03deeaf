"""What a language detector answers, and what it must be able to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from isogloss.prompts.languages.languages import UNDETERMINED, Language

TOP = 3


@dataclass(frozen=True, slots=True)
class Detection:
    """The likeliest language of one text.

    `confidence` is its posterior probability among the languages of the text's script, 0 to 1.
    `candidates` are the likeliest codes with theirs, best first, at most TOP; "und" among them is
    for all languages that the table lacks. Where that is the likeliest, the language is
    UNDETERMINED with confidence 0; so is a text without letters, which has no candidates.
    """

    language: Language
    confidence: float
    candidates: tuple[tuple[str, float], ...] = ()


NOTHING = Detection(UNDETERMINED, 0.0)


class Detector(Protocol):
    """Anything that tells the language of texts; safe to call from several threads."""

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Return one detection per text, in order. Never raises for any string."""
        ...

    def posteriors(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        """Return the probability of each language that has any, by code, per text and in order.

        A text without letters has none. Never raises for any string.
        """
        ...
