"""How well scores fit what was right, before and after they are scaled."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from isogloss.prompts.reliability import Bin, calibration_error, reliability_bins
from isogloss.training.calibration.scaling import Scaling
from isogloss.training.calibration.temperatures import Answers

BINS = 15  # over the best label's probability, as Guo et al. (2017)


@dataclass(frozen=True, slots=True)
class Fit:
    """How well scores fit what was right."""

    confidence: float  # mean probability of the best label
    calibration_error: float  # expected
    surprise: float  # mean negative log-probability of the right label


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of the same answers as the model gives them, and scaled: prior off, then divided."""

    answers: int
    accuracy: float
    accuracy_after: float  # another only where a prior is taken off
    before: Fit
    after: Fit

    def flat(self) -> dict[str, Any]:
        """As columns of a table."""
        facts: dict[str, Any] = {"answers": self.answers, "accuracy": self.accuracy}
        facts["accuracy_after"] = self.accuracy_after
        for when, fit in (("before", self.before), ("after", self.after)):
            facts.update({f"{name}_{when}": value for name, value in asdict(fit).items()})
        return rounded(facts)


def rounded(facts: dict[str, Any]) -> dict[str, Any]:
    """Numbers as the tables have them."""
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in facts.items()}


def measure(answers: Answers, scaling: Scaling) -> Measured:
    """Compare scores as the model gives them with scaled ones."""
    return Measured(
        answers=len(answers.gold),
        accuracy=float(answers.correct.mean()),
        accuracy_after=float(answers.without(scaling.priors).correct.mean()),
        before=_fit(answers, Scaling.none(answers)),
        after=_fit(answers, scaling),
    )


def bins(answers: Answers, scaling: Scaling) -> list[Bin]:
    """The bins that hold answers, in order of the confidence of scaled scores."""
    confidence = np.exp(scaling.log_probs(answers).max(axis=1))
    return reliability_bins(confidence, answers.without(scaling.priors).correct, BINS)


def _fit(answers: Answers, scaling: Scaling) -> Fit:
    scaled = scaling.log_probs(answers)
    return Fit(
        confidence=float(np.exp(scaled.max(axis=1)).mean()),
        calibration_error=calibration_error(bins(answers, scaling)),
        surprise=float(-scaled[np.arange(len(answers.gold)), answers.gold].mean()),
    )
