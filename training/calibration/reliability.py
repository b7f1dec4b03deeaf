"""How far scores are from how often they are right.

The expected calibration error (Naeini et al. 2015; with 15 bins of equal width over the best
label's probability as in Guo et al. 2017): the mean distance between confidence and accuracy,
each bin weighing as many answers as it holds. Few answers fill bins unevenly, so that even perfect
scores are not at zero: compare before and after on the same answers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isogloss.training.calibration.temperatures import Answers, Floats

BINS = 15


@dataclass(frozen=True, slots=True)
class Fit:
    """How well scores fit what was right."""

    confidence: float  # mean probability of the best label
    calibration_error: float  # expected
    surprise: float  # mean negative log-probability of the right label


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of the same answers as the model gives them (temperature 1), and scaled."""

    answers: int
    accuracy: float
    before: Fit
    after: Fit

    def flat(self) -> dict[str, Any]:
        """As columns of a table."""
        facts: dict[str, Any] = {"answers": self.answers, "accuracy": self.accuracy}
        for when in ("before", "after"):
            own = asdict(getattr(self, when))
            facts.update({f"{name}_{when}": value for name, value in own.items()})
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in facts.items()}


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose confidence is from `low` to `high`: a point of a reliability diagram."""

    low: float
    high: float
    answers: int
    confidence: float
    accuracy: float


def measure(answers: Answers, temperatures: Floats) -> Measured:
    """Compare scores with and without their temperatures, (rows,)."""
    return Measured(
        answers=len(answers.gold),
        accuracy=float(_correct(answers).mean()),
        before=_fit(answers, np.ones(len(answers.gold))),
        after=_fit(answers, temperatures),
    )


def bins(answers: Answers, temperatures: Floats) -> list[Bin]:
    """The bins that hold answers, in order of confidence."""
    confidence = np.exp(answers.scaled(temperatures).max(axis=1))
    correct = _correct(answers)
    found = []
    for place, own in enumerate(_binned(confidence)):
        if own.any():
            low, high = place / BINS, (place + 1) / BINS
            facts = float(confidence[own].mean()), float(correct[own].mean())
            found.append(Bin(low, high, int(own.sum()), *facts))
    return found


def calibration_error(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """Expected calibration error of any answers, 0 to 1.

    >>> calibration_error(np.array([0.9, 0.9, 0.5, 0.5]), np.array([True, True, True, False]))
    0.05
    """
    gaps = [abs((confidence[own] - correct[own]).sum()) for own in _binned(confidence)]
    return float(sum(gaps) / len(confidence))


def _binned(confidence: Floats) -> list[NDArray[np.bool_]]:
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [place == number for number in range(BINS)]


def _fit(answers: Answers, temperatures: Floats) -> Fit:
    scaled = answers.scaled(temperatures)
    confidence = np.exp(scaled.max(axis=1))
    return Fit(
        confidence=float(confidence.mean()),
        calibration_error=calibration_error(confidence, _correct(answers)),
        surprise=float(-scaled[np.arange(len(answers.gold)), answers.gold].mean()),
    )


def _correct(answers: Answers) -> NDArray[np.bool_]:
    correct: NDArray[np.bool_] = answers.log_probs.argmax(axis=1) == answers.gold
    return correct
