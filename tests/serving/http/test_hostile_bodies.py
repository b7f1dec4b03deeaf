"""The work that a body makes for the event loop, and the room it takes, do not grow with it.

How long it takes is measured on an idle machine (`python -m isogloss.deploy.soak hostile`). Here
the loop's own processor time is compared with what a harmless body of the same size takes in the
same run, so that neither a slow machine nor a busy one makes a difference.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from isogloss.deploy.soak.hostile_bodies import (
    VALUES,
    hostile,
    hostile_body,
    hostile_file,
    operations,
)
from isogloss.serving.api import routes
from isogloss.serving.http import bodies
from isogloss.serving.http.parsing import parse
from tests.fakes import MODEL
from tests.serving.api.refused import assert_told_as_asked
from tests.serving.api.test_fuzz_http import listing
from tests.serving.api_server import ADMIN, Server

SIZE = 1 << 20
BODIES = 100
LARGEST = 8 << 20
TIMES = 30
"""How much more of the loop's time a hostile body may take than a harmless one; before bodies were
bounded it was hundreds of times as much."""
MOST_MEMORY = 200 << 20
HARMLESS = b'{"inputs": "' + b"a" * (SIZE - 100) + b'"}'


async def loop_time(client: httpx.AsyncClient, method: str, path: str, body: bytes) -> float:
    """Seconds of this thread's processor time until the answer, which has the contract's shape."""
    begun_s = time.thread_time()
    path = path.format(name="romance", model=MODEL, version="1")
    answer = await client.request(method, path, content=body, headers=ADMIN)
    spent_s = time.thread_time() - begun_s
    assert answer.status_code != 500, (method, path, body[:80])
    if answer.status_code >= 400:
        assert_told_as_asked(path, answer)
        assert len(answer.text) < 1500, (method, path, body[:80])
    return spent_s


def test_no_route_of_the_document_works_for_a_body_on_the_loop(server: Server) -> None:
    seen: set[str] = set()
    shares = 4  # of all bodies, one for each operation in turn

    async def scenario(client: httpx.AsyncClient) -> None:
        harmless = [await loop_time(client, "POST", "/v1/classify", HARMLESS) for _ in range(5)]
        most_s = TIMES * max(0.002, *harmless)
        for turn, operation in enumerate(operations((await client.get("/openapi.json")).json())):
            method, path = operation.method, operation.path
            numbers = range(turn % shares, BODIES, shares) if operation.takes_body else range(3)
            for number in numbers:
                body = hostile(number, operation, SIZE)
                spent_s = await loop_time(client, method, path, body)
                assert spent_s < most_s, (method, path, number, body[:80], spent_s, most_s)
            if operation.takes_body:
                seen.add(f"{method} {path}")

    before = listing(server.store)
    gc.disable()  # of all that the tests of this process left behind, not of the requests
    try:
        server(scenario, max_body_bytes=SIZE, max_prompt_bytes=SIZE)
    finally:
        gc.enable()
    assert seen >= {"POST /v1/classify", "PUT /v1/routes", "PUT /v1/prompts/{name}"}
    assert seen >= {"POST /v1/rollback", "POST /v1/promote"}
    changed = {name for name, _ in listing(server.store)} - {name for name, _ in before}
    assert not [name for name in changed if name.startswith("objects/")]


def test_every_shape_is_tried_and_is_as_large_as_it_may_be() -> None:
    bodies_seen = [hostile_body(number, 10_000, ("inputs",)) for number in range(BODIES)]
    assert len(set(bodies_seen)) > BODIES - 5
    assert all(5_000 < len(body) <= 10_000 for body in bodies_seen)
    assert len({hostile_file(number, 10_000) for number in range(BODIES)}) > len(VALUES)


def peak_bytes() -> int:
    """The most memory of this process since it was last reset."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pytest.skip("this system does not tell how much memory a process took")


COSTLY = ("integers", "empty lists", "texts of one character", "very many keys", "deep objects",
          "escaped quotes", "a long astral text", "one key very often")  # fmt: skip


async def test_a_body_takes_little_more_room_than_its_own(server: Server) -> None:
    async with server.client() as client:
        for name in COSTLY:
            value = VALUES[name](LARGEST - 100)
            for body in (b'{"inputs":' + value + b"}", value):
                reset_peak()
                before = peak_bytes()
                answer = await client.post("/v1/classify", content=body)
                assert answer.status_code in (400, 413, 422), name
                assert peak_bytes() - before < MOST_MEMORY, name


async def test_large_bodies_are_parsed_beside_the_loop_and_small_ones_on_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    real = parse

    def watched(*arguments: Any) -> Any:
        threads.append(threading.get_ident())
        return real(*arguments)

    monkeypatch.setattr(routes, "parse", watched)
    async with server.client() as client:
        for size in (10, bodies.PARSED_HERE_BYTES + 1):
            body = b'{"inputs": "' + b"a" * size + b'"}'
            assert (await client.post("/v1/classify", content=body)).status_code == 200
    assert threads[0] == threading.get_ident()
    assert threads[1] != threading.get_ident()


async def test_all_large_bodies_together_have_a_limit_and_small_ones_none(server: Server) -> None:
    """Whoever sends slowly holds what has come; it is free again once that is over."""
    limit = 1 << 20
    arrived = asyncio.Event()

    async def held(go_on: asyncio.Event) -> Any:
        yield b'{"inputs": "' + b"a" * (limit - 100)
        arrived.set()
        await go_on.wait()
        yield b'"}'

    async with server.client(max_body_bytes=limit) as client:
        go_on = asyncio.Event()
        slow = []
        for _ in range(4):
            arrived.clear()
            slow.append(asyncio.create_task(client.post("/v1/classify", content=held(go_on))))
            await arrived.wait()
        large = b'{"inputs": "' + b"a" * (limit // 2) + b'"}'
        refused = await client.post("/v1/classify", content=large)
        assert (refused.status_code, refused.json()["error_type"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await client.post("/v1/classify", json={"inputs": "a"})).status_code == 200
        go_on.set()
        assert {answer.status_code for answer in await asyncio.gather(*slow)} == {413}
        assert (await client.post("/v1/classify", content=large)).status_code == 413
