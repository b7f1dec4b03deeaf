"""`GET /` for browsers, and the files it consists of. The page asks this server alone."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import JSONResponse

from isogloss.prompts.errors import NotFound
from isogloss.serving.http.openapi import OPEN

_STATIC = "static-offline-docs"
"""Where fastapi-offline puts the files of both."""
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from anywhere else, nothing inline, in nobody's frame."""
_REDOC_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; "
    "worker-src blob:; img-src 'self' data:; frame-ancestors 'none'"
)
"""As much as it needs; its logo would come from its makers' server."""
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def add_page(api: FastAPI) -> None:
    """Add the page and the API's pages, for which nobody needs a key.

    Programs that ask `/` get told where to look.
    """
    _add_own(api)
    _add_documents(api)


def _add_own(api: FastAPI) -> None:
    @api.get("/", include_in_schema=False, openapi_extra=OPEN)
    async def page(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return _answer("index.html", request)
        return _elsewhere()

    @api.get("/page/{name}", include_in_schema=False, openapi_extra=OPEN)
    async def file(name: str, request: Request) -> Response:
        return _answer(name, request)


def _add_documents(api: FastAPI) -> None:
    @api.get("/docs", include_in_schema=False, openapi_extra=OPEN)
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title="Isogloss",
            swagger_js_url=f"{_STATIC}/swagger-ui-bundle.js",
            swagger_css_url=f"{_STATIC}/swagger-ui.css",
            swagger_favicon_url="page/icon.svg",
        )

    @api.get("/redoc", include_in_schema=False, openapi_extra=OPEN)
    async def redoc() -> Response:
        page = get_redoc_html(
            openapi_url="openapi.json",
            title="Isogloss",
            redoc_js_url=f"{_STATIC}/redoc.standalone.js",
            redoc_favicon_url="page/icon.svg",
            with_google_fonts=False,
        )
        page.headers["content-security-policy"] = _REDOC_POLICY
        return page


def _answer(name: str, request: Request) -> Response:
    files = _files()
    if name not in files:
        raise NotFound(f"there is no {name[:40]!r} on the page; ask for GET /")
    content, tag = files[name]
    headers = {**_HEADERS, "etag": tag, "vary": "accept"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


def _elsewhere() -> Response:
    where = {"name": "isogloss", "page": "GET / with accept: text/html", "docs": "/docs"}
    return JSONResponse(where, headers={"vary": "accept"})


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Every file with its tag."""
    found = {}
    for each in resources.files(__package__).joinpath("assets").iterdir():
        content = each.read_bytes()
        found[each.name] = content, f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    return found
