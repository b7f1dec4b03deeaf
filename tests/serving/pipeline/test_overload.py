"""Four times the load that can be borne: simulated by the clock's tables, and for real."""

from __future__ import annotations

import asyncio
import heapq
import random
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from torch import Tensor

from isogloss.serving.batching.queueing import BatchQueue
from isogloss.serving.pipeline.admission import Admission, Load, QueueFull
from isogloss.serving.pipeline.engine import build_classifier
from tests.fakes import FakeBackbone, FakeDetector, fake_settings, fake_store, http_client

TOKENS = 50
SPEED = 5000.0  # tokens a second: a hundred texts


@dataclass
class Text:
    """One text of one request."""

    request: Request
    cost: int = TOKENS
    abandoned: bool = False
    flow: str = ""
    arrived_s: float = 0.0
    waits: bool = False


@dataclass(eq=False)
class Request:
    """Texts that arrive together, and leave when the last is answered."""

    client: str
    arrived_s: float
    texts: int
    place: ExitStack = field(default_factory=ExitStack)


class Simulation:
    """Admission and queue, with a model that needs the same time for every token."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.admission = Admission(Load(100_000, 1_000_000, 1_000_000))
        self.queue: BatchQueue[Text] = BatchQueue(budget=1000, deadline_s=0)
        self.latencies_s: dict[str, list[float]] = {}
        self.refused: dict[str, int] = {}
        self.free_at_s = 0.0
        self._missing: dict[Request, int] = {}

    def arrive(self, request: Request) -> None:
        load = Load(request.texts, request.texts * TOKENS, 1)
        try:
            request.place.enter_context(self.admission.admit(request.client, load, self.deadline_s))
        except QueueFull:
            self.refused[request.client] = self.refused.get(request.client, 0) + 1
            return
        self._missing[request] = request.texts
        texts = [Text(request) for _ in range(request.texts)]
        self.queue.add(texts, request.arrived_s, request.client)

    def run_batches_until(self, now_s: float) -> None:
        while self.free_at_s <= now_s and len(self.queue):
            batch = self.queue.take()
            cost = sum(item.cost for item in batch)
            self.free_at_s = max(self.free_at_s, batch[0].arrived_s) + cost / SPEED
            self.admission.tokens_per_s.observe(cost, cost / SPEED)
            for item in batch:
                self._answer(item.request)

    def _answer(self, request: Request) -> None:
        self._missing[request] -= 1
        if not self._missing[request]:
            request.place.close()
            took_s = self.free_at_s - request.arrived_s
            self.latencies_s.setdefault(request.client, []).append(took_s)


def arrivals(client: str, texts: int, per_s: float, until_s: float, seed: int) -> list[Request]:
    """Requests of a client, at random moments."""
    draw, now_s, found = random.Random(seed), 0.0, []
    while (now_s := now_s + draw.expovariate(per_s)) < until_s:
        found.append(Request(client, now_s, texts))
    return found


def test_four_times_the_load_for_a_minute_simulated() -> None:
    simulation = Simulation(deadline_s=1.0)
    greedy = arrivals("greedy", 20, 18.0, 60.0, seed=1)  # 360 texts a second
    modest = [each for n in range(4) for each in arrivals(f"m{n}", 1, 10.0, 60.0, seed=2 + n)]
    for request in heapq.merge(*[sorted(greedy, key=when), sorted(modest, key=when)], key=when):
        simulation.run_batches_until(request.arrived_s)
        simulation.arrive(request)
    simulation.run_batches_until(1e9)
    everybody = [took for each in simulation.latencies_s.values() for took in each]
    assert p99(everybody) < 2 * simulation.deadline_s
    texts_answered = 20 * len(simulation.latencies_s["greedy"]) + len(modest)
    assert texts_answered > 0.9 * 60 * SPEED / TOKENS  # refusing costs no throughput
    for n in range(4):  # who asks for less than their share never notices
        assert simulation.refused.get(f"m{n}", 0) == 0
        assert p99(simulation.latencies_s[f"m{n}"]) < 0.6
    assert simulation.refused["greedy"] > 0.7 * len(greedy)
    assert simulation.free_at_s < 60.0 + 2 * simulation.deadline_s  # and it recovers at once
    assert simulation.admission.held == Load()


def when(request: Request) -> float:
    return request.arrived_s


def p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(0.99 * len(seconds))]


class SlowBackbone(FakeBackbone):
    """Takes as long as a model of that speed; the processor is free meanwhile."""

    def read_suffixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        threading.Event().wait(sum(map(len, texts)) / SPEED)
        return super().read_suffixed(texts, prompts)


@pytest.mark.soak
async def test_four_times_the_load_for_a_minute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deadline_s, seconds, text = 1.0, 60, "x" * (TOKENS - 2)
    accepted: list[float] = []
    refused: list[float] = []
    late: list[float] = []

    async def ask(client: httpx.AsyncClient, caller: int) -> None:
        started_s = time.perf_counter()
        headers = {
            "x-request-timeout-ms": str(int(deadline_s * 1000)),
            "x-api-key": f"client-{caller}",
        }
        answer = await client.post("/v1/classify", json={"inputs": text}, headers=headers)
        into = {200: accepted, 429: refused, 503: late}[answer.status_code]
        into.append(time.perf_counter() - started_s)

    store = fake_store(tmp_path / "store")
    settings = fake_settings(store.root, budget_tokens=500)
    served = build_classifier(
        settings,
        backbone=lambda name, settings: SlowBackbone(),
        detector=lambda name: FakeDetector(),
    )
    async with http_client(served, store, settings) as client:
        loop, started_s = asyncio.get_running_loop(), time.perf_counter()
        per_s = 4 * SPEED / TOKENS
        asked: set[asyncio.Task[None]] = set()
        for n in range(int(seconds * per_s)):
            due_s = started_s + n / per_s - time.perf_counter()
            await asyncio.sleep(max(0.0, due_s))
            asked.add(task := loop.create_task(ask(client, n % 16)))
            task.add_done_callback(asked.discard)
        await asyncio.gather(*asked)
        begun_s = time.perf_counter()
        await ask(client, 0)
        assert time.perf_counter() - begun_s < deadline_s / 2  # recovered
    with capsys.disabled():
        print(
            f"\naccepted {len(accepted)}, p99 {p99(accepted):.3f} s; refused {len(refused)}, p99 "
            f"{p99(refused) * 1000:.1f} ms; late {len(late)}"
        )
    assert p99(accepted) < 2 * deadline_s
    assert p99(refused) < 0.05
    assert len(accepted) > 0.7 * seconds * SPEED / TOKENS
