"""Replicas come while tokens wait, through Ray Serve's own autoscaler. Its delays are long."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from isogloss.serving.ray.autoscaling import QUEUE_TOKENS
from tests.fakes import fake_store
from tests.serving.ray.running import PATIENCE_S, replicas_of, serving, wait_until
from tests.serving.swapping import TEXTS

pytestmark = [pytest.mark.ray, pytest.mark.soak, pytest.mark.timeout(600)]


def test_a_second_replica_comes_for_what_waits_and_answers(tmp_path: Path) -> None:
    finished = threading.Event()
    with serving(fake_store(tmp_path / "store"), most=2) as server:

        def call() -> None:
            with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
                while not finished.is_set():
                    answer = client.post("/v1/classify", json={"inputs": TEXTS})
                    assert answer.status_code == 200, answer.text

        assert len(replicas_of(server, "isogloss")) == 1
        with ThreadPoolExecutor(8) as pool:
            callers = [pool.submit(call) for _ in range(8)]
            try:
                wait_until(lambda: len(ready(server.url)) == 2, interval_s=1)
            finally:
                finished.set()
            for caller in callers:
                caller.result()
        page = httpx.get(f"{server.url}/metrics").text
        assert all(
            f'{QUEUE_TOKENS}{{model="fake-bloom",replica="{name}"' in page
            for name in ready(server.url)
        )


def ready(url: str) -> list[str]:
    return [each["replica"] for each in httpx.get(f"{url}/ready").json()["replicas"]]
