"""Hostile bodies for every operation of a document, and what is wrong with an answer to one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from isogloss.deploy.load.tally import NO_ANSWER
from isogloss.deploy.load.wire import NoAnswer, Reply
from isogloss.deploy.soak import hostile
from isogloss.deploy.soak.hostile import HostileSettings, Seen, attack, complaint
from isogloss.deploy.soak.hostile_bodies import Operation, operations

DOCUMENT: dict[str, Any] = {
    "components": {"schemas": {"Asked": {"properties": {"inputs": {}, "top_k": {}}}}},
    "paths": {
        "/ask": {
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Asked"}}
                    }
                }
            },
            "get": {},
        },
        "/file": {"put": {"requestBody": {"content": {"application/octet-stream": {}}}}},
    },
}


def test_every_operation_of_a_document_is_known_with_what_it_takes() -> None:
    asked, got, file = operations(DOCUMENT)
    assert asked == Operation("POST", "/ask", ("inputs", "top_k"))
    assert got == Operation("GET", "/ask")
    assert file == Operation("PUT", "/file", takes_file=True)
    assert [each.takes_body for each in (asked, got, file)] == [True, False, True]


@pytest.mark.parametrize(
    ("status", "body", "wrong"),
    [
        (200, b"anything", None),
        (422, {"error": "a", "error_type": "validation"}, None),
        (422, {"detail": []}, "422: "),
        (500, {"error": "a", "error_type": "internal"}, "500: "),
        (413, b"<html>", "413 without JSON"),
    ],
)
def test_a_refusal_has_the_contracts_shape_and_is_the_clients_fault(
    status: int, body: Any, wrong: str | None
) -> None:
    said = complaint(Reply(status, {}, body if isinstance(body, bytes) else dumped(body)))
    assert (said is None) if wrong is None else str(said).startswith(wrong)


def dumped(body: Any) -> bytes:
    return json.dumps(body).encode()


def test_a_body_without_an_answer_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def __init__(self, url: str) -> None:
            self.closed = False

        async def ask(self, request: bytes) -> Reply:
            assert b"authorization: Bearer secret" in request
            raise NoAnswer("it ended")

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr(hostile, "Connection", Gone)
    seen = attack("http://x", "secret", Operation("POST", "/ask", ("inputs",)), 1000, 0)
    assert (seen.status, seen.wrong) == (NO_ANSWER, "no answer: it ended")


def test_every_route_is_attacked_with_as_many_bodies_as_it_deserves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Server:
        url, token = "http://x", "secret"

        async def get(self, path: str) -> Reply:
            return Reply(200, {}, dumped(DOCUMENT))

    class Here:
        """In place of a process: what is submitted is done at once."""

        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> None:
            return None

        def __exit__(self, *_: object) -> None:
            return None

    sizes: list[tuple[str, int]] = []

    def seen(url: str, token: str, operation: Operation, size: int, number: int) -> Seen:
        sizes.append((operation.method, size))
        return Seen(422, 0.001 * number)

    monkeypatch.setattr(hostile, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(hostile, "attack", seen)
    settings = HostileSettings(bodies=5, size=10, file_size=20)
    server: Any = Server()
    routes = asyncio.run(hostile._attack(settings, server, lambda line: None))
    assert {name: len(own) for name, own in routes.items()} == {
        "POST /ask": 5,
        "GET /ask": 3,
        "PUT /file": 5,
    }
    assert set(sizes) == {("POST", 10), ("GET", 10), ("PUT", 20)}
    assert hostile._shown(routes["POST /ask"]) == {
        "bodies": 5,
        "longest_ms": 4.0,
        "statuses": {"422": 5},
        "wrong": [],
    }
