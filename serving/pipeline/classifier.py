"""The hot path: detect -> route -> tokenize -> batch -> score -> answer.

One classifier runs one model. The HTTP replicas and `isogloss classify` use this same object. Two
batchers stand in a row: while the model scores one batch, the next is detected and tokenized. In
front of both stands the admission: whoever is let in gets an answer, unless their time runs out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from isogloss.serving.batching.batcher import Batcher, BatchStats, Row
from isogloss.serving.batching.costs import CostTable
from isogloss.serving.batching.queueing import BatchQueue
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline import placement
from isogloss.serving.pipeline.answers import MOST_AT_ONCE, result_of
from isogloss.serving.pipeline.caller import NOBODY_ELSE, Caller
from isogloss.serving.pipeline.gate import Gate
from isogloss.serving.pipeline.limits import check_texts
from isogloss.serving.pipeline.planning import Job, Planner, RequestPlan
from isogloss.serving.pipeline.pricing import Pricing, find_costs
from isogloss.serving.pipeline.scoring import (
    Part,
    Reading,
    Scores,
    ServingBackbone,
    free_memory,
    score_batch,
    score_readings,
)
from isogloss.serving.registry.bank import PromptBank
from isogloss.serving.registry.live import LiveBank
from isogloss.serving.registry.residents import ServedPrompt
from isogloss.serving.registry.store_calls import StoreCalls
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse, ModelAnswer, Result
from isogloss.serving.telemetry.logs import fields
from isogloss.serving.telemetry.metrics import ServingMetrics
from isogloss.serving.telemetry.tracing import stage_span

logger = logging.getLogger(__name__)

Done = TypeVar("Done")

_PLANNED_HERE_CHARS = 1000
"""A lone request of no more is planned where it stands: quicker than a thread and back."""
_CHECKED_HERE_CHARS = 64 << 10
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
        self.gate = Gate(settings, metrics, backbone.max_text_tokens)
        self._planning: Batcher[Job, RequestPlan] = Batcher(
            planner.plan,
            BatchQueue(settings.budget_chars, 0.0),
            name="isogloss-planning",
            flow_of=lambda job: job.request.prompt or "",
            observe=partial(self._observe, "plan"),
        )
        self._store_calls = StoreCalls("isogloss-older-prompts")
        self._pricing = Pricing.of(settings)
        self._queue: BatchQueue[Row[Reading, Scores]] = BatchQueue(
            self._pricing.budget, settings.deadline_s
        )
        self._scoring: Batcher[Reading, Scores] = Batcher(
            partial(score_batch, backbone),
            self._queue,
            name="isogloss-scoring",
            flow_of=lambda reading: self._pricing.flow(reading),
            observe=self._observe_scoring,
            free_memory=partial(free_memory, backbone.device),
        )
        self._beside = ThreadPoolExecutor(1, "isogloss-beside")
        bank.rehearse_in(self._scoring.call)

    async def classify(
        self, request: ClassifyRequest, caller: Caller = NOBODY_ELSE
    ) -> ClassifyResponse:
        """Answer one request, all its inputs under one generation.

        Cancelling it, or its time running out, drops what the model has not begun with.

        Raises:
            QueueFull: the request was not let in; no work was done on it.
            TooLate: its time ran out.
            IsoglossError: as the contract's table of errors says.
        """
        texts = await self._checked(request.texts)
        if self._settings.log_texts:
            logger.info("texts of a request", extra=fields(texts=list(texts)))
        started_s, bank = time.perf_counter(), self.bank.current
        override = await self._named_prompt(bank, request.prompt, texts, caller)
        caller = caller.after(time.perf_counter() - started_s)
        job = Job(request, texts, bank, caller.routing_key, override)
        async with self.gate.enter(texts, caller) as place:
            admitted_s = time.perf_counter()
            with self._scoring.expect(), stage_span("plan", caller.traceparent, texts=len(texts)):
                planned = await self._plan(job, caller)
            readings = [plan.reading for plan in planned.plans]
            self.gate.settle(caller, place, sum(reading.tokens for reading in readings))
            priced = [(reading, self._pricing.price(reading)) for reading in readings]
            with stage_span("score", caller.traceparent, texts=len(priced)):
                scores = await self._scoring.submit(priced, caller.client)
        finish = partial(self._answer, job, planned, scores, time.perf_counter() - admitted_s)
        if sum(len(each.prompt.resident.labels) for each in readings) <= MOST_AT_ONCE:
            return finish()
        return await self._apart(finish)

    async def _named_prompt(
        self, bank: PromptBank, reference: str | None, texts: Sequence[str], caller: Caller
    ) -> ServedPrompt | None:
        """Find the prompt that a request names; the store is asked for what is not in memory.

        Raises:
            NotFound, InvalidInput: there is none, or it cannot answer here.
            StoreError: it cannot be read.
            StoreSilent: not within the request's time, or that which the store may take.
        """
        if reference is None:
            return None
        if (here := bank.at_hand(reference)) is not None:
            return here
        with self.gate.outside(texts, caller):
            return await self._store_calls.call(
                bank.state.resolve(reference),
                partial(bank.find, reference),
                caller.within(self._settings.store_timeout_s),
            )

    async def vet(self, prompts: Mapping[str, str], given: Mapping[str, bytes]) -> None:
        """Require that prompts can answer here, before they do: references by digest.

        Args:
            prompts: to be tried, unless they are in use.
            given: files of those that are not in the store yet, by digest.

        Raises:
            InvalidPrompt: one cannot; the message says which and why.
            StoreError, StoreSilent: one cannot be read, or not in time.
        """
        await self._store_calls.call(
            ("vet", tuple(prompts)),
            partial(self.bank.vet, prompts, given),
            self._settings.request_timeout_s,
        )

    async def _plan(self, job: Job, caller: Caller) -> RequestPlan:
        """Plan a request beside others', or on the spot where it is short and nobody else is in."""
        size = job.characters
        if self.gate.requests == 1 and size <= _PLANNED_HERE_CHARS:
            return self._planning.run_here(job, size)
        pieces = [(piece, piece.characters) for piece in job.pieces(self._settings.budget_chars)]
        return RequestPlan.joined(await self._planning.submit(pieces, caller.client))

    async def _checked(self, texts: Sequence[str]) -> Sequence[str]:
        check = partial(check_texts, texts, self._settings)
        if sum(map(len, texts)) <= _CHECKED_HERE_CHARS:
            return check()
        return await self._apart(check)

    async def _apart(self, work: Callable[[], Done]) -> Done:
        """Do what grows with a request beside the event loop, in a thread for such things alone."""
        return await asyncio.get_running_loop().run_in_executor(self._beside, work)

    async def drain(self, timeout_s: float) -> bool:
        """Let nobody in any more, and wait until all who are in have their answers.

        Returns:
            Whether they have; False once the time is over.
        """
        return await self.gate.drain(timeout_s)

    def warm_up(self) -> None:
        """Run the model once under each prompt, so that the first request is no slower than others,
        and find out how large its batches had better be.

        To be called before there are requests.
        """
        self._scoring.call(self._run_once)
        if self._settings.budget_tokens is None and self._settings.calibration_s > 0:
            limit_s = self._settings.calibration_s
            self._price_by(
                self._scoring.call(partial(find_costs, self.backbone, self.bank.current, limit_s))
            )

    def _run_once(self) -> None:
        (words,) = self.backbone.tokenizer.encode([_WARM_UP_TEXT], self.backbone.max_text_tokens)
        bank = self.bank.current
        alone = [Reading(words.ids, (Part(prompt),)) for prompt in bank.answering]
        score_readings(self.backbone, alone)
        for rehearsal in placement.rehearsals(bank, words.ids):
            score_batch(self.backbone, [rehearsal])

    def _price_by(self, table: CostTable | None) -> None:
        """Price texts by a cost table from now on; nothing may wait."""
        self._pricing = Pricing.of(self._settings, table)
        self._queue.resize(self._pricing.budget, self._pricing.patience_s)
        logger.info("a batch may cost %d by %s", self._pricing.budget, table or "tokens")

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
            dtype=str(backbone.linear_dtype).removeprefix("torch."),
        )

    def close(self) -> None:
        """Stop; whoever still waits is told so. Idempotent; to be called on the event loop."""
        self._planning.close()
        self._scoring.close()
        self._beside.shutdown(wait=False)

    def _answer(
        self, job: Job, planned: RequestPlan, scores: Sequence[Scores], seconds: float
    ) -> ClassifyResponse:
        results = [
            result_of(*each, job.request) for each in zip(planned.plans, scores, strict=True)
        ]
        self._count(planned, results)
        if job.bank.trials:
            self._count_trials(planned, scores, seconds)
        return ClassifyResponse(
            model=self.backbone.model_id,
            task=planned.task,
            generation=job.bank.generation,
            results=results,
        )

    def _count(self, planned: RequestPlan, results: Sequence[Result]) -> None:
        for plan, result in zip(planned.plans, results, strict=True):
            clade = plan.route.clade or ""
            self.metrics.texts.labels(planned.task, clade, plan.route.reason).inc()
            self.metrics.language_texts.labels(plan.language.code).inc()
            if plan.language.detected:
                self.metrics.detection_confidence.observe(plan.language.confidence)
            for answered in result.mixture or (result,):
                self.metrics.prompt_texts.labels(answered.prompt.name).inc()
            if result.mixture:
                self.metrics.mixed_texts.labels(planned.task).inc()

    def _count_trials(self, planned: RequestPlan, scores: Sequence[Scores], seconds: float) -> None:
        for plan, found in zip(planned.plans, scores, strict=True):
            if plan.placement is not None:
                placement.count(self.metrics.trials, plan.reading, plan.placement, found, seconds)

    def _observe(self, stage: str, batch: BatchStats[Any]) -> None:
        self.metrics.stage_seconds.labels(stage).observe(batch.running_s)
        if batch.failed_runs:
            failed = batch.failed_runs - batch.out_of_memory
            self.metrics.failed_runs.labels(stage, "error").inc(failed)
            self.metrics.failed_runs.labels(stage, "memory").inc(batch.out_of_memory)

    def _observe_scoring(self, batch: BatchStats[Reading]) -> None:
        self._observe("score", batch)
        tokens = sum(reading.tokens for reading in batch.work)
        self.metrics.queue_seconds.observe(batch.queued_s)
        self.metrics.batch_tokens.observe(tokens)
        self.metrics.batch_texts.observe(batch.rows)
        self.gate.observe_speed(tokens, batch.running_s)
        predicted_s = self._pricing.predicted_s(batch.work)
        if predicted_s and not batch.failed_runs:
            self.metrics.batch_cost_ratio.observe(batch.running_s / predicted_s)
