"""One request and its reply, as httpx has them: the same for threads and for an event loop."""

from __future__ import annotations

from typing import Any, TypeVar

import httpx

from isogloss.serving.client.asks import Ask
from isogloss.serving.client.replies import Passing, read, unreachable
from isogloss.serving.client.retries import Attempts, Clock
from isogloss.serving.client.target import Target

Answer = TypeVar("Answer")

_LONGEST_WAIT_MS = 3_600_000
_SHORTEST_WAIT_S = 0.001


def connection(target: Target) -> dict[str, Any]:
    """How an httpx client is made for a server."""
    return {
        "base_url": target.url,
        "headers": {"x-api-key": target.api_key} if target.api_key else {},
        "limits": httpx.Limits(max_connections=target.concurrency),
        "trust_env": not target.is_near,
    }


def attempts(target: Target, ask: Ask[Any], clock: Clock) -> Attempts:
    """What a call may try."""
    return Attempts(0 if ask.at_once else target.retries, target.timeout_s, clock)


def request(target: Target, ask: Ask[Any], left_s: float) -> dict[str, Any]:
    """How httpx sends what is asked, with that much time left.

    Raises:
        Unauthorized: it is a change, and there is no admin token.
    """
    headers = {}
    if ask.content is not None:
        headers["content-type"] = ask.content_type
    if ask.request_id is not None:
        headers |= {"authorization": target.bearer(), "x-request-id": ask.request_id}
    if ask.in_time:
        wait_ms = min(max(1, int(left_s * 1000)), _LONGEST_WAIT_MS)
        headers["x-request-timeout-ms"] = str(wait_ms)
    return {
        "method": ask.method,
        "url": ask.path,
        "params": list(ask.query) or None,
        "content": ask.content,
        "headers": headers,
        "timeout": max(_SHORTEST_WAIT_S, left_s),
    }


def answer(target: Target, ask: Ask[Answer], reply: httpx.Response, body: bytes) -> Answer:
    """What a reply answers; raises as `read`."""
    return read(ask, reply.status_code, reply.headers, body, target.shown_url)


def too_late(target: Target) -> Passing:
    """Say that the whole reply did not come in time."""
    return unreachable(target.shown_url, httpx.ReadTimeout("the answer took too long"))
