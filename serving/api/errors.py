"""Every error of the HTTP routes: decided here, and told in the shape that its caller reads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from isogloss.prompts.console.refusals import named
from isogloss.prompts.errors import InvalidInput, IsoglossError, NotFound, Unauthorized, Unavailable
from isogloss.serving.api.dialects.shapes import shape_of
from isogloss.serving.http.bodies import UnknownCoding
from isogloss.serving.pipeline.admission import QueueFull

logger = logging.getLogger(__name__)

ERROR_TYPE = "isogloss.error_type"
"""Where a request's scope says what was wrong with it, for logs, metrics and traces."""
_INTERNAL = "an unexpected error happened in the server; its log has the details; try again"
_SHOWN_CHARS = 100
_CALLER_LEFT = 499
"""As nginx counts it; nobody is there to read it."""


def error_response(
    request: Request,
    status: int,
    sentence: str,
    error_type: str,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Answer a request with an error; every error goes out through here."""
    request.scope[ERROR_TYPE] = error_type
    told = shape_of(request.scope)(status, sentence, error_type)
    return JSONResponse(told.body, status_code=told.status, headers=headers)


def refusal(request: Request, error: IsoglossError) -> JSONResponse:
    """Answer with an error that was raised on purpose: its status, sentence and type."""
    return error_response(request, error.status, str(error), error.error_type, _advice(error))


def failure(request: Request) -> JSONResponse:
    """Answer a request that failed for a reason that is none of its caller's."""
    return error_response(request, IsoglossError.status, _INTERNAL, IsoglossError.error_type)


def add_error_handlers(api: FastAPI) -> None:
    """Answer what is raised in a route."""

    @api.exception_handler(IsoglossError)
    async def ours(request: Request, error: IsoglossError) -> JSONResponse:
        if error.status >= 500:
            logger.warning("%s", error)
        return refusal(request, error)

    @api.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> JSONResponse:
        sentence = "the caller left before the answer was there"
        return error_response(request, _CALLER_LEFT, sentence, Unavailable.error_type)

    @api.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            sentence = f"there is no {_asked(request)}; GET /docs lists what there is"
            return refusal(request, NotFound(sentence))
        sentence = f"{_asked(request)}: {error.detail.lower()}; see /docs"
        headers = _with_head(error.headers)
        kind = InvalidInput.error_type
        return error_response(request, error.status_code, sentence, kind, headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        where, why = named(problem["loc"], "request"), problem["msg"][:200].lower()
        return refusal(request, InvalidInput(f"{where}: {why}; see /docs"))


def _advice(error: IsoglossError) -> dict[str, str] | None:
    """What a program may do about an error, as headers."""
    if isinstance(error, Unauthorized):
        return {"www-authenticate": "Bearer"}
    if isinstance(error, QueueFull):
        return {"retry-after": str(error.retry_after_s)}
    return (
        {"accept-encoding": "gzip, deflate, identity"} if isinstance(error, UnknownCoding) else None
    )


def _with_head(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Headers about a method that is not allowed: whatever can be got has a head."""
    given = dict(headers or {})
    methods = given.get("Allow", "")
    if "GET" in methods.split(", ") and "HEAD" not in methods:
        given["Allow"] = f"{methods}, HEAD"
    return given or None


def _asked(request: Request) -> str:
    """Method and path, as much of them as anybody needs to see what was wrong."""
    path = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    asked = f"{request.method} {path.decode('latin-1')}"
    return asked if len(asked) <= _SHOWN_CHARS else f"{asked[:_SHOWN_CHARS]}..."
