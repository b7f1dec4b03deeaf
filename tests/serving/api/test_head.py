"""How much a client may put before a body, and that errors quote no more of it than helps."""

from __future__ import annotations

import pytest

from isogloss.serving.api.middleware import MOST_HEAD_BYTES, MOST_HEADERS
from tests.fakes import MODEL
from tests.serving.api.refused import assert_refused
from tests.serving.api_server import Server

Headers = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("path", "headers", "what"),
    [
        ("/health", [(b"x", b"y")] * (MOST_HEADERS + 1), "headers are too many; send at most 100"),
        ("/health", [(b"x", b"y" * MOST_HEAD_BYTES)], f"send at most {MOST_HEAD_BYTES}"),
        ("/health", [(b"y" * MOST_HEAD_BYTES, b"x")], f"send at most {MOST_HEAD_BYTES}"),
        (f"/{'a' * MOST_HEAD_BYTES}", [], f"send at most {MOST_HEAD_BYTES}"),
        (f"/health?{'a' * MOST_HEAD_BYTES}", [], f"send at most {MOST_HEAD_BYTES}"),
    ],
    ids=["headers", "value", "name", "path", "query"],
)
async def test_a_head_over_the_limits_is_refused(
    server: Server, path: str, headers: Headers, what: str
) -> None:
    async with server.client() as client:
        refused = await client.get(path, headers=headers)
        assert what in assert_refused(refused, 413, "too_large")
        assert len(refused.headers["x-request-id"]) == 32
        page = (await client.get("/metrics")).text
        assert (
            'error_type="too_large",model="fake-bloom",replica="replica-1",route="(none)"' in page
        )


async def test_heads_below_the_limits_are_let_in(server: Server) -> None:
    async with server.client() as client:
        many: Headers = [(b"x", b"y")] * (MOST_HEADERS - 10)
        large: Headers = [(b"x", b"y" * (MOST_HEAD_BYTES - 1000))]
        for headers in (many, large):
            assert (await client.get("/health", headers=headers)).status_code == 200


async def test_an_error_quotes_the_beginning_of_a_long_path(server: Server) -> None:
    async with server.client() as client:
        for answer in (
            await client.get(f"/{'a' * 10_000}"),
            await client.patch(f"/v1/prompts/{'a' * 10_000}"),
            await client.get(f"/v1/prompts/{'a' * 10_000}"),
        ):
            assert answer.status_code in (404, 405, 422)
            assert "aaa..." in answer.text or "aaa'" in answer.text
            assert len(answer.text) < 400


@pytest.mark.parametrize(
    "path",
    [
        "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/v1/models", "/v1/prompts",
        "/v1/routes", "/v1/languages", "/v1/trials", "/v1/prompts/romance",
        "/v1/prompts/romance/file", "/v1/prompts/nobody", "/nowhere",
    ],
)  # fmt: skip
async def test_whatever_can_be_got_has_a_head(server: Server, path: str) -> None:
    async with server.client() as client:
        whole = await client.get(path)
        head = await client.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        if path != "/metrics":  # which counts the requests themselves
            assert head.headers["content-length"] == str(len(whole.content))
        same = ("content-type", "etag", "content-disposition")
        assert [head.headers.get(name) for name in same] == [
            whole.headers.get(name) for name in same
        ]


async def test_every_documented_get_has_a_head(server: Server) -> None:
    async with server.client() as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        got = [path for path, own in paths.items() if "get" in own]
        assert len(got) > 8
        for path in got:
            head = await client.head(path.format(name="romance", model=MODEL, version="1"))
            assert (head.status_code, head.content) == (200, b""), path
        assert all("head" not in own for own in paths.values())


async def test_what_cannot_be_got_has_no_head(server: Server) -> None:
    async with server.client() as client:
        assert (await client.head("/v1/classify")).status_code == 405
        refused = await client.post("/health")
        assert refused.status_code == 405
        assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/%1b%5b31m", "/a%0d%0aset-cookie:x", "/v1/prompts/%1b%5b2J"])
async def test_an_error_repeats_no_control_characters_of_a_path(server: Server, path: str) -> None:
    async with server.client() as client:
        for method in ("GET", "PATCH"):
            refused = await client.request(method, path)
            assert refused.status_code in (404, 405, 422)
            assert str(refused.json()["error"]).isprintable()
