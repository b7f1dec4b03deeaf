"""Thousands of malformed requests: none gets a 500, stops the next good one, or leaves a file.

More than 10,000 bodies run in the suite; the soak runs twenty times as many.
"""

from __future__ import annotations

import collections
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest

from isogloss.prompts.store.store import PromptStore
from isogloss.prompts.store.verify import verify
from tests.fakes import soft_prompt
from tests.prompts.damaged_files import damaged
from tests.serving.api.refused import assert_told_as_asked
from tests.serving.api_server import ADMIN, Server
from tests.serving.malformed import (
    every_field_with_every_odd_value,
    malformed_bodies,
    malformed_rollbacks,
    malformed_tables,
)

STATUSES = {200, 307, 400, 401, 404, 405, 413, 422}
BODIES, TABLES, ROLLBACKS, FILES = 2_500, 500, 160, 300
SOAK = 60
_ALIVE_EVERY = 100
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
    (b"traceparent", b"00-\xff-0-"),
)
_TOKEN = (b"authorization", ADMIN["authorization"].encode())
Sent = tuple[str, str, bytes]  # method, path, body


class Fuzzed:
    """Sends requests and counts the answers; each must have the contract's shape."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._draw = random.Random(seed)
        self.statuses: collections.Counter[int] = collections.Counter()
        self.bodies: set[bytes] = set()

    def send(self, requests: Iterable[Sent]) -> None:
        async def scenario(client: httpx.AsyncClient) -> None:
            for n, (method, path, body) in enumerate(requests):
                await self._send(client, method, path, body)
                if n % _ALIVE_EVERY == 0:
                    good = await client.post("/v1/classify", json={"inputs": "fra_Latn: oui"})
                    assert good.status_code == 200, (n, body)

        self._server(scenario)

    async def _send(self, client: httpx.AsyncClient, method: str, path: str, body: bytes) -> None:
        headers = self._draw.sample(_HEADERS, self._draw.randint(0, 3))
        if path != "/v1/classify" and self._draw.random() < 0.95:
            headers = [*(each for each in headers if each[0] != b"authorization"), _TOKEN]
        answer = await client.request(method, path, content=body, headers=headers)
        self.statuses[answer.status_code] += 1
        self.bodies.add(body)
        assert answer.status_code in STATUSES, (method, path, body, answer.text)
        if answer.status_code >= 400:
            assert_told_as_asked(path, answer)


def listing(store: PromptStore) -> list[tuple[str, int]]:
    """Every file of a store, with its size."""
    files = (path for path in store.root.rglob("*") if path.is_file())
    return sorted((path.relative_to(store.root).as_posix(), path.stat().st_size) for path in files)


def for_classify(bodies: Iterable[bytes]) -> Iterator[Sent]:
    """Requests for the route that takes texts, a few of them for its neighbour."""
    for n, body in enumerate(bodies):
        yield ("POST", "/v1/classify" if n % 50 else "/v1/classify/", body)


def fuzz(server: Server, seed: int, times: int) -> Fuzzed:
    """Send all kinds of malformed JSON; the store is as it was."""
    before, fuzzed = listing(server.store), Fuzzed(server, seed)
    fuzzed.send(for_classify(malformed_bodies(seed, times * BODIES)))
    fuzzed.send(("PUT", "/v1/routes", body) for body in malformed_tables(seed, times * TABLES))
    fuzzed.send(
        ("POST", "/v1/rollback", body) for body in malformed_rollbacks(seed, times * ROLLBACKS)
    )
    assert listing(server.store) == before, "a refused request left something behind"
    return fuzzed


def fuzz_files(server: Server, seed: int, count: int) -> Fuzzed:
    """Publish mutated prompt files; what is whole by luck is in the store, and nothing else is."""
    whole = (soft_prompt(9.0).to_bytes(), soft_prompt(-1.0, length=7).to_bytes())
    before, fuzzed = listing(server.store), Fuzzed(server, seed)
    fuzzed.send(("PUT", "/v1/prompts/romance", damaged(seed + n, whole)[1]) for n in range(count))
    report = verify(server.store)
    assert (report.problems, report.unreferenced) == ((), 0)
    files = [name for name, _ in listing(server.store)]
    assert set(dict(before)) <= set(files)
    assert not [name for name in files if not name.startswith(("objects/", "generations/"))]
    assert report.newest <= 1 + fuzzed.statuses[200]
    assert len(files) == report.generations + report.objects
    return fuzzed


def test_thousands_of_malformed_bodies_leave_nothing_behind(server: Server) -> None:
    fuzzed = fuzz(server, seed=1, times=1)
    fuzzed.send(for_classify(every_field_with_every_odd_value()))
    assert len(fuzzed.bodies) > 3_000
    assert fuzzed.statuses.total() >= len(fuzzed.bodies)
    refused = fuzzed.statuses[400] + fuzzed.statuses[422] + fuzzed.statuses[404]
    assert refused > 0.85 * fuzzed.statuses.total()
    assert min(fuzzed.statuses[400], fuzzed.statuses[422]) > 300
    assert fuzzed.statuses[401] > 10


def test_hundreds_of_mutated_prompt_files_over_http(server: Server) -> None:
    fuzzed = fuzz_files(server, seed=0, count=FILES)
    assert fuzzed.statuses[422] > FILES / 2


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_very_many_malformed_bodies(server: Server) -> None:
    fuzzed = fuzz(server, seed=2, times=SOAK)
    assert len(fuzzed.bodies) > SOAK * 2_800


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_very_many_mutated_prompt_files_over_http(tmp_path: Path) -> None:
    for part in range(SOAK):
        fuzz_files(Server(tmp_path / str(part)), seed=10_000 + part * FILES, count=FILES)


def test_bodies_are_the_same_for_a_seed() -> None:
    for make in (malformed_bodies, malformed_tables, malformed_rollbacks):
        assert list(make(3, 50)) == list(make(3, 50))
        assert len(set(make(3, 200))) == 200
