"""The edge of the HTTP server: bodies in within bounds, every error out in the contract's shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prompts.errors import InvalidInput, IsoglossError, NotFound, TooLarge
from serving.metrics import ServingMetrics

logger = logging.getLogger(__name__)

_ERROR_TYPE = "isogloss.error_type"
_UNROUTED = "(none)"
_INTERNAL = "an unexpected error happened in the server; its log has the details; try again"


async def read_body(request: Request, limit: int) -> bytes:
    """Return the request's body.

    Raises:
        TooLarge: it is declared to be, or turns out to be, over the limit; no more than the limit
            is ever held.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(f"{int(declared)} bytes", limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(f"more than {limit} bytes", limit)
        chunks.append(chunk)
    return b"".join(chunks)


def add_error_handlers(api: FastAPI) -> None:
    """Answer every error that is raised on purpose with its status, sentence and type."""

    @api.exception_handler(IsoglossError)
    async def ours(request: Request, error: IsoglossError) -> JSONResponse:
        if error.status >= 500:
            logger.warning("%s %s: %s", request.method, request.url.path, error)
        return _refusal(request, error.status, str(error), error.error_type)

    @api.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return _refusal(request, 404, _no_route(request), NotFound.error_type)
        sentence = f"{request.method} {request.url.path}: {error.detail.lower()}; see /docs"
        kind = InvalidInput.error_type
        return _refusal(request, error.status_code, sentence, kind, error.headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        sentence = f"{field}: {problem['msg'].lower()}; see /docs"
        return _refusal(request, InvalidInput.status, sentence, InvalidInput.error_type)


class Edge:
    """Outermost layer: counts every answer, and lets no exception out without one."""

    def __init__(self, app: ASGIApp, metrics: ServingMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status: int | None = None

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._count(scope, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if status is not None:
                raise
            request = Request(scope)
            response = _refusal(request, 500, _INTERNAL, IsoglossError.error_type)
            await response(scope, receive, watch)

    def _count(self, scope: Scope, status: int) -> None:
        route = getattr(scope.get("route"), "path", _UNROUTED)
        self._metrics.requests.labels(route, str(status), scope.get(_ERROR_TYPE, "")).inc()


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


def _no_route(request: Request) -> str:
    return f"there is no {request.method} {request.url.path}; GET /docs lists what there is"


def _too_large(size: str, limit: int) -> TooLarge:
    return TooLarge(f"body: {size} are too many; send at most {limit}")
