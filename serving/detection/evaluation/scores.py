"""How often detections are right: by language, on average, by clade; and as often as is said?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isogloss.prompts.languages.languages import Language, deepest_clade, language, languages
from isogloss.prompts.languages.sib200 import PAPER_52
from isogloss.prompts.reliability import Bin, calibration_error, reliability_bins
from isogloss.serving.detection.detection import Detection
from isogloss.serving.detection.evaluation.texts import Example

_ROOTS = frozenset(entry.lineage[0] for entry in languages().values() if entry.lineage)
_BRANCHES = frozenset(
    ["Romance", "Germanic", "Slavic", "Indo-Aryan", "Iranian", "Narrow_Bantu", "Semitic"]
)
BRANCHES, FINEST = "branches", "all clades"
ROUTE_TABLES: Mapping[str, frozenset[str]] = {
    "families": _ROOTS,
    BRANCHES: _ROOTS | _BRANCHES,
    # As fine as a table made from the 52 can be: every clade above any of them.
    FINEST: frozenset(clade for code in PAPER_52 for clade in languages()[code].lineage),
}
UNIVERSAL = "none"
Claim = Literal["language", "candidates", "clade"]
CLAIMS: tuple[Claim, ...] = ("language", "candidates", "clade")
"""What is claimed with a probability: that the detected language is right; that each candidate
is, the second and third like the first; that the likeliest clade (of the finest route table, its
candidates' probabilities added up) is."""
_BINS = 10


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
        true = languages()[self.example.code]
        return clade_of(self.detection.language, table) == clade_of(true, table)


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


@dataclass(frozen=True, slots=True)
class Reliability:
    """One kind of claim: bins that hold any, and the expected calibration error over them all."""

    claim: Claim
    bins: tuple[Bin, ...]
    error: float


def clade_of(language: Language, table: str = FINEST) -> str:
    """Return the clade by which a table routes a language, or UNIVERSAL where it has none."""
    return deepest_clade(language.lineage, ROUTE_TABLES[table]) or UNIVERSAL


def group_of(language: Language) -> str:
    """Return a language's branch or family, or its own name where it is in neither."""
    clade = clade_of(language, BRANCHES)
    return language.name if clade == UNIVERSAL else clade


def by_language(answers: Sequence[Answered]) -> list[LanguageScore]:
    """Score each language, in the order of the answers."""
    grouped: dict[str, list[Answered]] = {}
    for answer in answers:
        grouped.setdefault(answer.example.code, []).append(answer)
    return [
        LanguageScore(
            code,
            len(group),
            float(np.mean([answer.right for answer in group])),
            {
                table: float(np.mean([answer.right_clade(table) for answer in group]))
                for table in ROUTE_TABLES
            },
        )
        for code, group in grouped.items()
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


def reliability(answers: Sequence[Answered], claim: Claim) -> Reliability:
    """Sort all claims of one kind into ten equal bins of probability."""
    claims = [pair for answer in answers for pair in _claims(answer, claim)]
    confidence = np.array([chance for chance, _ in claims], float)
    bins = reliability_bins(confidence, np.array([holds for _, holds in claims], bool), _BINS)
    return Reliability(claim, tuple(bins), calibration_error(bins))


def _claims(answer: Answered, claim: Claim) -> Iterator[tuple[float, bool]]:
    detection, truth = answer.detection, answer.example.code
    if claim == "language":
        yield detection.confidence, answer.right
    elif claim == "candidates":
        yield from ((chance, code == truth) for code, chance in detection.candidates)
    else:
        chances: dict[str, float] = {}
        for code, chance in detection.candidates:
            clade = clade_of(language(code))
            chances[clade] = chances.get(clade, 0.0) + chance
        best = max(chances, key=chances.__getitem__, default="")
        yield min(chances.get(best, 0.0), 1.0), best == clade_of(languages()[truth])
