"""Which language, which prompts, which tokens: all that is decided before the model runs.

A text is planned into shares: prompts that answer it together, each with its weight. Where the
detector is torn between languages that different prompts answer, the text is read under each of
those prompts, and their label probabilities are mixed by the languages' posterior. A candidate on
trial is one more share, which counts for nothing in the mixture. Each further prompt costs its few
tokens: the text's keys and values are computed once.

A text may be asked about several tasks at once: each has a plan of its own, and all are read in the
text's one pass.

Texts of many requests are detected and tokenized together: both cost less by the batch. A large
request comes in chunks, so that it keeps nobody else's waiting. Nothing here asks the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from isogloss.prompts.errors import InvalidInput, IsoglossError
from isogloss.prompts.format.template import around
from isogloss.prompts.languages.languages import UNDETERMINED, Language
from isogloss.prompts.languages.languages import language as language_of
from isogloss.prompts.model.tokenizer import TokenizedText
from isogloss.prompts.routing.routes import UNIVERSAL, Route
from isogloss.serving.backbone import EncodesTexts
from isogloss.serving.config import DEFAULT_TASK
from isogloss.serving.detection.bounds import bounds_of, within
from isogloss.serving.detection.detectors import Detection, Detector
from isogloss.serving.registry.candidates import OnTrial
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.registry.snapshot import Snapshot
from isogloss.serving.schemas import ClassifyRequest

LEAST_WEIGHT = 0.05
"""A prompt that would count less than this is left out: it costs as much as one that decides."""
CANDIDATE_TEMPERATURE = 1.0
"""As after its promotion: what routes were measured at with other prompts is forgotten then."""


@dataclass(frozen=True, eq=False, slots=True)
class Share:
    """One prompt that a text is read under, and what it contributes to the answer."""

    prompt: ServedPrompt
    temperature: float = 1.0
    """Divides the scores, before they are mixed."""
    weight: float = 1.0
    """In the mixture; those of all routed shares sum to 1."""
    role: Literal["routed", "candidate"] = "routed"
    """A candidate is scored beside the routed prompts and has no part in the mixture."""
    route: Route | None = None
    """What chose the prompt; None: it was named."""
    language: Language = UNDETERMINED
    """The likeliest of those that the prompt answers."""
    confidence: float = 0.0
    """The language's posterior."""
    prior: Mapping[str, float] | None = None
    """Label -> what is taken off its log-probability first: what the prompt says anyway."""


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """How one text will be answered for one task: its tokens, and the shares it is read under.

    Attributes:
        ids: the text's tokens.
        shares: the heaviest first; a candidate comes last.
        truncated: whether the text was longer than the model reads.
        on_trial: the trial on the text's route, also where this text is none of the trial's.
        framed: the text in each template that a prompt of the shares wants around it.
    """

    ids: tuple[int, ...]
    shares: tuple[Share, ...]
    truncated: bool = False
    on_trial: OnTrial | None = None
    framed: Mapping[str, TokenizedText] = field(default_factory=dict)

    def text_in(self, template: str | None) -> TokenizedText:
        """The text as prompts of this template read it."""
        if template is None:
            return TokenizedText(self.ids, self.truncated)
        return self.framed[template]

    @property
    def heaviest(self) -> Share:
        """Answers are in the order of its prompt's labels."""
        return self.shares[0]

    @property
    def routed(self) -> tuple[Share, ...]:
        """The shares of the mixture."""
        return self.shares if self.candidate is None else self.shares[:-1]

    @property
    def candidate(self) -> Share | None:
        """The share of a candidate on trial."""
        last = self.shares[-1]
        return last if last.role == "candidate" else None

    @property
    def clade(self) -> str:
        """The clade of the heaviest share's route, "universal" where no clade's takes the text."""
        route = self.heaviest.route
        return (route.clade if route else None) or UNIVERSAL


Reading = tuple[Plan, ...]
"""One text under a plan for each task that it is asked about; all have its tokens."""


def tokens_of(reading: Reading) -> int:
    """Positions of the model that a text and its prompts take.

    All prompts that follow the text in one template share one pass over it; each before it takes
    its own.
    """
    tokens, shared = 0, set()
    for plan in reading:
        for member in (m for share in plan.shares for m in share.prompt.loaded.members):
            tokens += member.vectors.shape[0]
            if member.position == "prefix" or member.template not in shared:
                tokens += len(plan.text_in(member.template).ids)
            if member.position == "suffix":
                shared.add(member.template)
    return tokens


