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
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.batching.batcher import Batcher, BatchStats, Row
from isogloss.serving.batching.costs import CostTable, Pricing
from isogloss.serving.batching.queueing import BatchQueue
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.answers import MOST_AT_ONCE, count, count_trial, result_of
from isogloss.serving.pipeline.caller import NOBODY_ELSE, Caller
from isogloss.serving.pipeline.gate import Gate, check_texts
from isogloss.serving.pipeline.planning import Chunk, Plan, Planner, Reading, tokens_of
from isogloss.serving.pipeline.scoring import Scores, free_memory, score_batch
from isogloss.serving.pipeline.warm_up import find_costs, run_once
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.registry.registry import Registry
from isogloss.serving.registry.store_calls import StoreCalls
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse, ModelAnswer
from isogloss.serving.telemetry.logs import fields
from isogloss.serving.telemetry.metrics import ServingMetrics
from isogloss.serving.telemetry.tracing import stage_span

logger = logging.getLogger(__name__)

Done = TypeVar("Done")

_PLANNED_HERE_CHARS = 1000
"""A lone request of no more is planned where it stands: quicker than a thread and back."""
_CHECKED_HERE_CHARS = 64 << 10


class Classifier:
    """Answers requests for one model, from all callers at once."""

    def __init__(
        self,
        backbone: ServingBackbone,
        planner: Planner,
        registry: Registry,
        settings: ServingSettings,
        metrics: ServingMetrics,
    ) -> None:
        self.backbone = backbone
        self.registry = registry
        self.metrics = metrics
        self._settings = settings
        self.gate = Gate(settings, metrics, backbone.max_text_tokens)
        self._planning: Batcher[Chunk, list[Reading]] = Batcher(
            planner.plan,
            BatchQueue(settings.budget_chars, 0.0),
            name="isogloss-planning",
            flow_of=lambda chunk: chunk.request.prompt or "",
            observe=partial(self._observe, "plan"),
        )
        self._store_calls = StoreCalls("isogloss-older-prompts")
        self._pricing = Pricing.of(settings)
        self._queue: BatchQueue[Row[Reading, tuple[Scores, ...]]] = BatchQueue(
            self._pricing.budget, settings.deadline_s
        )
        self._scoring: Batcher[Reading, tuple[Scores, ...]] = Batcher(
            partial(score_batch, backbone),
            self._queue,
            name="isogloss-scoring",
            flow_of=lambda reading: self._pricing.flow(
                reading[0].heaviest.prompt.name, tokens_of(reading)
            ),
            observe=self._observe_scoring,
            free_memory=partial(free_memory, backbone.device),
        )
        self._beside = ThreadPoolExecutor(1, "isogloss-beside")
        self._loaded_on = datetime.now(UTC).date().isoformat()
        registry.rehearse_in(self._scoring.call)

    async def classify(
        self, request: ClassifyRequest, caller: Caller = NOBODY_ELSE
    ) -> ClassifyResponse:
        """Answer one request, all its inputs under one generation; raises as `ask`."""
        return (await self.ask(request, (), caller))[0]

    async def ask(
        self, request: ClassifyRequest, tasks: Sequence[str], caller: Caller = NOBODY_ELSE
    ) -> list[ClassifyResponse]:
        """Answer one request for several tasks, each text read once: an answer for each of them.

        Args:
            request: whose own task counts where no tasks are given.
            tasks: by name; not together with a prompt.
            caller: who asks.

        Cancelling it, or its time running out, drops what the model has not begun with.

        Raises:
            QueueFull: the request was not let in; no work was done on it.
            TooLate: its time ran out.
            IsoglossError: as the contract's table of errors says.
        """
        whole, caller = await self._begin(request, tuple(tasks), caller)
        async with self.gate.enter(whole.texts, caller) as admitted:
            admitted_s = time.perf_counter()
            readings = await self._plan(whole, caller)  # detect, route, tokenize
            self.gate.settle(caller, admitted, sum(map(tokens_of, readings)))
            scores = await self._score(readings, caller)  # batch, score
        return await self._answer(whole, readings, scores, time.perf_counter() - admitted_s)

    async def _begin(
        self, request: ClassifyRequest, tasks: tuple[str, ...], caller: Caller
    ) -> tuple[Chunk, Caller]:
        """Check the texts, and take the snapshot and the prompt that will answer them."""
        texts = request.texts
        check = partial(check_texts, texts, self._settings)
        if sum(map(len, texts)) <= _CHECKED_HERE_CHARS:
            check()
        else:
            await self._apart(check)
        if self._settings.log_texts:
            logger.info("texts of a request", extra=fields(texts=list(texts)))
        whole = Chunk(request, texts, self.registry.current, caller.routing_key, tasks=tasks)
        if request.prompt is None:
            return whole, caller
        started_s = time.perf_counter()
        whole = replace(whole, override=await self._find(request.prompt, whole, caller))
        return whole, caller.after(time.perf_counter() - started_s)

    async def _find(self, reference: str, whole: Chunk, caller: Caller) -> ServedPrompt:
        """Find the prompt that a request names; the store is asked for what is not in memory.

        Raises:
            NotFound, InvalidInput: there is none, or it cannot answer here.
            StoreError: it cannot be read.
            StoreSilent: not within the request's time, or that which the store may take.
        """
        snapshot = whole.snapshot
        if (here := snapshot.at_hand(reference)) is not None:
            return here
        with self.gate.outside(whole.texts, caller):
            return await self._store_calls.call(
                snapshot.state.resolve(reference),
                partial(snapshot.find, reference),
                caller.within(self._settings.store_timeout_s),
            )

    async def _plan(self, whole: Chunk, caller: Caller) -> list[Reading]:
        """Plan a request beside others', or on the spot where it is short and nobody else is in."""
        size, texts = whole.characters, len(whole.texts)
        with self._scoring.expect(), stage_span("plan", caller.traceparent, texts=texts):
            if self.gate.requests == 1 and size <= _PLANNED_HERE_CHARS:
                return self._planning.run_here(whole, size, caller.request_id)
            chunks = whole.divided(self._settings.budget_chars)
            sized = [(chunk, chunk.characters) for chunk in chunks]
            planned = await self._planning.submit(sized, caller.client, caller.request_id)
            return [reading for readings in planned for reading in readings]

    async def _score(self, readings: Sequence[Reading], caller: Caller) -> list[tuple[Scores, ...]]:
        """Have the model read each text, in batches with others'."""
        priced = [(reading, self._pricing.price(tokens_of(reading))) for reading in readings]
        with stage_span("score", caller.traceparent, texts=len(priced)):
            return await self._scoring.submit(priced, caller.client, caller.request_id)

    async def _answer(
        self,
        whole: Chunk,
        readings: Sequence[Reading],
        scores: Sequence[tuple[Scores, ...]],
        seconds: float,
    ) -> list[ClassifyResponse]:
        finish = partial(self._finish, whole, readings, scores, seconds)
        plans = (plan for reading in readings for plan in reading)
        if sum(len(plan.heaviest.prompt.loaded.labels) for plan in plans) <= MOST_AT_ONCE:
            return finish()
        return await self._apart(finish)

    def _finish(
        self,
        whole: Chunk,
        readings: Sequence[Reading],
        scores: Sequence[tuple[Scores, ...]],
        seconds: float,
    ) -> list[ClassifyResponse]:
        by_task = zip(
            whole.asked, zip(*readings, strict=True), zip(*scores, strict=True), strict=True
        )
        return [
            self._finish_task(whole, task, list(zip(plans, said, strict=True)), seconds)
            for task, plans, said in by_task
        ]

    def _finish_task(
        self, whole: Chunk, task: str, scored: Sequence[tuple[Plan, Scores]], seconds: float
    ) -> ClassifyResponse:
        diet = self.backbone.pretraining
        results = [result_of(*each, whole.request, diet) for each in scored]
        for result in results:
            count(self.metrics, task, result)
        for each in scored:
            count_trial(self.metrics, *each, seconds)
        return ClassifyResponse(
            model=self.backbone.model_id,
            task=task,
            generation=whole.snapshot.generation,
            results=results,
        )

    async def _apart(self, work: Callable[[], Done]) -> Done:
        """Do what grows with a request beside the event loop, in a thread for such things alone."""
        return await asyncio.get_running_loop().run_in_executor(self._beside, work)

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
            partial(self.registry.vet, prompts, given),
            self._settings.request_timeout_s,
        )

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
        snapshot, limit_s = self.registry.current, self._settings.calibration_s
        self._scoring.call(partial(run_once, self.backbone, snapshot))
        if self._settings.budget_tokens is None and limit_s > 0:
            self._price_by(
                self._scoring.call(partial(find_costs, self.backbone, snapshot, limit_s))
            )

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
            description=f"{backbone.architecture}, frozen, under soft prompts by language family",
            release_date=self._loaded_on,
        )

    def close(self) -> None:
        """Stop; whoever still waits is told so. Idempotent; to be called on the event loop."""
        self._planning.close()
        self._scoring.close()
        self._beside.shutdown(wait=False)

    def _observe(self, stage: str, batch: BatchStats[Any]) -> None:
        self.metrics.stage_seconds.labels(stage).observe(batch.running_s)
        if batch.failed_runs:
            failed = batch.failed_runs - batch.out_of_memory
            self.metrics.failed_runs.labels(stage, "error").inc(failed)
            self.metrics.failed_runs.labels(stage, "memory").inc(batch.out_of_memory)

    def _observe_scoring(self, batch: BatchStats[Reading]) -> None:
        self._observe("score", batch)
        each = [tokens_of(reading) for reading in batch.work]
        tokens = sum(each)
        self.metrics.queue_seconds.observe(batch.queued_s)
        self.metrics.batch_tokens.observe(tokens)
        self.metrics.batch_texts.observe(batch.rows)
        self.gate.observe_speed(tokens, batch.running_s)
        predicted_s = self._pricing.predicted_s(each)
        if predicted_s and not batch.failed_runs:
            self.metrics.batch_cost_ratio.observe(batch.running_s / predicted_s)
