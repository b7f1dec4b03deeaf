"""Overload, deadlines, callers who leave and models that fail: everybody gets an answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from torch import Tensor

from isogloss.prompts.errors import Unavailable
from isogloss.prompts.store.generations import Generations
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.batching.isolation import BatchFailed
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.admission import QueueFull, Stopping
from isogloss.serving.pipeline.caller import Caller, TooLate
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.registry.replicas import LocalBoard, ReplicaReport, Reporter
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse
from tests.fakes import (
    MODEL,
    FakeBackbone,
    FakeDetector,
    fake_settings,
    fake_store,
    http_client,
)

A, B = Caller("a"), Caller("b")


class FragileBackbone(FakeBackbone):
    """Chokes on the letter Z, and on more texts at a time than its memory holds."""

    holds = 10_000

    def read_suffixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        states = super().read_suffixed(texts, prompts)
        if len(texts) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if any(ord("Z") in text for text in texts):
            raise IndexError("index out of range in self")
        return states


class Fire:
    """Runs scenarios against a classifier whose model can be held, and its HTTP routes."""

    def __init__(self, folder: Path) -> None:
        self.store: PromptStore = fake_store(folder / "store")
        self.backbone = FragileBackbone()
        self.board = LocalBoard()
        self.served: Classifier

    def settings(self, **changes: object) -> ServingSettings:
        return fake_settings(self.store.root, **changes)

    def classifier(self, **changes: object) -> Classifier:
        return build_classifier(
            self.settings(**changes),
            backbone=lambda name, settings: self.backbone,
            detector=lambda name: FakeDetector(),
        )

    def run(self, scenario: Callable[[Classifier], Awaitable[None]], **changes: object) -> None:
        async def run() -> None:
            classifier = self.classifier(**changes)
            try:
                await scenario(classifier)
            finally:
                self.backbone.gate.set()
                classifier.close()

        asyncio.run(run())

    def serve(
        self, scenario: Callable[[httpx.AsyncClient], Awaitable[None]], **changes: object
    ) -> None:
        async def run() -> None:
            settings = self.settings(**changes)
            self.served = self.classifier(**changes)
            async with http_client(self.served, self.store, settings, board=self.board) as client:
                await scenario(client)

        asyncio.run(run())

    def poll(self) -> None:
        """Poll the store as the served replica does."""
        served = self.served
        Reporter("replica-1", MODEL, served.registry, served.metrics, self.board).poll()

    async def hold(self, classifier: Classifier, caller: Caller = A) -> asyncio.Task[Any]:
        """Occupy the model with one text until the gate is opened."""
        self.backbone.gate.clear()
        self.backbone.entered.clear()
        task = asyncio.create_task(classifier.classify(ClassifyRequest(inputs="x"), caller))
        assert await asyncio.to_thread(self.backbone.entered.wait, 10)
        return task


@pytest.fixture
def fire(tmp_path: Path) -> Fire:
    return Fire(tmp_path)


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


def test_a_refusal_over_http_says_when_to_try_again(fire: Fire) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        fire.backbone.gate.clear()
        body = {"inputs": ["x"] * 9}
        first = asyncio.create_task(client.post("/v1/classify", json=body))
        assert await asyncio.to_thread(fire.backbone.entered.wait, 10)
        refused = await client.post("/v1/classify", json=body)
        assert refused.status_code == 429
        assert refused.json()["error_type"] == "overloaded"
        assert int(refused.headers["retry-after"]) >= 1
        other = client.post("/v1/classify", json={"inputs": "x"}, headers={"x-api-key": "k"})
        second = asyncio.create_task(other)
        fire.backbone.gate.set()
        assert (await first).status_code == 200
        assert (await second).status_code == 200

    fire.serve(scenario, max_queue_items=12)


def test_a_deadline_over_http(fire: Fire) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        fire.backbone.gate.clear()
        headers = {"x-request-timeout-ms": "20", "x-request-id": "mine"}
        late = await client.post("/v1/classify", json={"inputs": "x"}, headers=headers)
        assert (late.status_code, late.json()["error_type"]) == (503, "unavailable")
        assert late.headers["x-request-id"] == "mine"
        wrong = await client.post(
            "/v1/classify", json={"inputs": "x"}, headers={"x-request-timeout-ms": "soon"}
        )
        assert (wrong.status_code, wrong.json()["error_type"]) == (422, "validation")
        fire.backbone.gate.set()

    fire.serve(scenario)


def test_a_client_that_hangs_up_is_noticed(fire: Fire) -> None:
    left = threading.Event()
    statuses: list[int] = []

    async def scenario(client: httpx.AsyncClient) -> None:
        app = client._transport.app  # type: ignore[attr-defined]
        fire.backbone.gate.clear()
        hung_up = asyncio.Event()
        messages = [{"type": "http.request", "body": b'{"inputs": ["x", "y"]}'}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await hung_up.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            statuses.extend([message["status"]] if "status" in message else [])

        scope = {
            "type": "http", "method": "POST", "path": "/v1/classify", "headers": [],
            "query_string": b"", "client": ("test", 1),
        }  # fmt: skip
        asked = asyncio.create_task(app(scope, receive, send))
        assert await asyncio.to_thread(fire.backbone.entered.wait, 10)
        hung_up.set()
        await asked  # long before the gate is opened
        left.set()
        fire.backbone.gate.set()
        page = (await client.get("/metrics")).text
        assert 'isogloss_left_total{model="fake-bloom",reason="caller"' in page

    fire.serve(scenario)
    assert left.is_set()
    assert statuses == [499]


def test_a_slow_client_is_not_waited_for(fire: Fire) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        async def slow() -> Any:
            yield b'{"inputs": '
            await asyncio.Event().wait()

        answer = await client.post("/v1/classify", content=slow())
        assert (answer.status_code, answer.json()["error_type"]) == (400, "validation")
        assert "did not arrive within 0.02 s" in answer.json()["error"]

    fire.serve(scenario, body_timeout_s=0.02)


@pytest.mark.parametrize("length", ["²", "9" * 5000, "-1", "1e9", " 12 ", "0" * 30 + "5"])
def test_a_declared_length_may_be_anything(fire: Fire, length: str) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        headers = [(b"content-length", length.encode("latin-1"))]
        answer = await client.post("/v1/classify", content=b'{"inputs": "a"}', headers=headers)
        assert answer.status_code == (413 if length.startswith("99") else 200)

    fire.serve(scenario)


def test_a_store_that_cannot_be_read_is_said_and_the_loaded_prompts_serve_on(
    fire: Fire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    async def scenario(client: httpx.AsyncClient) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Generations, "has", broken)
            await asyncio.to_thread(fire.poll)
            assert (await client.post("/v1/classify", json={"inputs": "x"})).status_code == 200
            ready = (await client.get("/ready")).json()
            assert (ready["ready"], ready["generation"]) == (True, 1)
            assert "Permission denied" in ready["replicas"][0]["problem"]
            assert "isogloss_store_problem{" in (page := (await client.get("/metrics")).text)
            assert problem_in(page) == 1
        await asyncio.to_thread(fire.poll)
        assert (await client.get("/ready")).json()["replicas"][0]["problem"] is None
        assert problem_in((await client.get("/metrics")).text) == 0

    fire.serve(scenario)


def problem_in(page: str) -> float:
    (line,) = (each for each in page.splitlines() if each.startswith("isogloss_store_problem{"))
    return float(line.split()[-1])


def test_a_replica_that_drains_is_not_ready(fire: Fire) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/ready")).status_code == 200
        assert await fire.served.drain(1)
        for answer in (
            await client.get("/ready"),
            await client.post("/v1/classify", json={"inputs": "x"}),
        ):
            assert (answer.status_code, answer.json()["error_type"]) == (503, "unavailable")

    fire.serve(scenario)


def test_numbers_are_to_be_had_while_the_replicas_board_is_gone(fire: Fire) -> None:
    class Gone(LocalBoard):
        def reports(self) -> list[ReplicaReport]:
            raise Unavailable("the replicas' board does not answer")

    fire.board = Gone()

    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/ready")).status_code == 503
        page = await client.get("/metrics")
        assert page.status_code == 200
        assert problem_in(page.text) == 0

    fire.serve(scenario)
