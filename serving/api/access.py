"""Who may ask: API keys in front of every route but a few, and browsers of other origins."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from isogloss.prompts.errors import InvalidInput, Unauthorized
from isogloss.serving.http.keys import ApiKeys
from isogloss.serving.http.openapi import wants_key
from isogloss.serving.pipeline.caller import CLIENT_NAME, REQUEST_ID_HEADER

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
_SHOWN_TO_PAGES = (REQUEST_ID_HEADER, "retry-after", "etag", "x-total-time")
_KEPT_S = 600


class KeyCheck:
    """Requires a key of every request whose route has no security of its own."""

    def __init__(self, keys: ApiKeys) -> None:
        self._keys = keys

    async def __call__(self, request: Request) -> None:
        """Name the client by its key; runs before a body is read.

        Raises:
            Unauthorized: the request bears no key of ours.
        """
        name = self._keys.name_of(request.headers)
        if name is not None:
            request.scope[CLIENT_NAME] = name
            return
        if wants_key(getattr(request.scope.get("route"), "openapi_extra", None)):
            raise Unauthorized(
                "the API key is missing or wrong; send the header 'Authorization: Bearer KEY' or "
                "'x-api-key: KEY' with a key that the server's operator gave you"
            )


class Cors(CORSMiddleware):
    """Starlette's, whose refusal is told as all errors are.

    No credentials of a browser are ever let in: keys travel in headers that a page sets itself.
    """

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer whether a page may ask."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        sentence = (
            f"origin {request_headers['origin'][:100]!r}: its pages may not ask so; the server's "
            "operator lets origins in with --cors-origin or ISOGLOSS_CORS_ORIGINS"
        )
        body = {"error": sentence, "error_type": InvalidInput.error_type}
        dropped = ("content-type", "content-length")
        headers = {name: text for name, text in answer.headers.items() if name not in dropped}
        return JSONResponse(body, status_code=answer.status_code, headers=headers)


def add_cors(api: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins ask; to be added last, so that errors have its headers too."""
    if origins:
        api.add_middleware(
            Cors,
            allow_origins=list(origins),
            allow_methods=_METHODS,
            allow_headers=["*"],
            expose_headers=_SHOWN_TO_PAGES,
            max_age=_KEPT_S,
        )
