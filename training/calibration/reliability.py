"""How well scores fit what was right, with and without their temperatures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.reliability import Bin, calibration_error, reliability_bins
from isogloss.training.calibration.temperatures import Answers, Floats

BINS = 15  # over the best label's probability, as Guo et al. (2017)


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
        for when, fit in (("before", self.before), ("after", self.after)):
            facts.update({f"{name}_{when}": value for name, value in asdict(fit).items()})
        return rounded(facts)


def rounded(facts: dict[str, Any]) -> dict[str, Any]:
    """Numbers as the tables have them."""
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in facts.items()}


def measure(answers: Answers, temperatures: Floats) -> Measured:
    """Compare scores with and without their temperatures, (rows,)."""
    return Measured(
        answers=len(answers.gold),
        accuracy=float(_correct(answers).mean()),
        before=_fit(answers, np.ones(len(answers.gold))),
        after=_fit(answers, temperatures),
    )


def bins(answers: Answers, temperatures: Floats) -> list[Bin]:
    """The bins that hold answers, in order of the confidence at these temperatures, (rows,)."""
    confidence = np.exp(answers.scaled(temperatures).max(axis=1))
    return reliability_bins(confidence, _correct(answers), BINS)


def _fit(answers: Answers, temperatures: Floats) -> Fit:
    scaled = answers.scaled(temperatures)
    return Fit(
        confidence=float(np.exp(scaled.max(axis=1)).mean()),
        calibration_error=calibration_error(bins(answers, temperatures)),
        surprise=float(-scaled[np.arange(len(answers.gold)), answers.gold].mean()),
    )


def _correct(answers: Answers) -> NDArray[np.bool_]:
    correct: NDArray[np.bool_] = answers.log_probs.argmax(axis=1) == answers.gold
    return correct
