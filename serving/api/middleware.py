"""The outermost layer of the HTTP server: names, times, counts and logs requests."""

from __future__ import annotations

import logging
import time

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isogloss.prompts.errors import TooLarge
from isogloss.serving.api.errors import ERROR_TYPE, failure, refusal
from isogloss.serving.config import Logged
from isogloss.serving.pipeline.caller import (
    CLIENT_NAME,
    REQUEST_ID,
    REQUEST_ID_HEADER,
    request_id_of,
)
from isogloss.serving.telemetry.logs import current_request_id, fields, work_on
from isogloss.serving.telemetry.metrics import ServingMetrics
from isogloss.serving.telemetry.tracing import note_status, request_span

logger = logging.getLogger(__name__)

MOST_HEADERS = 100
MOST_HEAD_BYTES = 32 << 10
_ASKED_BY = "isogloss.asked_by"
_UNROUTED = "(none)"


class RequestMiddleware:
    """Gives each request its id, span, numbers and log line; no exception gets out unanswered."""

    def __init__(self, app: ASGIApp, metrics: ServingMetrics, logged: Logged = "failed") -> None:
        self._app = app
        self._metrics = metrics
        self._logged = logged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A copy: what the server's own parser adds to its list while the body comes is no header.
        copy = {**scope, "headers": tuple(scope["headers"]), _ASKED_BY: scope["method"]}
        if scope["method"] == "HEAD":  # answered as GET is, without the body
            copy["method"], send = "GET", _without_body(send)
        headers = Headers(raw=list(copy["headers"]))
        copy[REQUEST_ID] = request_id = request_id_of(headers)
        work_on(request_id)
        with request_span(scope["method"], headers, request_id):
            await self._answer(copy, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.perf_counter()
        answered = False

        async def noted(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = current_request_id()
                self._note(scope, message["status"], time.perf_counter() - started_s)
            await send(message)

        try:
            if (problem := _too_large_head(scope)) is not None:
                await refusal(Request(scope), problem)(scope, receive, noted)
                return
            await self._app(scope, receive, noted)
        except Exception:
            logger.exception("a request failed")
            if answered:
                raise
            await failure(Request(scope))(scope, receive, noted)

    def _note(self, scope: Scope, status: int, spent_s: float) -> None:
        known = getattr(scope.get("route"), "path", None)
        route = known or _UNROUTED
        error_type = scope.get(ERROR_TYPE, "")
        note_status(known, status, error_type)
        self._metrics.requests.labels(route, str(status), error_type).inc()
        if name := scope.get(CLIENT_NAME):
            self._metrics.key_requests.labels(name, f"{status // 100}xx").inc()
        self._metrics.request_seconds.labels(route, f"{status // 100}xx").observe(spent_s)
        if self._logged == "all" or (self._logged == "failed" and status >= 500):
            about = {"method": scope[_ASKED_BY], "route": route, "status": status}
            about |= {"error_type": error_type, "seconds": round(spent_s, 6)}
            logger.log(
                logging.WARNING if status >= 500 else logging.INFO, "request", extra=fields(**about)
            )


def _without_body(send: Send) -> Send:
    """Send an answer's head, with the length that its body would have, and no body."""

    async def bare(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return bare


def _too_large_head(scope: Scope) -> TooLarge | None:
    """What is wrong with a request's head; HAProxy refuses such before, other servers may not."""
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS:
        return TooLarge(f"head: {len(headers)} headers are too many; send at most {MOST_HEADERS}")
    size = len(scope["path"]) + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in headers)
    if size > MOST_HEAD_BYTES:
        return TooLarge(
            f"head: path and headers of {size} bytes are too much; send at most {MOST_HEAD_BYTES}"
        )
    return None
