"""From probabilities to what is answered, and what is counted of it.

Of a canary the candidate answers, unless it failed; of a shadow, and off trial, the routed prompts.
"""

from __future__ import annotations

from collections.abc import Mapping

from isogloss.prompts.format.problem import ASSIGNED, expected_level
from isogloss.prompts.languages.languages import UNDETERMINED
from isogloss.prompts.languages.pretraining import Pretraining
from isogloss.serving.pipeline.planning import Plan, Share
from isogloss.serving.pipeline.scoring import Probabilities, Scores, Unscorable
from isogloss.serving.registry.candidates import key_of
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    LabelScore,
    LanguageAnswer,
    MemberAnswer,
    MixturePart,
    PromptAnswer,
    Result,
    RouteAnswer,
    TrialAnswer,
)
from isogloss.serving.telemetry.metrics import ServingMetrics

MOST_AT_ONCE = 4096
"""Scores that are ranked or written on the event loop; more are left to a thread."""
SCORE_DIGITS = 6
"""Beyond these a score depends on how a batch happened to be put together."""


def result_of(
    plan: Plan, scores: Scores, request: ClassifyRequest, pretraining: Pretraining | None
) -> Result:
    """Answer one text; `pretraining`: what the model read of each language.

    Raises:
        Unscorable: the model's numbers overflow under the prompt that should answer.
    """
    share, probabilities = _answering(plan, scores)
    read = [plan.text_in(template) for template in share.prompt.loaded.templates]
    ranked = sorted(
        zip(share.prompt.loaded.labels, probabilities, strict=True), key=lambda pair: -pair[1]
    )
    listed = [
        LabelScore(label=label, score=round(value, SCORE_DIGITS))
        for label, value in ranked[: request.top_k]
    ]
    by_label = dict(ranked)
    return Result(
        label=listed[0].label,
        score=listed[0].score,
        abstained=request.abstain is not None and listed[0].score < request.abstain,
        labels=_assigned(share, by_label) if share.prompt.loaded.independent else None,
        level=_level(share, by_label) if share.prompt.loaded.problem == "ordered" else None,
        scores=listed,
        language=_language(plan.heaviest, pretraining, detected=request.language is None),
        route=_route(plan.heaviest),
        prompt=_prompt(share.prompt),
        mixture=_mixture(plan),
        trial=_trial(plan, share),
        tokens=max(len(text.ids) for text in read),
        truncated=any(text.truncated for text in read),
    )


def _assigned(share: Share, by_label: Mapping[str, float]) -> list[str]:
    """The labels that reach their thresholds, the likeliest first."""
    thresholds = (share.route.thresholds if share.route else None) or {}
    return [name for name, p in by_label.items() if p >= thresholds.get(name, ASSIGNED)]


def _level(share: Share, by_label: Mapping[str, float]) -> float:
    """The mean of the levels' places, from 0: their order is that of the prompt's labels."""
    levels = share.prompt.loaded.labels
    return round(expected_level(by_label[name] for name in levels), SCORE_DIGITS)


def written(answer: ClassifyResponse) -> bytes:
    """An answer as JSON, written result by result: each keeps Python's lock only for a moment."""
    frame = answer.model_copy(update={"results": []}).model_dump_json()
    before, _, after = frame.rpartition("[]")
    results = ",".join(result.model_dump_json() for result in answer.results)
    return f"{before}[{results}]{after}".encode()


def count(metrics: ServingMetrics, task: str, result: Result) -> None:
    """Count a text that was answered."""
    metrics.texts.labels(task, result.route.clade or "", result.route.reason).inc()
    metrics.language_texts.labels(result.language.code).inc()
    if result.language.detected:
        metrics.detection_confidence.observe(result.language.confidence)
    for answered in result.mixture or (result,):
        metrics.prompt_texts.labels(answered.prompt.name).inc()
    if result.mixture:
        metrics.mixed_texts.labels(task).inc()


def count_trial(metrics: ServingMetrics, plan: Plan, scores: Scores, seconds: float) -> None:
    """Count a text whose route is on trial, if it is, and that was so many seconds underway."""
    if plan.on_trial is None:
        return
    with metrics.trials.counting(key_of(plan.on_trial.trial), plan.clade) as tally:
        if plan.candidate is None:
            tally.off_trial.observe(seconds)
            return
        tally.texts += 1
        tally.on_trial.observe(seconds)
        if scores.candidate is None:
            tally.failures += 1
        elif not isinstance(scores.routed, Unscorable):
            tally.compare(
                _by_label(plan.heaviest.prompt, scores.routed),
                _by_label(plan.candidate.prompt, scores.candidate),
            )


def _answering(plan: Plan, scores: Scores) -> tuple[Share, Probabilities]:
    """The share that answers, and what it says."""
    if plan.candidate and scores.candidate and _is_canary(plan):
        return plan.candidate, scores.candidate
    if isinstance(scores.routed, Unscorable):
        raise scores.routed
    return plan.heaviest, scores.routed


def _is_canary(plan: Plan) -> bool:
    return plan.on_trial is not None and plan.on_trial.trial.kind == "canary"


def _trial(plan: Plan, answering: Share) -> TrialAnswer | None:
    if plan.on_trial is None or plan.candidate is None:
        return None
    trial = plan.on_trial.trial
    return TrialAnswer(name=trial.name, kind=trial.kind, side=answering.role)


def _mixture(plan: Plan) -> list[MixturePart] | None:
    if len(plan.routed) == 1:
        return None
    return [
        MixturePart(
            prompt=_prompt(share.prompt),
            clade=_route(share).clade,
            weight=round(share.weight, SCORE_DIGITS),
        )
        for share in plan.routed
    ]


def _language(share: Share, pretraining: Pretraining | None, *, detected: bool) -> LanguageAnswer:
    language, known = share.language, None
    if pretraining is not None and language is not UNDETERMINED:
        known = round(pretraining.shares.get(language.code, 0.0), SCORE_DIGITS)
    return LanguageAnswer(
        code=language.code,
        name=language.name,
        confidence=round(float(share.confidence), SCORE_DIGITS),
        detected=detected,
        known=known,
    )


def _route(share: Share) -> RouteAnswer:
    lineage = share.language.lineage
    if share.route is None:
        return RouteAnswer(clade=None, lineage=lineage, reason="override")
    return RouteAnswer(clade=share.route.clade, lineage=lineage, reason=share.route.reason)


def _prompt(prompt: ServedPrompt) -> PromptAnswer:
    joined = prompt.loaded.joined
    members = [MemberAnswer(name=m.name, version=m.version, digest=m.digest) for m in joined or ()]
    return PromptAnswer(
        name=prompt.name, version=prompt.version, digest=prompt.digest, members=members or None
    )


def _by_label(prompt: ServedPrompt, values: Probabilities) -> dict[str, float]:
    return dict(zip(prompt.loaded.labels, values, strict=True))
