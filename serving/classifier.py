"""The hot path: detect -> route -> tokenize -> batch -> score -> answer.

One classifier runs one model. The HTTP replicas and `isogloss classify` use this same object. Two
batchers stand in a row: while the model scores one batch, the next is detected and tokenized.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from serving.bank import ServedPrompt
from serving.batcher import Batcher, BatchStats
from serving.config import ServingSettings
from serving.limits import check_texts
from serving.live import LiveBank
from serving.metrics import ServingMetrics
from serving.mixture import Share
from serving.planning import Job, Plan, Planner, RequestPlan
from serving.queueing import BatchQueue
from serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    LabelScore,
    MixturePart,
    ModelAnswer,
    PromptAnswer,
    Result,
)
from serving.scoring import Part, Probabilities, Reading, ServingBackbone, score_readings

SCORE_DIGITS = 6
"""Beyond these a score depends on how a batch happened to be put together."""

_WARM_UP_TEXT = "The first sentence takes longest, so it had better be ours."


class Classifier:
    """Answers requests for one model, from all callers at once."""

    def __init__(
        self,
        backbone: ServingBackbone,
        planner: Planner,
        bank: LiveBank,
        settings: ServingSettings,
        metrics: ServingMetrics,
    ) -> None:
        self.backbone = backbone
        self.bank = bank
        self.metrics = metrics
        self._settings = settings
        self._planning: Batcher[Job, RequestPlan] = Batcher(
            planner.plan,
            BatchQueue(settings.budget_chars, 0.0, settings.max_queue_chars, "characters"),
            name="isogloss-planning",
            observe=self._observe_planning,
        )
        self._scoring: Batcher[Reading, Probabilities] = Batcher(
            partial(score_readings, backbone),
            BatchQueue(settings.budget_tokens, settings.deadline_s, settings.max_queue_tokens),
            name="isogloss-scoring",
            observe=self._observe_scoring,
        )

    async def classify(self, request: ClassifyRequest) -> ClassifyResponse:
        """Answer one request, all its inputs under one generation.

        Raises:
            IsoglossError: as the contract's table of errors says.
        """
        texts = check_texts(request.texts, self._settings)
        self._scoring.check_room()
        job = Job(request, texts, self.bank.current)
        with self._scoring.expect():
            (planned,) = await self._planning.submit([(job, sum(map(len, texts)))])
        readings = [(plan.reading, plan.reading.tokens) for plan in planned.plans]
        scores = await self._scoring.submit(readings)
        return self._answer(job, planned, scores)

    def warm_up(self) -> None:
        """Run the model once under each prompt, so that the first request is no slower than others.

        To be called before there are requests.
        """
        (words,) = self.backbone.tokenizer.encode([_WARM_UP_TEXT], self.backbone.max_text_tokens)
        prompts = self.bank.current.served.values()
        score_readings(self.backbone, [Reading(words.ids, (Part(prompt),)) for prompt in prompts])

    async def describe(self) -> ModelAnswer:
        """Tell what the model is."""
        backbone = self.backbone
        return ModelAnswer(
            name=backbone.model_id,
            architecture=backbone.architecture,
            revision=backbone.revision,
            fingerprint=backbone.fingerprint,
            hidden_size=backbone.hidden_size,
            vocab_size=backbone.vocab_size,
            max_text_tokens=backbone.max_text_tokens,
            max_prompt_length=backbone.max_prompt_length,
            device=str(backbone.device),
            dtype=str(backbone.dtype).removeprefix("torch."),
        )

    def close(self) -> None:
        """Stop; whoever still waits is told so. Idempotent; to be called on the event loop."""
        self._planning.close()
        self._scoring.close()

    def _answer(
        self, job: Job, planned: RequestPlan, scores: list[Probabilities]
    ) -> ClassifyResponse:
        self._count(planned)
        return ClassifyResponse(
            model=self.backbone.model_id,
            task=planned.task,
            generation=job.bank.generation,
            results=[
                _result(*each, job.request) for each in zip(planned.plans, scores, strict=True)
            ],
        )

    def _count(self, planned: RequestPlan) -> None:
        for plan in planned.plans:
            clade = plan.route.clade or ""
            self.metrics.texts.labels(planned.task, clade, plan.route.reason).inc()
            for share in plan.shares:
                self.metrics.prompt_texts.labels(share.prompt.name).inc()
            if len(plan.shares) > 1:
                self.metrics.mixed_texts.labels(planned.task).inc()

    def _observe_planning(self, batch: BatchStats) -> None:
        self.metrics.stage_seconds.labels("plan").observe(batch.running_s)

    def _observe_scoring(self, batch: BatchStats) -> None:
        self.metrics.stage_seconds.labels("score").observe(batch.running_s)
        self.metrics.queue_seconds.observe(batch.queued_s)
        self.metrics.batch_tokens.observe(batch.cost)
        self.metrics.batch_texts.observe(batch.rows)


def _result(plan: Plan, probabilities: Probabilities, request: ClassifyRequest) -> Result:
    ranked = sorted(
        zip(plan.reading.prompt.resident.labels, probabilities, strict=True),
        key=lambda scored: -scored[1],
    )
    scores = [LabelScore(label=name, score=round(value, SCORE_DIGITS)) for name, value in ranked]
    return Result(
        label=scores[0].label,
        score=scores[0].score,
        abstained=request.abstain is not None and scores[0].score < request.abstain,
        scores=scores[: request.top_k],
        language=plan.language,
        route=plan.route,
        prompt=_prompt_answer(plan.reading.prompt),
        mixture=_mixture(plan.shares),
        tokens=len(plan.reading.ids),
        truncated=plan.truncated,
    )


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
