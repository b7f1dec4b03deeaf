"""Swapping under load: nothing fails, and no answer's scores are another prompt's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from isogloss.prompts.store.numbering import GenerationId
from isogloss.serving.registry.registry import Poller, Registry
from isogloss.serving.registry.replicas import (
    REPORT_EXPIRES_S,
    REPORT_INTERVAL_S,
    LocalBoard,
    ReplicaReport,
    Reporter,
    Wanted,
)
from isogloss.serving.telemetry.metrics import ServingMetrics
from tests.fakes import (
    FakeBackbone,
    fake_classifier,
    fake_settings,
    fake_store,
    http_client,
    soft_prompt,
)
from tests.serving.swapping import ADMIN, IN_FLIGHT, SWAPS, TEXTS, TWO, assert_attributed


@pytest.mark.parametrize("swaps", [40, pytest.param(SWAPS, marks=pytest.mark.soak)])
async def test_swaps_under_16_requests_in_flight(tmp_path: Path, swaps: int) -> None:
    store = fake_store(tmp_path / "store")
    settings = fake_settings(store.root, budget_tokens=64)
    seen: dict[str, int] = {}
    generations: list[int] = []
    finished = False

    async def caller(client: httpx.AsyncClient, number: int) -> None:
        texts = TEXTS[: 1 + number % len(TEXTS)]
        newest = 0
        while not finished:
            answer = await client.post("/v1/classify", json={"inputs": texts})
            assert answer.status_code == 200, answer.text
            digest = assert_attributed(answer.json(), texts)
            assert answer.json()["generation"] >= newest, "time does not run backwards"
            newest = answer.json()["generation"]
            seen[digest] = seen.get(digest, 0) + 1

    async def swapper(client: httpx.AsyncClient) -> None:
        nonlocal finished
        try:
            for swap in range(swaps):
                data = TWO[(swap + 1) % 2].to_bytes()
                done = await client.put("/v1/prompts/romance", content=data, headers=ADMIN)
                assert done.status_code == 200, done.text
                generations.append(done.json()["generation"])
                answer = await client.post("/v1/classify", json={"inputs": TEXTS[:1]})
                assert answer.json()["generation"] >= generations[-1]
        finally:
            finished = True

    classifier = fake_classifier(settings)
    async with http_client(classifier, store, settings, "token") as client:
        await asyncio.gather(swapper(client), *(caller(client, n) for n in range(IN_FLIGHT)))
    assert generations == list(range(2, 2 + swaps))
    assert set(seen) == {prompt.digest for prompt in TWO}
    assert sum(seen.values()) > swaps


def report(
    replica: str, generation: int, problem: str | None = None, digest: str = ""
) -> ReplicaReport:
    return ReplicaReport(replica, "fake-bloom", generation, problem, digest=digest)


def test_who_lags_is_named_with_the_reason() -> None:
    reports = [
        report("a", 7, digest="sha256:ours"),
        report("b", 6),
        report("c", 5, "the disk is gone"),
        report("d", 8, digest="sha256:later"),
        report("e", 8, digest="sha256:before-a-restore"),
        report("f", 7, digest="sha256:before-a-restore"),
    ]
    later, strange = GenerationId(8, "sha256:later"), GenerationId(8, "sha256:before-a-restore")
    wanted = Wanted(GenerationId(7, "sha256:ours"))
    assert wanted.unknown(reports) == {later, strange}
    wanted = Wanted(wanted.generation, frozenset({later}), frozenset({strange}))
    assert not wanted.unknown(reports)
    assert [str(each) for each in wanted.behind(reports)] == [
        "replica b of fake-bloom serves generation 6",
        "replica c of fake-bloom serves generation 5 (the disk is gone)",
        "replica e of fake-bloom serves generation 8 (sha256:before-a-res)",
        "replica f of fake-bloom serves generation 7 (sha256:before-a-res)",
    ]


def test_a_replica_that_stops_or_falls_silent_leaves_the_board() -> None:
    now_s = 100.0
    board = LocalBoard(clock=lambda: now_s)
    board.report(report("a", 1))
    board.report(report("b", 1))
    board.report(report("b", 2))
    assert [(r.replica, r.generation) for r in board.reports()] == [("a", 1), ("b", 2)]
    board.leave("a")
    now_s += REPORT_EXPIRES_S
    assert [r.replica for r in board.reports()] == ["b"]
    now_s += 0.001
    assert board.reports() == []
    assert REPORT_INTERVAL_S * 3 < REPORT_EXPIRES_S


def test_a_lookout_reports_changes_at_once_and_otherwise_now_and_then(tmp_path: Path) -> None:
    store = fake_store(tmp_path / "store")
    posted: list[int] = []

    class Counting(LocalBoard):
        def report(self, report: ReplicaReport) -> None:
            posted.append(report.generation)
            super().report(report)

    metrics = ServingMetrics()
    live = Registry(store, FakeBackbone(), metrics)
    reporter = Reporter("a", "fake-bloom", live, metrics, Counting())
    for _ in range(5):
        reporter.poll()
    assert posted == [1]
    store.publish({"romance": soft_prompt(9.0)})
    reporter.poll()
    assert posted == [1, 2]


def test_a_change_by_another_process_is_picked_up(tmp_path: Path) -> None:
    store = fake_store(tmp_path / "store")
    live = Registry(store, FakeBackbone(), ServingMetrics())
    changed = threading.Event()
    watch = Poller(lambda: changed.set() if live.refresh() else None, interval_s=0.01)
    store.publish({"romance": soft_prompt(9.0)})
    assert changed.wait(10)
    assert live.generation == 2
    watch.close()


def test_a_watch_survives_what_it_looks_at() -> None:
    looks: Iterator[int] = iter(range(10**9))
    enough = threading.Event()

    def look() -> None:
        if next(looks) > 2:
            enough.set()
        raise ValueError("a passing trouble")

    watch = Poller(look, interval_s=0.001)
    assert enough.wait(10)
    watch.close()


async def test_a_change_that_does_not_reach_every_replica_says_which(tmp_path: Path) -> None:
    store = fake_store(tmp_path / "store")
    settings = fake_settings(store.root, swap_timeout_s=0.05)
    classifier = fake_classifier(settings)
    board = LocalBoard()
    board.report(report("sleepy", 1))
    async with http_client(classifier, store, settings, "token", board) as client:
        late = await client.put("/v1/prompts/romance", content=TWO[1].to_bytes(), headers=ADMIN)
        assert (late.status_code, late.json()["error_type"]) == (503, "unavailable")
        assert "generation 2 is published" in late.json()["error"]
        assert "replica sleepy of fake-bloom serves generation 1" in late.json()["error"]
        assert classifier.registry.generation == 2
