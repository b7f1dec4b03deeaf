"""Thousands of malformed requests: none gets a 500, none stops the next good one."""

from __future__ import annotations

import collections
import random
from pathlib import Path

import httpx
import pytest

from tests.serving.malformed import malformed_bodies
from tests.serving.test_app import ADMIN, Server, server

__all__ = ["server"]

STATUSES = {200, 400, 401, 404, 405, 413, 422}
_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"application/json"),
    (b"content-type", b"text/plain; charset=utf-7"),
    (b"content-length", b"\xb2"),
    (b"content-length", b"-1"),
    (b"x-request-timeout-ms", b"60000"),
    (b"x-request-timeout-ms", b"soon\xff"),
    (b"x-request-id", b'"}\xe9{"'),
    (b"x-forwarded-for", b",,\xff,"),
    (b"x-api-key", b"\xfe\xff"),
    (b"authorization", b"Bearer \xe9"),
    (b"accept-encoding", b"br;q=nan"),
)
_PATHS = ("/v1/classify",) * 8 + ("/v1/classify/", "/v1/routes", "/v1/rollback", "/v1/prompts/a")


async def assert_survives(
    client: httpx.AsyncClient, seed: int, count: int
) -> collections.Counter[int]:
    """Send bodies to the routes that take some; returns how often each status was answered."""
    draw, statuses = random.Random(-seed), collections.Counter[int]()
    for n, body in enumerate(malformed_bodies(seed, count)):
        headers = draw.sample(_HEADERS, draw.randint(0, 3))
        path = draw.choice(_PATHS)
        method = "POST" if path.startswith(("/v1/classify", "/v1/rollback")) else "PUT"
        if method == "PUT" or path == "/v1/rollback":
            headers = [each for each in headers if each[0] != b"authorization"]
            headers += [(b"authorization", ADMIN["authorization"].encode())]
        answer = await client.request(method, path, content=body, headers=headers)
        statuses[answer.status_code] += 1
        assert answer.status_code in STATUSES | {307}, (seed, n, path, body, answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()) == {"error", "error_type"}, (seed, n, body)
        if n % 100 == 0:
            good = await client.post("/v1/classify", json={"inputs": "fra_Latn: oui"})
            assert good.status_code == 200, (seed, n, body)
    return statuses


def run(server: Server, seed: int, count: int) -> collections.Counter[int]:
    found = collections.Counter[int]()
    files = sorted(path.name for path in server.store.root.rglob("*"))

    async def scenario(client: httpx.AsyncClient) -> None:
        found.update(await assert_survives(client, seed, count))

    server(scenario)
    kept = [path.name for path in server.store.root.rglob("*") if "tmp" in path.name]
    assert not set(kept) - set(files), "a refused request left files behind"
    return found


def test_a_sample_of_malformed_requests(server: Server) -> None:
    statuses = run(server, seed=1, count=400)
    assert statuses[400] > 80
    assert statuses[422] > 80


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_thousands_of_malformed_requests(tmp_path: Path, seed: int) -> None:
    run(Server(tmp_path), seed, count=2000)


def test_bodies_are_the_same_for_a_seed() -> None:
    assert list(malformed_bodies(3, 50)) == list(malformed_bodies(3, 50))
    assert len(set(malformed_bodies(3, 500))) > 400
