"""Which prompts answer a text whose language is uncertain, and how much each of them counts.

Where the detector is torn between languages that different prompts answer, the text is read under
each of those prompts, and their label probabilities are mixed by the languages' posterior. Each
further prompt costs its few tokens: the text's keys and values are computed once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from isogloss.prompts.languages.languages import UNDETERMINED, Language
from isogloss.prompts.languages.languages import language as language_of
from isogloss.serving.detection.detection import Detection
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.registry.snapshot import Snapshot
from isogloss.serving.schemas import RouteAnswer

LEAST_WEIGHT = 0.05
"""A prompt that would count less than this is left out: it costs as much as one that decides."""


@dataclass(frozen=True, eq=False, slots=True)
class Share:
    """What one prompt contributes to a text's answer.

    `language` is the likeliest of those that the prompt answers, `confidence` its posterior;
    `route` and `temperature` are its.
    """

    prompt: ServedPrompt
    language: Language
    confidence: float
    route: RouteAnswer
    temperature: float
    weight: float = 1.0


def shares(snapshot: Snapshot, task: str, detection: Detection, threshold: float) -> list[Share]:
    """Divide a text among prompts, the heaviest first; the weights sum to 1.

    One prompt answers alone where the languages it answers hold at least `threshold` of the
    posterior (0: always the likeliest language's). Only prompts with the heaviest one's labels
    that follow the text are mixed with it: a prompt before the text would cost a pass over the
    text of its own.

    Raises:
        NotFound: the model has no routes for the task.
    """
    if detection.confidence >= threshold or len(detection.candidates) < 2:
        return [_routed(snapshot, task, detection.language, detection.confidence)]
    ranked = _by_prompt(snapshot, task, detection)
    total = sum(share.weight for share in ranked)
    if ranked[0].weight >= threshold * total:
        return [replace(ranked[0], weight=1.0)]
    mixed = [s for s in ranked if s.prompt.reads_along(ranked[0].prompt)] or ranked[:1]
    kept = [share for share in mixed if share.weight >= LEAST_WEIGHT * total]
    total = sum(share.weight for share in kept)
    return [replace(share, weight=share.weight / total) for share in kept]


def overridden(snapshot: Snapshot, task: str, detection: Detection, prompt: ServedPrompt) -> Share:
    """Give a text to the prompt that the request names.

    Its scores are scaled as they would be if it had been routed to; where routing would take
    another prompt, its temperature for this language was never measured, and is 1.
    """
    language, temperature = detection.language, 1.0
    if task in snapshot.routes:
        chosen, route = snapshot.choose(task, language.lineage)
        temperature = route.temperature if chosen.digest == prompt.digest else 1.0
    answer = RouteAnswer(clade=None, lineage=language.lineage, reason="override")
    return Share(prompt, language, detection.confidence, answer, temperature)


def _routed(snapshot: Snapshot, task: str, language: Language, confidence: float) -> Share:
    prompt, route = snapshot.choose(task, language.lineage)
    answer = RouteAnswer(clade=route.clade, lineage=language.lineage, reason=route.reason)
    confidence = 0.0 if language is UNDETERMINED else confidence
    return Share(prompt, language, confidence, answer, route.temperature)


def _by_prompt(snapshot: Snapshot, task: str, detection: Detection) -> list[Share]:
    """Each prompt once, with the posterior of all candidates routed to it; the heaviest first."""
    found: dict[str, Share] = {}
    for code, posterior in detection.candidates:
        own = _routed(snapshot, task, language_of(code), posterior)
        known = found.get(own.prompt.digest, replace(own, weight=0.0))
        found[own.prompt.digest] = replace(known, weight=known.weight + posterior)
    return sorted(found.values(), key=lambda share: -share.weight)
