"""What a replica's death costs: nothing, while another one lives."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.errors import Unavailable
from isogloss.serving.pipeline.caller import Caller, TooLate
from isogloss.serving.ray.haproxy import RETRIED_BYTES, haproxy_everywhere, haproxy_here
from isogloss.serving.registry.registry import Registry
from isogloss.serving.registry.replicas import LocalBoard, ReplicaReport, Reporter, Wanted
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse
from isogloss.serving.telemetry.metrics import ServingMetrics
from tests.fakes import FakeBackbone, fake_store, soft_prompt

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's libraries, when they are imported
    from grpc import RpcError
    from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

    from isogloss.serving.ray.remote import RemoteModel

ANSWER = ClassifyResponse(model="other", task="topic", generation=1, results=[])
REQUEST = ClassifyRequest(inputs="oui", model="other")


class Handle:
    """A deployment's handle whose replicas do what is planned, one after the other."""

    def __init__(self, *outcomes: Any, slow_s: float = 0.0) -> None:
        self._outcomes: Iterator[Any] = iter(outcomes)
        self._slow_s = slow_s
        self.callers: list[Caller] = []

    @property
    def ask(self) -> Handle:
        return self

    def remote(
        self, request: ClassifyRequest, tasks: tuple[str, ...], caller: Caller
    ) -> asyncio.Task[Any]:
        self.callers.append(caller)
        return asyncio.create_task(self._answer())

    async def _answer(self) -> Any:
        await asyncio.sleep(self._slow_s)
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def ask(handle: Any, timeout_s: float | None = None) -> tuple[ClassifyResponse, ServingMetrics]:
    metrics = ServingMetrics()
    caller = Caller(timeout_s=timeout_s)

    async def scenario() -> ClassifyResponse:
        (answer,) = await RemoteModel("other", handle, metrics).ask(REQUEST, (), caller)
        return answer

    return asyncio.run(scenario()), metrics


def test_a_request_that_replicas_take_with_them_is_asked_again() -> None:
    handle = Handle(ActorDiedError(), ActorUnavailableError("gone", None), [ANSWER], slow_s=0.01)
    answer, metrics = ask(handle, timeout_s=3600)
    assert answer is ANSWER
    assert metrics.registry.get_sample_value("isogloss_asked_again_total") == 2
    left_s = [caller.timeout_s or 0.0 for caller in handle.callers]
    assert 3600 >= left_s[0] > left_s[1] > left_s[2] > 3000


def test_a_connection_that_breaks_is_no_answer() -> None:
    answer, metrics = ask(Handle(RpcError(), [ANSWER]))
    assert answer is ANSWER
    assert metrics.registry.get_sample_value("isogloss_asked_again_total") == 1


def test_it_is_not_asked_for_ever() -> None:
    handle = Handle(*[ActorDiedError() for _ in range(9)])
    with pytest.raises(Unavailable, match=r"model other does not answer \(ActorDiedError\)"):
        ask(handle)
    assert len(handle.callers) == 4


def test_what_fails_by_itself_is_not_asked_again() -> None:
    failed = RayTaskError("classify", "", ValueError("a bug"))  # type: ignore[no-untyped-call]
    handle = Handle(failed, [ANSWER])
    with pytest.raises(Unavailable, match="does not answer"):
        ask(handle)
    assert len(handle.callers) == 1


def test_no_replica_in_time_is_said_in_time() -> None:
    with pytest.raises(TooLate, match="no answer within the request's time"):
        ask(Handle([ANSWER], slow_s=30), timeout_s=0.02)


def test_a_replica_that_starts_cannot_miss_a_publish(tmp_path: Path) -> None:
    """Whoever publishes while it starts finds it on the board, or it finds what was published."""
    store = fake_store(tmp_path / "store")
    metrics = ServingMetrics()
    live = Registry(store, FakeBackbone(), metrics)
    seen: list[list[str]] = []

    class Publishing(LocalBoard):
        """Somebody publishes right after the replica's first report."""

        def report(self, report: ReplicaReport) -> None:
            super().report(report)
            if not seen:
                state = store.publish({"romance": soft_prompt(9.0)})
                behind = Wanted(state.identity).behind(self.reports())
                seen.append([each.replica for each in behind])

    reporter = Reporter("starting", "fake-bloom", live, metrics, Publishing())
    reporter.join()
    assert seen == [["starting"]]
    assert live.generation == 2
    assert [each.generation for each in reporter.board.reports()] == [2]


def test_a_replica_whose_store_hangs_stays_on_the_board_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fake_store(tmp_path / "store")
    metrics = ServingMetrics()
    live = Registry(store, FakeBackbone(), metrics)
    reporter = Reporter("a", "fake-bloom", live, metrics, LocalBoard())
    reporter.join()
    monkeypatch.setattr("isogloss.serving.registry.registry._STORE_PATIENCE_S", 0.0)
    found: list[ReplicaReport] = []

    def hang(generation: int) -> bool:
        reporter.heartbeat()  # the other thread's, meanwhile
        found.extend(reporter.board.reports())
        return False

    monkeypatch.setattr(store.generations, "has", hang)
    reporter.poll()
    assert [each.generation for each in found] == [1]
    assert "the store has not answered for" in (found[0].problem or "")
    assert reporter.board.reports()[0].problem is None  # it answered in the end


def test_haproxy_is_told_to_try_again(tmp_path: Path) -> None:
    told = haproxy_everywhere()
    lines = [line.strip() for line in told["RAY_SERVE_HAPROXY_RETRY_ON"].splitlines()]
    assert lines[0].split()[:2] == ["conn-failure", "empty-response"]
    assert {"option http-buffer-request", "timeout http-request 30s"} <= set(lines[1:])
    assert int(told["RAY_SERVE_HAPROXY_TUNE_BUFSIZE"]) > RETRIED_BYTES
    here = haproxy_here(tmp_path, "127.0.0.1")
    first = int(here["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"])
    last = int(here["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"])
    assert 30_000 <= first < last <= 32_768
    assert here.items() >= told.items()