@dataclass(frozen=True, eq=False)
class Chunk:
    """A request, or some of its texts, with the snapshot that will answer them.

    Attributes:
        routing_key: what trials go by; empty: each text's own words.
        override: the prompt that the request names.
        begins_at: index of the first text among the request's.
        tasks: that are asked about together; none: the one that the request or its prompt names.
    """

    request: ClassifyRequest
    texts: Sequence[str]
    snapshot: Snapshot
    routing_key: str = ""
    override: ServedPrompt | None = None
    begins_at: int = 0
    tasks: tuple[str, ...] = ()

    @property
    def characters(self) -> int:
        """Of its texts."""
        return sum(map(len, self.texts))

    @property
    def asked(self) -> tuple[str, ...]:
        """The label sets: the named prompt's, else those that the request names."""
        if self.override is not None:
            return (self.override.loaded.card.task,)
        return self.tasks or (self.request.task or DEFAULT_TASK,)

    def divided(self, characters: int) -> list[Chunk]:
        """Divide it, in order, into chunks of no more than so many characters, or of one text."""
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


class Planner:
    """Plans requests for one model.

    Args:
        tokenizer: the model's.
        max_text_tokens: longer texts are cut there.
        detector: tells languages that requests do not name.
        mixture_threshold: as in the settings.
    """

    def __init__(
        self,
        tokenizer: EncodesTexts,
        max_text_tokens: int,
        detector: Detector,
        mixture_threshold: float,
    ) -> None:
        self._tokenizer = tokenizer
        self._max_text_tokens = max_text_tokens
        self._detector = detector
        self._mixture_threshold = mixture_threshold

    def plan(self, chunks: Sequence[Chunk]) -> list[list[Reading] | IsoglossError]:
        """Plan every chunk's texts, or say what is wrong with it; one's error is not another's."""
        detected, posteriors = self._detect(chunks)
        texts = [text for chunk in chunks for text in chunk.texts]
        tokenized = iter(self._tokenizer.encode(texts, self._max_text_tokens))
        planned: list[list[Reading] | IsoglossError] = []
        for chunk in chunks:
            tokens = [next(tokenized) for _ in chunk.texts]
            try:
                detections = _detections(chunk, detected, posteriors)
                planned.append(self._plan_chunk(chunk, tokens, detections))
            except IsoglossError as error:
                planned.append(error)
        return planned

    def _detect(
        self, chunks: Sequence[Chunk]
    ) -> tuple[Iterator[Detection], Iterator[Mapping[str, float]]]:
        """Ask the detector about all texts at once: what they are, or what they may be."""
        unknown = [c for c in chunks if c.request.language is None]
        free = [c.texts for c in unknown if c.request.languages is None]
        detected = self._detector.detect([text for texts in free for text in texts])
        if len(free) == len(unknown):
            return iter(detected), iter(())
        bounded = [c.texts for c in unknown if c.request.languages is not None]
        posteriors = self._detector.posteriors([text for texts in bounded for text in texts])
        return iter(detected), iter(posteriors)

    def _plan_chunk(
        self, chunk: Chunk, tokens: Sequence[TokenizedText], detections: Sequence[Detection]
    ) -> list[Reading]:
        _check_override(chunk)
        readings = [
            self._plan_text(chunk, index, text, detection)
            for index, (text, detection) in enumerate(zip(tokens, detections, strict=True))
        ]
        return self._in_templates(chunk.texts, readings)

    def _in_templates(self, texts: Sequence[str], readings: Sequence[Reading]) -> list[Reading]:
        """Add each text in the templates that its prompts want; most want none."""
        wanted: dict[str, list[int]] = {}  # template -> places of texts
        for place, reading in enumerate(readings):
            for template in _templates(reading):
                wanted.setdefault(template, []).append(place)
        framed: dict[int, dict[str, TokenizedText]] = {}  # place of a text -> by template
        for template, places in wanted.items():
            some = [texts[place] for place in places]
            read = self._tokenizer.encode(some, self._max_text_tokens, around(template))
            for place, text in zip(places, read, strict=True):
                framed.setdefault(place, {})[template] = text
        return [
            tuple(replace(plan, framed=framed[place]) for plan in reading)
            if place in framed
            else reading
            for place, reading in enumerate(readings)
        ]

    def _plan_text(
        self, chunk: Chunk, index: int, text: TokenizedText, detection: Detection
    ) -> Reading:
        if not text.ids:
            raise InvalidInput(
                f"inputs[{chunk.begins_at + index}]: this model has no tokens for the text; send "
                "other characters"
            )
        key = chunk.routing_key or chunk.texts[index]
        return tuple(self._plan_task(chunk, task, text, detection, key) for task in chunk.asked)

    def _plan_task(
        self, chunk: Chunk, task: str, text: TokenizedText, detection: Detection, key: str
    ) -> Plan:
        if chunk.override is None:
            shares = route(chunk.snapshot, task, detection, self._mixture_threshold)
        else:
            shares = (_named(chunk.snapshot, task, detection, chunk.override),)
        plan = Plan(text.ids, shares, text.truncated)
        return try_out(plan, chunk.snapshot, task, key) if chunk.snapshot.trials else plan


