"""Routes that need nothing of FastAPI answer, refuse and are counted as through its layers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from starlette.types import Message

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.api.direct import DirectRoutes, direct_routes, watching_paths
from isogloss.serving.api.errors import add_error_handlers
from tests.fakes import fake_classifier, fake_settings, fake_store, http_client

BODY = {"inputs": "ita_Latn: ciao"}


def small_api() -> FastAPI:
    api = FastAPI()
    add_error_handlers(api)

    @api.get("/{anything}")
    async def first(anything: str) -> str:
        return anything

    @api.get("/behind")
    async def behind(request: Request) -> Response:
        return Response("never asked")

    @api.post("/whole")
    async def whole(request: Request) -> Response:
        return Response(request.scope["route"].path)

    @api.post("/refuses")
    async def refuses(request: Request) -> Response:
        raise InvalidInput("no; send yes")

    @api.post("/fails")
    async def fails(request: Request) -> Response:
        raise ValueError("unexpected")

    @api.post("/model")
    async def model(request: Request) -> dict[str, str]:
        return {"serialised": "by FastAPI"}

    return api


class Layers:
    """In place of FastAPI's: says that it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope.get("path", scope["type"]))


def ask(app: Any, **scope: Any) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    given = {"type": "http", "method": "POST", "headers": [], "query_string": b"", **scope}
    asyncio.run(app(given, None, send))
    return sent


def test_only_what_is_the_first_to_match_and_does_all_itself_is_direct() -> None:
    found = set(direct_routes(small_api()))
    assert found == {("POST", "/whole"), ("POST", "/refuses"), ("POST", "/fails")}


def test_a_direct_route_is_not_asked_through_the_layers() -> None:
    layers = Layers()
    start, body = ask(DirectRoutes(layers, small_api()), path="/whole")
    assert (start["status"], body["body"]) == (200, b"/whole")
    assert layers.asked == []


@pytest.mark.parametrize(
    "scope",
    [
        {"path": "/model"},
        {"path": "/whole", "method": "GET"},
        {"path": "/whole/"},
        {"path": "/whole", "root_path": "/below"},
        {"path": "/whole", "type": "websocket"},
        {"type": "lifespan"},
    ],
)
def test_everything_else_goes_through_them(scope: Mapping[str, Any]) -> None:
    layers = Layers()
    assert ask(DirectRoutes(layers, small_api()), **scope) == []
    assert len(layers.asked) == 1


def test_errors_go_to_their_handlers_and_what_has_none_goes_up() -> None:
    app = DirectRoutes(Layers(), small_api())
    start, body = ask(app, path="/refuses")
    assert start["status"] == 422
    assert b"no; send yes" in body["body"]
    with pytest.raises(ValueError, match="unexpected"):
        ask(app, path="/fails")


def test_a_check_comes_first_and_may_refuse() -> None:
    seen: list[str] = []

    async def check(request: Request) -> None:
        seen.append(request.scope["route"].path)
        raise InvalidInput("who are you")

    start, body = ask(DirectRoutes(Layers(), small_api(), check), path="/whole")
    assert (start["status"], seen) == (422, ["/whole"])
    assert b"who are you" in body["body"]


def test_what_classifies_is_direct_and_what_administers_watches_nobody(tmp_path: Path) -> None:
    store = fake_store(tmp_path / "store")
    settings = fake_settings(store.root)

    async def scenario() -> tuple[frozenset[str], httpx.Response, str]:
        async with http_client(fake_classifier(settings), store, settings) as client:
            transport: Any = client._transport
            answer = await client.post("/v1/classify", json=BODY)
            return watching_paths(transport.app), answer, (await client.get("/metrics")).text

    paths, answer, page = asyncio.run(scenario())
    assert {"/v1/classify", "/v1/decisions", "/classify", "/predict", "/"} <= paths
    assert not {"/v1/rollback", "/v1/promote", "/v1/routes"} & paths
    assert answer.status_code == 200
    assert answer.json()["results"][0]["label"]
    counted = [line for line in page.splitlines() if line.startswith("isogloss_requests_total{")]
    assert len(counted) == 1
    assert 'route="/v1/classify"' in counted[0]
