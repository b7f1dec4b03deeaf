"""Overload, deadlines, callers who leave and models that fail: everybody gets an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from isogloss.serving.batching.isolation import BatchFailed
from isogloss.serving.pipeline.admission import QueueFull, Stopping
from isogloss.serving.pipeline.caller import Caller, TooLate
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse
from tests.serving.fire import A, B, Fire


async def until(happened: Callable[[], bool]) -> None:
    """Let everybody else on the loop go on until something has happened."""
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0)


def number(classifier: Classifier, name: str, **labels: str) -> float:
    return classifier.metrics.registry.get_sample_value(name, labels) or 0.0


def waiting(classifier: Classifier) -> int:
    """Texts that are planned and wait for the model."""
    return len(classifier._queue)


def test_a_full_queue_refuses_one_client_and_takes_the_next(fire: Fire) -> None:
    async def scenario(classifier: Classifier) -> None:
        held = await fire.hold(classifier)
        request = ClassifyRequest(inputs=["x"] * 10)
        waiting = [asyncio.create_task(classifier.classify(request, A)) for _ in range(7)]
        await asyncio.sleep(0)
        assert number(classifier, "isogloss_queue_texts") == 71
        with pytest.raises(QueueFull, match="71 items are waiting, 71 of them yours"):
            await classifier.classify(request, A)
        assert number(classifier, "isogloss_refused_total", reason="items") == 1
        modest = asyncio.create_task(classifier.classify(ClassifyRequest(inputs="x"), B))
        await asyncio.sleep(0)
        assert number(classifier, "isogloss_queue_clients") == 2
        fire.backbone.gate.set()
        answers = await asyncio.gather(held, modest, *waiting)
        assert all(isinstance(answer, ClassifyResponse) for answer in answers)
        assert (await classifier.classify(request, A)).results  # and it recovers at once
        for name in ("texts", "tokens", "clients"):
            assert number(classifier, f"isogloss_queue_{name}") == 0

    fire.run(scenario, max_queue_items=100)


def test_a_modest_client_is_answered_before_a_greedy_ones_backlog(fire: Fire) -> None:
    done: list[str] = []

    async def scenario(classifier: Classifier) -> None:
        async def ask(name: str, caller: Caller, texts: int) -> None:
            await classifier.classify(ClassifyRequest(inputs=["x" * 20] * texts), caller)
            done.append(name)

        held = await fire.hold(classifier)
        greedy = [asyncio.create_task(ask("greedy", A, 100)) for _ in range(4)]
        await until(lambda: waiting(classifier) == 400)
        modest = asyncio.create_task(ask("modest", B, 1))
        await until(lambda: waiting(classifier) == 401)
        fire.backbone.gate.set()
        await asyncio.gather(held, modest, *greedy)
        assert done.index("modest") <= 1

    fire.run(scenario, budget_tokens=256, max_queue_tokens=200_000)


def test_a_deadline_that_passes_is_said_and_its_work_is_dropped(fire: Fire) -> None:
    async def scenario(classifier: Classifier) -> None:
        held = await fire.hold(classifier)
        late = ClassifyRequest(inputs=["late"] * 3)
        with pytest.raises(TooLate, match=r"x-request-timeout-ms") as error:
            await classifier.classify(late, Caller("b", timeout_s=0.02))
        assert (error.value.status, error.value.error_type) == (503, "unavailable")
        fire.backbone.gate.set()
        await held
        await classifier.classify(ClassifyRequest(inputs="next"), A)
        assert fire.backbone.batches == [[1], [4]]  # none of the late ones' three
        assert number(classifier, "isogloss_left_total", reason="deadline") == 3

    fire.run(scenario)


def test_what_would_be_late_is_refused_at_once(fire: Fire) -> None:
    async def scenario(classifier: Classifier) -> None:
        classifier.gate.observe_speed(10, 10.0)  # a token a second
        held = await fire.hold(classifier)
        with pytest.raises(QueueFull, match="an answer would take about"):
            await classifier.classify(ClassifyRequest(inputs="x"), Caller("b", timeout_s=0.5))
        assert number(classifier, "isogloss_refused_total", reason="deadline") == 1
        fire.backbone.gate.set()
        await held

    fire.run(scenario)


def test_a_caller_who_leaves_takes_their_work_along(fire: Fire) -> None:
    async def scenario(classifier: Classifier) -> None:
        held = await fire.hold(classifier)
        gone = asyncio.create_task(classifier.classify(ClassifyRequest(inputs=["gone"] * 5), B))
        await until(lambda: waiting(classifier) == 5)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        fire.backbone.gate.set()
        await held
        await classifier.classify(ClassifyRequest(inputs="stays"), A)
        assert fire.backbone.batches == [[1], [5]]
        assert number(classifier, "isogloss_left_total", reason="caller") == 5

    fire.run(scenario)


def test_a_poisoned_text_fails_alone(fire: Fire) -> None:
    async def scenario(classifier: Classifier) -> None:
        held = await fire.hold(classifier)
        good = [ClassifyRequest(inputs=[f"good {n}", "x"]) for n in range(8)]
        bad = ClassifyRequest(inputs=["fine", "Z"])
        asked = [asyncio.create_task(classifier.classify(each, A)) for each in (*good, bad)]
        await until(lambda: waiting(classifier) == 18)
        fire.backbone.gate.set()
        await held
        *answers, failed = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(failed, BatchFailed)
        assert [len(answer.results) for answer in answers] == [2] * 8  # type: ignore[union-attr]
        failures = number(classifier, "isogloss_failed_runs_total", stage="score", kind="error")
        assert 1 <= failures <= 6
        alone = [await classifier.classify(each, A) for each in good]
        assert answers == alone

    fire.run(scenario)


def test_want_of_memory_halves_the_batch_and_the_next_ones(fire: Fire) -> None:
    fire.backbone.holds = 8

    async def scenario(classifier: Classifier) -> None:
        texts = [f"text {n:02}" for n in range(32)]
        answer = await classifier.classify(ClassifyRequest(inputs=texts), A)
        assert len(answer.results) == 32
        sizes = [len(batch) for batch in fire.backbone.batches]
        assert sizes[:3] == [32, 16, 8]
        assert max(sizes[3:]) <= 8
        fire.backbone.batches.clear()
        await classifier.classify(ClassifyRequest(inputs=texts), A)
        assert max(len(batch) for batch in fire.backbone.batches) <= 10  # not 32 again
        failures = number(classifier, "isogloss_failed_runs_total", stage="score", kind="memory")
        assert failures >= 2

    fire.run(scenario, budget_tokens=400)


def test_draining_answers_what_is_in_and_lets_nobody_in(fire: Fire) -> None:
    async def scenario(classifier: Classifier) -> None:
        held = await fire.hold(classifier)
        waiting = asyncio.create_task(classifier.classify(ClassifyRequest(inputs="y"), B))
        await asyncio.sleep(0)
        draining = asyncio.create_task(classifier.drain(10))
        await asyncio.sleep(0)
        with pytest.raises(Stopping):
            await classifier.classify(ClassifyRequest(inputs="z"), A)
        assert not draining.done()
        fire.backbone.gate.set()
        assert await draining
        assert (await held).results
        assert (await waiting).results
        assert await classifier.drain(0)

    fire.run(scenario)


def test_draining_gives_up_in_time(fire: Fire) -> None:
    async def scenario(classifier: Classifier) -> None:
        held = await fire.hold(classifier)
        assert not await classifier.drain(0.01)
        fire.backbone.gate.set()
        await held

    fire.run(scenario)
