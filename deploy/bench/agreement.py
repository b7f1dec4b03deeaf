"""Whether contenders gave the same answers: before that is known, nothing is reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from isogloss.deploy.bench.contest import ContendersDisagree
from isogloss.deploy.bench.turns import Turns

# Texts of a batch whose answers are computed a second time, where nobody else has given them.
SAMPLE_TEXTS = 4


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near one contender's answers are to its judge's."""

    answers: int
    largest_difference: float
    """Of two label log-probabilities."""
    label_agreement: float
    """Share of answers with the same best label."""
    median_margin: float
    """Of the judge's log-probabilities, the best label's over the next: the nearness of ties."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "answers": self.answers,
            "largest_difference": float(f"{self.largest_difference:.3g}"),
            "label_agreement": round(self.label_agreement, 4),
            "median_margin": float(f"{self.median_margin:.3g}"),
        }


def agreements(turns: Sequence[Turns]) -> dict[Turns, Agreement]:
    """Of everyone who has a judge. transformers' own turn, where it had one, spares asking again.

    Raises:
        ContendersDisagree: rounding does not explain a difference.
    """
    heard = {t.entry.point: t.answer for t in turns if t.name == "transformers"}
    found = {}
    for own in turns:
        point, player = own.entry.point, own.entry.player
        if player.judge is None or own.answer is None:
            continue
        judged = heard.get(point) if player.kind == "ours" else None
        if judged is None:
            judged = player.judge(point.batch(0).first(SAMPLE_TEXTS)).cpu()
        found[own] = agree(own.answer[: len(judged)], judged, player.name, player.tolerance)
    return found


def agree(answers: Tensor, judged: Tensor, name: str, tolerance: float) -> Agreement:
    """Compare label log-probabilities, (answers, labels).

    Raises:
        ContendersDisagree: they are further apart than the tolerance, or not numbers.
    """
    answers, judged = answers.float(), judged.float()
    difference = float((answers - judged).abs().max())
    if not difference <= tolerance:
        raise ContendersDisagree(
            f"{name}: its label log-probabilities are {difference:.2g} away from its judge's, more "
            f"than {tolerance:g}; nothing is reported"
        )
    best = judged.topk(2, dim=-1).values
    return Agreement(
        len(judged),
        difference,
        float((answers.argmax(-1) == judged.argmax(-1)).float().mean()),
        float((best[:, 0] - best[:, 1]).median()),
    )
