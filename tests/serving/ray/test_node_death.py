"""A server on two nodes, of which one dies: two raylets on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from isogloss.prompts.cluster.privacy import private_variables
from isogloss.serving.ray.haproxy import haproxy_here, haproxy_is_installed
from tests.fakes import fake_store, route_table, soft_prompt
from tests.serving.ray.running import (
    OTHER,
    PATIENCE_S,
    Running,
    parts,
    replicas_of,
    serving,
    wait_until,
)
from tests.serving.swapping import IN_FLIGHT, TEXTS

pytestmark = [
    pytest.mark.ray,
    pytest.mark.soak,  # two of Ray's nodes take the better part of a minute on a busy machine
    pytest.mark.timeout(600),
    pytest.mark.skipif(not haproxy_is_installed(), reason="what asks again is HAProxy"),
]

DEPLOYMENTS = ("isogloss", f"isogloss-{OTHER}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """Two replicas of two models; Ray's folder is a short one, for its sockets."""
    store = fake_store(tmp_path / "store")
    there = soft_prompt(4.0, model=OTHER)
    store.publish({"elsewhere": there}, [route_table("elsewhere", model=OTHER)])
    scratch = Path(tempfile.mkdtemp(prefix="isogloss-"))
    variables = {"RAY_TMPDIR": str(scratch), **private_variables(scratch)}
    variables |= haproxy_here(scratch, "127.0.0.1")
    variables["RAY_health_check_period_ms"] = "1000"  # five times, and the cluster knows of a death
    try:
        with serving(
            store,
            other=OTHER,
            replicas=2,
            variables=variables,
            module="tests.serving.ray.two_nodes",
        ) as running:
            yield running
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def nodes(server: Running) -> tuple[psutil.Process, psutil.Process]:
    """The raylets: the head's, and the other one."""
    raylets = parts(server, "raylet")
    (head,) = (each for each in raylets if "--head" in each.cmdline())
    (other,) = (each for each in raylets if each != head)
    return head, other


def on(node: psutil.Process, server: Running, deployment: str) -> list[psutil.Process]:
    """Replicas of a deployment on a node."""
    below = node.children(recursive=True)
    return [each for each in replicas_of(server, deployment) if each in below]


class Callers:
    """Many who ask one after the other, and require that each answer is one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._finished = threading.Event()
        self._calls: list[Future[None]] = []
        self._asks = [self._classify, self._classify_by_the_other]
        self.answered = [0] * IN_FLIGHT

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            self._calls = [pool.submit(self._call, number) for number in range(IN_FLIGHT)]
            try:
                yield
            finally:
                self._finished.set()
            for call in self._calls:
                call.result()

    def _call(self, number: int) -> None:
        ask = self._asks[number % len(self._asks)]
        with httpx.Client(base_url=self._url, timeout=PATIENCE_S) as client:
            while not self._finished.is_set():
                answer = ask(client)
                assert answer.status_code == 200, answer.text
                self.answered[number] += 1

    def _classify(self, client: httpx.Client) -> httpx.Response:
        return client.post("/v1/classify", json={"inputs": TEXTS})

    def _classify_by_the_other(self, client: httpx.Client) -> httpx.Response:
        return client.post("/v1/classify", json={"inputs": TEXTS, "model": OTHER})

    def wait_for_all(self) -> None:
        """Until each was answered again, or one was not."""
        before = list(self.answered)
        wait_until(
            lambda: (
                all(now > then for now, then in zip(self.answered, before, strict=True))
                or any(call.done() for call in self._calls)
            )
        )


def kill(node: psutil.Process) -> None:
    """Kill a raylet and all that it runs, as a machine that fails does."""
    processes = [node, *node.children(recursive=True)]
    for each in processes:
        os.kill(each.pid, signal.SIGKILL)
    assert len(processes) > len(DEPLOYMENTS)


def test_a_node_that_is_killed_takes_no_request_with_it(server: Running) -> None:
    head, other = nodes(server)
    for deployment in DEPLOYMENTS:
        assert len(on(head, server, deployment)) == len(on(other, server, deployment)) == 1
    (board,) = parts(server, "ray::LocalBoard")
    assert board in head.children(recursive=True), "or nobody could ask whether replicas are ready"
    callers = Callers(server.url)
    with callers.calling():
        callers.wait_for_all()
        kill(other)
        for _ in range(5):  # the cluster does not know yet, and some are sent to the dead
            callers.wait_for_all()
    assert len(parts(server, "raylet")) == 1
