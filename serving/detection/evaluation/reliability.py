"""Whether a detector is as often right as it says: reliability bins and calibration error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isogloss.prompts.languages.languages import language, languages
from isogloss.serving.detection.evaluation.clades import clade_of
from isogloss.serving.detection.evaluation.scores import Answered

BINS = 10
Claim = Literal["language", "candidates", "clade"]
CLAIMS: tuple[Claim, ...] = ("language", "candidates", "clade")
"""What is claimed with a probability: that the detected language is right; that each candidate
is, the second and third like the first; that the likeliest clade (of the finest route table, its
candidates' probabilities added up) is."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Claims of about the same probability: how many, their mean, and the share that is true."""

    lowest: float
    claims: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """One kind of claim: bins that hold any, and the expected calibration error over them all."""

    claim: Claim
    bins: tuple[Bin, ...]
    error: float


def reliability(answers: Sequence[Answered], claim: Claim) -> Reliability:
    """Sort all claims of one kind into ten equal bins of probability."""
    claims = [pair for answer in answers for pair in _claims(answer, claim)]
    said = np.array([chance for chance, _ in claims], float)
    true = np.array([holds for _, holds in claims], float)
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    bins = tuple(
        Bin(k / BINS, int(own.sum()), float(said[own].mean()), float(true[own].mean()))
        for k in range(BINS)
        if (own := place == k).any()
    )
    error = sum(each.claims * abs(each.confidence - each.right) for each in bins) / max(
        len(claims), 1
    )
    return Reliability(claim, bins, error)


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
