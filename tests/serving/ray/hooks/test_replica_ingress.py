"""Requests for some paths reach the application at once; Ray counts them as its own."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's libraries, when they are imported
    from ray.serve._private import replica

    from isogloss.serving.ray.hooks.replica_ingress import answer_directly


class Counting:
    """Ray's numbers of a replica."""

    def __init__(self) -> None:
        self.under_way: list[int] = [0]
        self.recorded: list[tuple[str, bool]] = []

    def inc_num_ongoing_requests(self, request_metadata: Any) -> None:
        assert request_metadata.is_direct_ingress
        self.under_way.append(self.under_way[-1] + 1)

    def dec_num_ongoing_requests(self, request_metadata: Any) -> None:
        self.under_way.append(self.under_way[-1] - 1)

    def record_request_metrics(self, *, route: str, latency_ms: float, is_error: bool) -> None:
        assert latency_ms >= 0
        self.recorded.append((route, is_error))


class FakeReplica:
    """As much of Ray's as the hook reaches for."""

    def __init__(self, prefix: str = "/", fails: bool = False) -> None:
        self._metrics_manager = Counting()
        self._route_prefix = prefix
        self._fails = fails
        self.asked: list[str] = []

    async def _user_callable_asgi_app(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        assert self._metrics_manager.under_way[-1] == 1
        if self._fails:
            raise ValueError("unexpected")


@pytest.fixture
def through_ray(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Ray's own way was asked; ours is installed, and taken away again."""
    seen: list[str] = []

    async def theirs(self: Any, scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])

    monkeypatch.setattr("isogloss.serving.ray.hooks.replica_ingress.require", lambda *hooks: None)
    monkeypatch.setattr(replica.Replica, "_direct_ingress_asgi", theirs)
    answer_directly({"/v1/classify"})
    answer_directly({"/v1/classify"})  # once is enough, and twice is once
    return seen


def ask(own: FakeReplica, path: str) -> None:
    way: Any = replica.Replica._direct_ingress_asgi
    asyncio.run(way(own, {"type": "http", "path": path}, None, None))


def test_a_path_that_watches_its_callers_is_asked_at_once(through_ray: list[str]) -> None:
    own = FakeReplica()
    ask(own, "/v1/classify")
    assert (own.asked, through_ray) == (["/v1/classify"], [])
    assert own._metrics_manager.under_way == [0, 1, 0]
    assert own._metrics_manager.recorded == [("/v1/classify", False)]


def test_other_paths_and_prefixes_take_ray_s_way(through_ray: list[str]) -> None:
    own, below = FakeReplica(), FakeReplica("/below")
    ask(own, "/-/healthz")
    ask(below, "/v1/classify")
    assert through_ray == ["/-/healthz", "/v1/classify"]
    assert own.asked == below.asked == []


def test_what_fails_is_counted_out_and_goes_up(through_ray: list[str]) -> None:
    own = FakeReplica(fails=True)
    with pytest.raises(ValueError, match="unexpected"):
        ask(own, "/v1/classify")
    assert own._metrics_manager.under_way == [0, 1, 0]
    assert own._metrics_manager.recorded == [("/v1/classify", True)]
