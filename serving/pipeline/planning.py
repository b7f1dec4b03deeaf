"""Which language, which prompt, which tokens: all that is decided before the model runs.

Texts of many requests are detected and tokenized together: both cost less by the batch. A large
request comes in pieces, so that it keeps nobody else's waiting. Nothing here asks the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from isogloss.prompts.errors import InvalidInput, IsoglossError
from isogloss.prompts.languages.languages import language as language_of
from isogloss.prompts.model.tokenizer import TokenizedText
from isogloss.serving.config import DEFAULT_TASK
from isogloss.serving.detection.detectors import Detection, Detector
from isogloss.serving.pipeline.mixture import Share, overridden, shares
from isogloss.serving.pipeline.placement import Placement, place
from isogloss.serving.pipeline.scoring import Part, Reading, ServingBackbone
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.registry.snapshot import Snapshot
from isogloss.serving.schemas import ClassifyRequest, LanguageAnswer, RouteAnswer


@dataclass(frozen=True, eq=False)
class Job:
    """One request, or a piece of it, with the generation it will be answered under."""

    request: ClassifyRequest
    texts: Sequence[str]
    snapshot: Snapshot
    routing_key: str = ""
    """What trials go by; empty: each text's own words."""
    override: ServedPrompt | None = None
    """The prompt that the request names."""
    begins_at: int = 0
    """Place of the first text among the request's."""

    @property
    def characters(self) -> int:
        """Of its texts."""
        return sum(map(len, self.texts))

    def pieces(self, characters: int) -> list[Job]:
        """Divide it, in order, into jobs of no more than so many characters, or of one text."""
        starts, room = [0], characters
        for index, text in enumerate(self.texts):
            if index > starts[-1] and len(text) > room:
                starts.append(index)
                room = characters
            room -= len(text)
        ends = [*starts[1:], len(self.texts)]
        return [
            replace(self, texts=self.texts[start:end], begins_at=self.begins_at + start)
            for start, end in zip(starts, ends, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Plan:
    """How one text will be answered: by which prompts, the heaviest first."""

    reading: Reading
    shares: Sequence[Share]
    language: LanguageAnswer
    truncated: bool
    placement: Placement | None = None
    """Where its route is on trial."""

    @property
    def route(self) -> RouteAnswer:
        """The heaviest share's."""
        return self.shares[0].route


@dataclass(frozen=True, eq=False)
class RequestPlan:
    """How a request, or a piece of it, will be answered, text by text."""

    task: str
    plans: list[Plan]

    @classmethod
    def joined(cls, pieces: Sequence[RequestPlan]) -> RequestPlan:
        """Put the plans of one request's pieces together, in order."""
        return cls(pieces[0].task, [plan for piece in pieces for plan in piece.plans])


class Planner:
    """Plans requests for one model."""

    def __init__(
        self, backbone: ServingBackbone, detector: Detector, mixture_threshold: float
    ) -> None:
        self._backbone = backbone
        self._detector = detector
        self._mixture_threshold = mixture_threshold

    def plan(self, jobs: Sequence[Job]) -> list[RequestPlan | IsoglossError]:
        """Plan every request, or say what is wrong with it; one's error is not another's."""
        detected = iter(
            self._detector.detect(
                [text for job in jobs if job.request.language is None for text in job.texts]
            )
        )
        tokenized = iter(
            self._backbone.tokenizer.encode(
                [text for job in jobs for text in job.texts], self._backbone.max_text_tokens
            )
        )
        planned: list[RequestPlan | IsoglossError] = []
        for job in jobs:
            tokens = [next(tokenized) for _ in job.texts]
            named = job.request.language
            detections = [next(detected) for _ in job.texts] if named is None else None
            try:
                planned.append(_plan(job, tokens, detections, self._mixture_threshold))
            except IsoglossError as error:
                planned.append(error)
        return planned


def _plan(
    job: Job,
    tokens: Sequence[TokenizedText],
    detections: Sequence[Detection] | None,
    mixture_threshold: float,
) -> RequestPlan:
    override = _override(job)
    task = override.loaded.card.task if override else job.request.task or DEFAULT_TASK
    found = detections or [Detection(language_of(job.request.language or ""), 1.0)] * len(tokens)
    plans = []
    for index, (text, detection) in enumerate(zip(tokens, found, strict=True)):
        if not text.ids:
            raise InvalidInput(
                f"inputs[{job.begins_at + index}]: this model has no tokens for the text; send "
                "other characters"
            )
        if override is not None:
            chosen = [overridden(job.snapshot, task, detection, override)]
        else:
            chosen = shares(job.snapshot, task, detection, mixture_threshold)
        placement = None
        if job.snapshot.trials:
            placement = place(job.snapshot, task, chosen, job.routing_key or job.texts[index])
        plans.append(_plan_text(text, chosen, placement, detected=detections is not None))
    return RequestPlan(task, plans)


def _plan_text(
    text: TokenizedText, chosen: Sequence[Share], placement: Placement | None, *, detected: bool
) -> Plan:
    """Read the text under each share's prompt; the heaviest says what language and route it was."""
    heaviest = chosen[0]
    language = LanguageAnswer(
        code=heaviest.language.code,
        name=heaviest.language.name,
        confidence=round(float(heaviest.confidence), 6),
        detected=detected,
    )
    parts = tuple(Part(share.prompt, share.temperature, share.weight) for share in chosen)
    reading = Reading(text.ids, parts, placement.part if placement else None)
    return Plan(reading, chosen, language, text.truncated, placement)


def _override(job: Job) -> ServedPrompt | None:
    """Take the prompt the request names; raises InvalidInput where it is for another task."""
    prompt, task = job.override, job.request.task
    if prompt is None:
        return None
    own = prompt.loaded.card.task
    if task is not None and task != own:
        raise InvalidInput(
            f"prompt: {job.request.prompt!r} is for task {own!r}, not {task!r}; leave out one of "
            "the two"
        )
    return prompt
