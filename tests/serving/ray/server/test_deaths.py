"""Replicas die, the store is replaced or damaged: everybody is answered."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from isogloss.prompts.store.numbering import GenerationId
from isogloss.prompts.store.verify import verify
from isogloss.serving.ray.haproxy import haproxy_is_installed
from isogloss.serving.registry.replicas import REPORT_EXPIRES_S
from tests.fakes import soft_prompt
from tests.serving.ray.running import OTHER, PATIENCE_S, Running, replicas_of, wait_until
from tests.serving.swapping import ADMIN, IN_FLIGHT, TEXTS

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def test_killed_replicas_take_no_request_with_them(server: Running, client: httpx.Client) -> None:
    if not haproxy_is_installed():
        pytest.skip("what asks again is HAProxy, which is not installed")
    newest = server.store.latest()
    finished = threading.Event()
    asked = [0] * IN_FLIGHT

    def call(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as own:
            while not finished.is_set():
                model = OTHER if number % 2 else None
                answer = own.post("/v1/classify", json={"inputs": TEXTS, "model": model})
                assert answer.status_code == 200, answer.text
                asked[number] += 1

    def everybody_is_answered_again() -> None:
        before = list(asked)
        wait_until(
            lambda: (
                all(now > then for now, then in zip(asked, before, strict=True))
                or any(caller.done() for caller in callers)
            )
        )

    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        callers = [pool.submit(call, number) for number in range(IN_FLIGHT)]
        try:
            for deployment in ("isogloss", f"isogloss-{OTHER}"):
                everybody_is_answered_again()
                victim = replicas_of(server, deployment)[0]
                os.kill(victim.pid, signal.SIGKILL)
                wait_for_two(server, deployment, victim.pid, client)
                everybody_is_answered_again()
        finally:
            finished.set()
        for caller in callers:
            caller.result()
    assert generations(client) == {newest}


def generations(client: httpx.Client) -> set[int]:
    return {replica["generation"] for replica in client.get("/ready").json()["replicas"]}


def test_a_store_restored_from_a_backup_is_what_every_process_serves(
    server: Running, client: httpx.Client, tmp_path: Path
) -> None:
    backup = shutil.copytree(server.store.root, tmp_path / "backup")
    lost = client.put("/v1/prompts/romance", content=soft_prompt(51.0).to_bytes(), headers=ADMIN)
    shutil.rmtree(server.store.root)
    shutil.copytree(backup, server.store.root)
    done = client.put("/v1/prompts/romance", content=soft_prompt(52.0).to_bytes(), headers=ADMIN)
    assert done.status_code == 200, done.text
    assert done.json()["generation"] == lost.json()["generation"]
    assert done.json()["generation_digest"] != lost.json()["generation_digest"]
    answer = client.post("/v1/classify", json={"inputs": TEXTS}).json()
    assert {each["prompt"]["digest"] for each in answer["results"]} == {soft_prompt(52.0).digest}
    wait_until_served(client, server.store.state().identity, problem=False)
    if haproxy_is_installed():  # it gives requests an id where nobody did: tried again, done once
        assert server.store.state().records[-1].generation == done.json()["generation"]


@pytest.mark.soak
def test_a_replica_starts_though_the_newest_generation_is_damaged(
    server: Running, client: httpx.Client
) -> None:
    before = server.store.state()
    newest = server.store.publish({"romance": soft_prompt(53.0)})
    wait_until_served(client, newest.identity, problem=False)
    path = server.store.root / "generations" / f"{newest.generation:08d}.json"
    path.write_bytes(b"rot")
    deployments = ("isogloss", f"isogloss-{OTHER}")
    for victims in zip(*(replicas_of(server, each) for each in deployments), strict=True):
        for victim in victims:
            os.kill(victim.pid, signal.SIGKILL)
        for deployment, victim in zip(deployments, victims, strict=True):
            wait_for_two(server, deployment, victim.pid, client)
    wait_until_served(client, before.identity, problem=True)
    answer = client.post("/v1/classify", json={"inputs": TEXTS}).json()
    assert answer["generation"] == before.generation
    assert verify(server.store, repair=True).whole
    wait_until_served(client, server.store.state().identity, problem=False)


def wait_until_served(client: httpx.Client, generation: GenerationId, *, problem: bool) -> None:
    """Until all four replicas serve a generation, each with a problem or none."""
    give_up_s = time.monotonic() + 60
    while True:
        replicas = client.get("/ready").json()["replicas"]
        served = [(each["generation"], each["generation_digest"]) for each in replicas]
        problems = [each["problem"] is not None for each in replicas]
        if served == [generation] * 4 and problems == [problem] * 4:
            return
        assert time.monotonic() < give_up_s, replicas
        time.sleep(0.05)


def wait_for_two(server: Running, deployment: str, dead: int, client: httpx.Client) -> None:
    """Until another replica is there instead of a dead one, and ready."""

    def both_are_there() -> bool:
        alive = {each.pid for each in replicas_of(server, deployment)} - {dead}
        return len(alive) == 2 and len(client.get("/ready").json()["replicas"]) == 4

    wait_until(both_are_there, REPORT_EXPIRES_S / 4)
