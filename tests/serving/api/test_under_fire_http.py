"""Overload, deadlines, slow and lost callers, a store and a board that fail, over HTTP."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from isogloss.prompts.errors import Unavailable
from isogloss.prompts.store.generations import Generations
from isogloss.serving.registry.replicas import LocalBoard, ReplicaReport
from tests.serving.fire import Fire


def test_a_refusal_over_http_says_when_to_try_again(fire: Fire) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        fire.backbone.gate.clear()
        body = {"inputs": ["x"] * 9}
        first = asyncio.create_task(client.post("/v1/classify", json=body))
        assert await asyncio.to_thread(fire.backbone.entered.wait, 10)
        refused = await client.post("/v1/classify", json=body)
        assert refused.status_code == 429
        assert refused.json()["error_type"] == "overloaded"
        assert int(refused.headers["retry-after"]) >= 1
        other = client.post("/v1/classify", json={"inputs": "x"}, headers={"x-api-key": "k"})
        second = asyncio.create_task(other)
        fire.backbone.gate.set()
        assert (await first).status_code == 200
        assert (await second).status_code == 200

    fire.serve(scenario, max_queue_items=12)


def test_a_deadline_over_http(fire: Fire) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        fire.backbone.gate.clear()
        headers = {"x-request-timeout-ms": "20", "x-request-id": "mine"}
        late = await client.post("/v1/classify", json={"inputs": "x"}, headers=headers)
        assert (late.status_code, late.json()["error_type"]) == (503, "unavailable")
        assert late.headers["x-request-id"] == "mine"
        wrong = await client.post(
            "/v1/classify", json={"inputs": "x"}, headers={"x-request-timeout-ms": "soon"}
        )
        assert (wrong.status_code, wrong.json()["error_type"]) == (422, "validation")
        fire.backbone.gate.set()

    fire.serve(scenario)


def test_a_client_that_hangs_up_is_noticed(fire: Fire) -> None:
    left = threading.Event()
    statuses: list[int] = []

    async def scenario(client: httpx.AsyncClient) -> None:
        app = client._transport.app  # type: ignore[attr-defined]
        fire.backbone.gate.clear()
        hung_up = asyncio.Event()
        messages = [{"type": "http.request", "body": b'{"inputs": ["x", "y"]}'}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await hung_up.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            statuses.extend([message["status"]] if "status" in message else [])

        scope = {
            "type": "http", "method": "POST", "path": "/v1/classify", "headers": [],
            "query_string": b"", "client": ("test", 1),
        }  # fmt: skip
        asked = asyncio.create_task(app(scope, receive, send))
        assert await asyncio.to_thread(fire.backbone.entered.wait, 10)
        hung_up.set()
        await asked  # long before the gate is opened
        left.set()
        fire.backbone.gate.set()
        page = (await client.get("/metrics")).text
        assert 'isogloss_left_total{model="fake-bloom",reason="caller"' in page

    fire.serve(scenario)
    assert left.is_set()
    assert statuses == [499]


def test_a_slow_client_is_not_waited_for(fire: Fire) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        async def slow() -> Any:
            yield b'{"inputs": '
            await asyncio.Event().wait()

        answer = await client.post("/v1/classify", content=slow())
        assert (answer.status_code, answer.json()["error_type"]) == (400, "validation")
        assert "did not arrive within 0.02 s" in answer.json()["error"]

    fire.serve(scenario, body_timeout_s=0.02)


@pytest.mark.parametrize("length", ["²", "9" * 5000, "-1", "1e9", " 12 ", "0" * 30 + "5"])
def test_a_declared_length_may_be_anything(fire: Fire, length: str) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        headers = [(b"content-length", length.encode("latin-1"))]
        answer = await client.post("/v1/classify", content=b'{"inputs": "a"}', headers=headers)
        assert answer.status_code == (413 if length.startswith("99") else 200)

    fire.serve(scenario)


def test_a_store_that_cannot_be_read_is_said_and_the_loaded_prompts_serve_on(
    fire: Fire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    async def scenario(client: httpx.AsyncClient) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Generations, "has", broken)
            await asyncio.to_thread(fire.poll)
            assert (await client.post("/v1/classify", json={"inputs": "x"})).status_code == 200
            ready = (await client.get("/ready")).json()
            assert (ready["ready"], ready["generation"]) == (True, 1)
            assert "Permission denied" in ready["replicas"][0]["problem"]
            assert "isogloss_store_problem{" in (page := (await client.get("/metrics")).text)
            assert problem_in(page) == 1
        await asyncio.to_thread(fire.poll)
        assert (await client.get("/ready")).json()["replicas"][0]["problem"] is None
        assert problem_in((await client.get("/metrics")).text) == 0

    fire.serve(scenario)


def problem_in(page: str) -> float:
    (line,) = (each for each in page.splitlines() if each.startswith("isogloss_store_problem{"))
    return float(line.split()[-1])


def test_a_replica_that_drains_is_not_ready(fire: Fire) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/ready")).status_code == 200
        assert await fire.served.drain(1)
        for answer in (
            await client.get("/ready"),
            await client.post("/v1/classify", json={"inputs": "x"}),
        ):
            assert (answer.status_code, answer.json()["error_type"]) == (503, "unavailable")

    fire.serve(scenario)


def test_numbers_are_to_be_had_while_the_replicas_board_is_gone(fire: Fire) -> None:
    class Gone(LocalBoard):
        def reports(self) -> list[ReplicaReport]:
            raise Unavailable("the replicas' board does not answer")

    fire.board = Gone()

    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/ready")).status_code == 503
        page = await client.get("/metrics")
        assert page.status_code == 200
        assert problem_in(page.text) == 0

    fire.serve(scenario)
