"""How often detections are right: by language, on average, and by clade."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isogloss.prompts.languages.languages import languages
from isogloss.serving.detection.detection import Detection
from isogloss.serving.detection.evaluation.clades import ROUTE_TABLES, clade_of, group_of
from isogloss.serving.detection.evaluation.texts import Example


@dataclass(frozen=True, slots=True)
class Answered:
    """An example, and what a detector made of it."""

    example: Example
    detection: Detection

    @property
    def right(self) -> bool:
        """Whether it named the language."""
        return self.detection.language.code == self.example.code

    def right_clade(self, table: str) -> bool:
        """Whether a route table sends the text where it sends its true language."""
        return clade_of(self.detection.language, table) == clade_of(
            languages()[self.example.code], table
        )


@dataclass(frozen=True, slots=True)
class LanguageScore:
    """Shares of one language's examples, 0 to 1; `clade` by route table."""

    code: str
    examples: int
    language: float
    clade: dict[str, float]


@dataclass(frozen=True, slots=True)
class Score:
    """Means over languages, each counting the same; and by route table the worst language."""

    languages: int
    examples: int
    language: float
    clade: dict[str, float]
    worst: dict[str, tuple[str, float]]


def by_language(answers: Sequence[Answered]) -> list[LanguageScore]:
    """Score each language, in the order of the answers."""
    grouped: dict[str, list[Answered]] = {}
    for answer in answers:
        grouped.setdefault(answer.example.code, []).append(answer)
    return [
        LanguageScore(
            code,
            len(own),
            float(np.mean([answer.right for answer in own])),
            {
                table: float(np.mean([answer.right_clade(table) for answer in own]))
                for table in ROUTE_TABLES
            },
        )
        for code, own in grouped.items()
    ]


def overall(scores: Sequence[LanguageScore]) -> Score:
    """Average over languages."""
    worst = {
        table: min(((one.code, one.clade[table]) for one in scores), key=lambda pair: pair[1])
        for table in ROUTE_TABLES
    }
    return Score(
        languages=len(scores),
        examples=sum(one.examples for one in scores),
        language=float(np.mean([one.language for one in scores])),
        clade={table: float(np.mean([one.clade[table] for one in scores])) for table in worst},
        worst=worst,
    )


def confusion(answers: Sequence[Answered]) -> Counter[tuple[str, str]]:
    """Count (true, detected) branches or families."""
    return Counter(
        (group_of(languages()[answer.example.code]), group_of(answer.detection.language))
        for answer in answers
    )
