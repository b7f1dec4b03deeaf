"""Heads and bodies leave together: what was begun can be asked of nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from isogloss.serving.ray.hooks.uvicorn_protocol import write_answers_whole
from tests.sockets import served


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    ids = [(b"x-request-id", b"ours"), (b"via", b"a"), (b"X-Request-ID", b"Ray's"), (b"via", b"b")]
    head = {"type": "http.response.start", "status": 200, "headers": ids}
    await send(head)
    if scope["path"] == "/fails":
        raise ValueError("after the head")
    if scope["path"] == "/silent":
        return
    if scope["path"] == "/parts":
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b"whole"})


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is written, write by write."""
    seen: list[bytes] = []
    made = HttpToolsProtocol.connection_made

    def watched(self: Any, transport: Any) -> None:
        spy: Any = Spy(transport, seen)
        made(self, spy)

    monkeypatch.setattr(HttpToolsProtocol, "connection_made", watched)
    return seen


class Spy:
    def __init__(self, transport: Any, seen: list[bytes]) -> None:
        self._transport, self._seen = transport, seen

    def write(self, data: bytes) -> None:
        self._seen.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(RequestResponseCycle, "send", RequestResponseCycle.send)
    write_answers_whole()
    write_answers_whole()  # once is enough, and twice is once
    config = uvicorn.Config(app, http="httptools", log_config=None, lifespan="off", ws="none")
    with served(config) as address:
        yield address


def test_an_answer_is_one_write(writes: list[bytes], url: str) -> None:
    with httpx.Client(base_url=url) as client:
        for _ in range(3):
            assert client.get("/").text == "whole"
        assert len(writes) == 3
        assert all(b"HTTP/1.1 200" in each and b"whole" in each for each in writes)
        assert client.get("/", headers={"connection": "close"}).text == "whole"
    assert len(writes) == 4


def test_an_answer_in_parts_begins_with_its_first_part(writes: list[bytes], url: str) -> None:
    assert httpx.get(f"{url}/parts").text == "one whole"
    assert len(writes) == 2
    assert b"HTTP/1.1 200" in writes[0]


@pytest.mark.parametrize("path", ["/fails", "/silent"])
def test_an_answer_that_fails_behind_its_head_is_an_error(
    writes: list[bytes], url: str, path: str
) -> None:
    assert httpx.get(f"{url}{path}").status_code == 500
    assert len(writes) == 1


def test_an_answer_bears_the_id_that_the_edge_gave_it(url: str) -> None:
    headers = httpx.get(url).headers
    assert headers.get_list("x-request-id") == ["ours"]
    assert headers.get_list("via") == ["a", "b"]
