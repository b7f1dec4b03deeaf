"""From probabilities to what is answered: labels ranked, and the prompts that they came from."""

from __future__ import annotations

from collections.abc import Sequence

from isogloss.serving.pipeline.mixture import Share
from isogloss.serving.pipeline.placement import answering
from isogloss.serving.pipeline.planning import Plan
from isogloss.serving.pipeline.scoring import Scores
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    LabelScore,
    MixturePart,
    PromptAnswer,
    Result,
)

MOST_AT_ONCE = 4096
"""Scores that are ranked or written on the event loop; more are left to a thread."""
SCORE_DIGITS = 6
"""Beyond these a score depends on how a batch happened to be put together."""


def result_of(plan: Plan, found: Scores, request: ClassifyRequest) -> Result:
    """Answer one text.

    Raises:
        Unscorable: the model's numbers overflow under the prompt that should answer.
    """
    chosen = answering(plan.reading, plan.placement, found)
    ranked = sorted(
        zip(chosen.prompt.loaded.labels, chosen.probabilities, strict=True),
        key=lambda scored: -scored[1],
    )
    listed = ranked[: request.top_k]
    scores = [LabelScore(label=name, score=round(value, SCORE_DIGITS)) for name, value in listed]
    return Result(
        label=scores[0].label,
        score=scores[0].score,
        abstained=request.abstain is not None and scores[0].score < request.abstain,
        scores=scores,
        language=plan.language,
        route=plan.route,
        prompt=_prompt_answer(chosen.prompt),
        mixture=_mixture(plan.shares),
        trial=chosen.trial,
        tokens=len(plan.reading.ids),
        truncated=plan.truncated,
    )


def written(answer: ClassifyResponse) -> bytes:
    """An answer as JSON, written result by result: each keeps Python's lock only for a moment."""
    frame = answer.model_copy(update={"results": []}).model_dump_json()
    before, _, after = frame.rpartition("[]")
    results = ",".join(result.model_dump_json() for result in answer.results)
    return f"{before}[{results}]{after}".encode()


def _mixture(shares: Sequence[Share]) -> list[MixturePart] | None:
    if len(shares) == 1:
        return None
    return [
        MixturePart(
            prompt=_prompt_answer(share.prompt),
            clade=share.route.clade,
            weight=round(share.weight, SCORE_DIGITS),
        )
        for share in shares
    ]


def _prompt_answer(prompt: ServedPrompt) -> PromptAnswer:
    return PromptAnswer(name=prompt.name, version=prompt.version, digest=prompt.digest)
