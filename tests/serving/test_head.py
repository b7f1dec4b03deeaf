"""How much a client may put before a body, and that errors quote no more of it than helps."""

from __future__ import annotations

import httpx
import pytest

from serving.edge import MOST_HEAD_BYTES, MOST_HEADERS
from tests.serving.test_app import Server, server
from tests.serving.test_bad_input import assert_refused

__all__ = ["server"]

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
def test_a_head_over_the_limits_is_refused(
    server: Server, path: str, headers: Headers, what: str
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        refused = await client.get(path, headers=headers)
        assert what in assert_refused(refused, 413, "too_large")
        assert len(refused.headers["x-request-id"]) == 32
        page = (await client.get("/metrics")).text
        assert (
            'error_type="too_large",model="fake-bloom",replica="replica-1",route="(none)"' in page
        )

    server(scenario)


def test_heads_below_the_limits_are_let_in(server: Server) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        many: Headers = [(b"x", b"y")] * (MOST_HEADERS - 10)
        large: Headers = [(b"x", b"y" * (MOST_HEAD_BYTES - 1000))]
        for headers in (many, large):
            assert (await client.get("/health", headers=headers)).status_code == 200

    server(scenario)


def test_an_error_quotes_the_beginning_of_a_long_path(server: Server) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for answer in (
            await client.get(f"/{'a' * 10_000}"),
            await client.patch(f"/v1/prompts/{'a' * 10_000}"),
            await client.get(f"/v1/prompts/{'a' * 10_000}"),
        ):
            assert answer.status_code in (404, 405, 422)
            assert "aaa..." in answer.text or "aaa'" in answer.text
            assert len(answer.text) < 400

    server(scenario)
