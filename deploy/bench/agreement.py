"""Whether contenders gave the same answers: before that is known, nothing is reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from isogloss.deploy.bench.comparing import ContendersDisagree
from isogloss.deploy.bench.curves import Run

# Texts of a batch whose answers are computed a second time, where nobody else has given them.
SAMPLE_TEXTS = 4


def agreements(runs: Sequence[Run]) -> dict[Run, dict[str, Any]]:
    """Of everyone who has a reference. transformers' own run, where there is one, spares it.

    Raises:
        ContendersDisagree: rounding does not explain a difference.
    """
    given = {run.point: run.answer for run in runs if run.name == "transformers"}
    agreed = {}
    for run in runs:
        point, contender = run.point, run.contender
        if contender.reference is None or run.answer is None:
            continue
        expected = given.get(point) if contender.suffixed else None
        if expected is None:
            expected = contender.reference(point.batch(0).first(SAMPLE_TEXTS)).cpu()
        answers = run.answer[: len(expected)]
        agreed[run] = agree(answers, expected, contender.name, contender.tolerance)
    return agreed


def agree(answers: Tensor, expected: Tensor, name: str, tolerance: float) -> dict[str, Any]:
    """How near label log-probabilities are to the reference's, both (answers, labels).

    Returns:
        As JSON: how many `answers`; the `largest_difference` of two log-probabilities;
        `label_agreement`, the share with the same best label; `median_margin`, of the reference the
        best label's log-probability over the next: the nearness of ties.

    Raises:
        ContendersDisagree: they are further apart than the tolerance, or not numbers.
    """
    answers, expected = answers.float(), expected.float()
    difference = float((answers - expected).abs().max())
    if not difference <= tolerance:
        raise ContendersDisagree(
            f"{name}: its label log-probabilities are {difference:.2g} away from its reference's, "
            f"more than {tolerance:g}; nothing is reported"
        )
    best, next_best = expected.topk(2, dim=-1).values.unbind(-1)
    same = (answers.argmax(-1) == expected.argmax(-1)).float().mean()
    return {
        "answers": len(expected),
        "largest_difference": float(f"{difference:.3g}"),
        "label_agreement": round(float(same), 4),
        "median_margin": float(f"{float((best - next_best).median()):.3g}"),
    }
