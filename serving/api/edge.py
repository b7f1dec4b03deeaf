"""The edge of the HTTP server: heads in within bounds, every error out in the contract's shape."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isogloss.prompts.console.refusals import named
from isogloss.prompts.errors import InvalidInput, IsoglossError, NotFound, TooLarge, Unavailable
from isogloss.serving.api.bodies import UnknownCoding
from isogloss.serving.config import Logged
from isogloss.serving.pipeline.admission import QueueFull
from isogloss.serving.pipeline.caller import REQUEST_ID_HEADER, request_id_of
from isogloss.serving.telemetry.logs import current_request_id, fields, work_on
from isogloss.serving.telemetry.metrics import ServingMetrics
from isogloss.serving.telemetry.tracing import note_status, request_span

logger = logging.getLogger(__name__)

_ERROR_TYPE = "isogloss.error_type"
_ASKED_BY = "isogloss.asked_by"
REQUEST_ID = "isogloss.request_id"
"""Where a scope holds what the request is called, named by the caller or by us."""
_UNROUTED = "(none)"
_INTERNAL = "an unexpected error happened in the server; its log has the details; try again"
_SHOWN_CHARS = 100
MOST_HEADERS = 100
MOST_HEAD_BYTES = 32 << 10
_CALLER_LEFT = 499
"""As nginx counts it; nobody is there to read it."""


def add_error_handlers(api: FastAPI) -> None:
    """Answer every error that is raised on purpose with its status, sentence and type."""

    @api.exception_handler(IsoglossError)
    async def ours(request: Request, error: IsoglossError) -> JSONResponse:
        if error.status >= 500:
            logger.warning("%s", error)
        return _refusal(request, error.status, str(error), error.error_type, _advice(error))

    @api.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> JSONResponse:
        sentence = "the caller left before the answer was there"
        return _refusal(request, _CALLER_LEFT, sentence, Unavailable.error_type)

    @api.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return _refusal(request, 404, _no_route(request), NotFound.error_type)
        sentence = f"{_asked(request)}: {error.detail.lower()}; see /docs"
        kind = InvalidInput.error_type
        return _refusal(request, error.status_code, sentence, kind, _with_head(error.headers))

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        sentence = f"{named(problem['loc'], 'request')}: {problem['msg'][:200].lower()}; see /docs"
        return _refusal(request, InvalidInput.status, sentence, InvalidInput.error_type)


class Edge:
    """Outermost layer: names, times, counts and logs requests; lets no exception out unanswered."""

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
        own = {**scope, "headers": tuple(scope["headers"]), _ASKED_BY: scope["method"]}
        if scope["method"] == "HEAD":  # answered as GET is, without the body
            own["method"], send = "GET", _without_body(send)
        headers = Headers(raw=list(own["headers"]))
        own[REQUEST_ID] = request_id = request_id_of(headers)
        work_on(request_id)
        with request_span(scope["method"], headers, request_id):
            await self._answer(own, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.perf_counter()
        answered = False

        async def watch(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = current_request_id()
                self._note(scope, message["status"], time.perf_counter() - started_s)
            await send(message)

        try:
            if (problem := _too_large_head(scope)) is not None:
                refusal = _refusal(Request(scope), problem.status, str(problem), problem.error_type)
                await refusal(scope, receive, watch)
                return
            await self._app(scope, receive, watch)
        except Exception:
            logger.exception("a request failed")
            if answered:
                raise
            request = Request(scope)
            response = _refusal(request, 500, _INTERNAL, IsoglossError.error_type)
            await response(scope, receive, watch)

    def _note(self, scope: Scope, status: int, spent_s: float) -> None:
        known = getattr(scope.get("route"), "path", None)
        route = known or _UNROUTED
        error_type = scope.get(_ERROR_TYPE, "")
        note_status(known, status, error_type)
        self._metrics.requests.labels(route, str(status), error_type).inc()
        self._metrics.request_seconds.labels(route, f"{status // 100}xx").observe(spent_s)
        if self._logged == "all" or (self._logged == "failed" and status >= 500):
            about = {"method": scope[_ASKED_BY], "route": route, "status": status}
            about |= {"error_type": error_type, "seconds": round(spent_s, 6)}
            logger.log(
                logging.WARNING if status >= 500 else logging.INFO, "request", extra=fields(**about)
            )


def _refusal(
    request: Request,
    status: int,
    sentence: str,
    error_type: str,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    request.scope[_ERROR_TYPE] = error_type
    body = {"error": sentence, "error_type": error_type}
    return JSONResponse(body, status_code=status, headers=headers)


def _advice(error: IsoglossError) -> dict[str, str] | None:
    """What a program may do about an error, as headers."""
    if isinstance(error, QueueFull):
        return {"retry-after": str(error.retry_after_s)}
    return {"accept-encoding": "gzip, identity"} if isinstance(error, UnknownCoding) else None


def _with_head(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Of a method that is not allowed: whatever can be got has a head."""
    given = dict(headers or {})
    methods = given.get("Allow", "")
    if "GET" in methods.split(", ") and "HEAD" not in methods:
        given["Allow"] = f"{methods}, HEAD"
    return given or None


def _without_body(send: Send) -> Send:
    """Send an answer's head, with the length that its body would have, and no body."""

    async def bare(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return bare


def _no_route(request: Request) -> str:
    return f"there is no {_asked(request)}; GET /docs lists what there is"


def _asked(request: Request) -> str:
    """Method and path, as much of them as anybody needs to see what was wrong."""
    path = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    asked = f"{request.method} {path.decode('latin-1')}"
    return asked if len(asked) <= _SHOWN_CHARS else f"{asked[:_SHOWN_CHARS]}..."


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