def _templates(reading: Reading) -> list[str]:
    """What the prompts of a text want around it, each once and always in the same order."""
    wanted = (t for plan in reading for share in plan.shares for t in share.prompt.loaded.templates)
    return sorted({template for template in wanted if template is not None})


def _detections(
    chunk: Chunk, detected: Iterator[Detection], posteriors: Iterator[Mapping[str, float]]
) -> Sequence[Detection]:
    """Return what a chunk's texts are, and take as many from what the detector said.

    Raises:
        UnknownLanguage: the request names a language that is none.
    """
    named, bounded = chunk.request.language, chunk.request.languages
    if named is not None:
        return [Detection(language_of(named), 1.0)] * len(chunk.texts)
    if bounded is None:
        return [next(detected) for _ in chunk.texts]
    own = [next(posteriors) for _ in chunk.texts]  # taken, even where a language is wrong
    bounds = bounds_of(bounded)
    return [within(posterior, bounds) for posterior in own]


def route(
    snapshot: Snapshot, task: str, detection: Detection, threshold: float
) -> tuple[Share, ...]:
    """Divide a text among prompts, the heaviest first; the weights sum to 1.

    One prompt answers alone where the languages it answers hold at least `threshold` of the
    posterior (0: always the likeliest language's). Only prompts with the heaviest one's labels
    that follow the text are mixed with it: a prompt before the text would cost a pass over the
    text of its own.

    Raises:
        NotFound: the model has no routes for the task.
    """
    if detection.confidence >= threshold or len(detection.candidates) < 2:
        return (_routed(snapshot, task, detection.language, detection.confidence),)
    ranked = _by_prompt(snapshot, task, detection)
    total = sum(share.weight for share in ranked)
    if ranked[0].weight >= threshold * total:
        return (replace(ranked[0], weight=1.0),)
    mixed = [s for s in ranked if s.prompt.reads_along(ranked[0].prompt)] or ranked[:1]
    kept = [share for share in mixed if share.weight >= LEAST_WEIGHT * total]
    total = sum(share.weight for share in kept)
    return tuple(replace(share, weight=share.weight / total) for share in kept)


def try_out(plan: Plan, snapshot: Snapshot, task: str, key: str) -> Plan:
    """Add the candidate that is on trial on a text's route, if the text belongs to the trial.

    That goes by the key: a request's `x-routing-key`, so that a user stays on one side, else the
    text itself. A text that several prompts answer together is never on trial, and neither is one
    whose request names a prompt: there is no one routed prompt to compare with.
    """
    if len(plan.shares) > 1 or plan.heaviest.route is None:
        return plan
    on_trial = snapshot.trials.get((task, plan.clade))
    if on_trial is None or not on_trial.trial.takes(key):
        return replace(plan, on_trial=on_trial)
    return replace(plan, shares=(*plan.shares, candidate_share(on_trial)), on_trial=on_trial)


def candidate_share(on_trial: OnTrial) -> Share:
    """What a text on trial is read under beside the routed prompt."""
    return Share(on_trial.candidate, CANDIDATE_TEMPERATURE, weight=0.0, role="candidate")


def _named(snapshot: Snapshot, task: str, detection: Detection, prompt: ServedPrompt) -> Share:
    """Give a text to the prompt that the request names.

    Its scores are scaled as they would be if it had been routed to; where routing would take
    another prompt, its temperature and prior for this language were never measured: 1 and none.
    """
    share = Share(prompt, language=detection.language, confidence=detection.confidence)
    if task in snapshot.routes:
        chosen, route = snapshot.choose(task, share.language.lineage, share.language.code)
        if chosen.digest == prompt.digest:
            return replace(share, temperature=route.temperature, prior=route.prior)
    return share


def _routed(snapshot: Snapshot, task: str, language: Language, confidence: float) -> Share:
    prompt, route = snapshot.choose(task, language.lineage, language.code)
    confidence = 0.0 if language is UNDETERMINED else confidence
    return Share(
        prompt,
        route.temperature,
        route=route,
        language=language,
        confidence=float(confidence),
        prior=route.prior,
    )


def _by_prompt(snapshot: Snapshot, task: str, detection: Detection) -> list[Share]:
    """Each prompt once, with the posterior of all candidates routed to it; the heaviest first."""
    shares: dict[str, Share] = {}
    for code, posterior in detection.candidates:
        share = _routed(snapshot, task, language_of(code), posterior)
        first = shares.get(share.prompt.digest, replace(share, weight=0.0))
        shares[share.prompt.digest] = replace(first, weight=first.weight + posterior)
    return sorted(shares.values(), key=lambda share: -share.weight)


def _check_override(chunk: Chunk) -> None:
    """Require that the named prompt is for the task that the request names, if it names both."""
    asked = chunk.request.task
    if chunk.override is not None and asked not in (None, *chunk.asked):
        raise InvalidInput(
            f"prompt: {chunk.request.prompt!r} is for task {chunk.asked[0]!r}, not {asked!r}; "
            "leave out one of the two"
        )
