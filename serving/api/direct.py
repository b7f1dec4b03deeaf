"""A shorter way to the routes that read their body and write their answer themselves.

FastAPI's own layers (exit stacks, dependencies, validation, serialisation) do nothing for such a
route, and take a tenth of a millisecond. It is still FastAPI's: declared, documented and answered
there wherever the path is not exactly its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import get_type_hints

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from isogloss.serving.http.openapi import wants_key

Check = Callable[[Request], Awaitable[None]]
_SELF_SUFFICIENT = {"request": Request, "return": Response}


class DirectRoutes:
    """Answers what needs nothing of FastAPI, and passes everything else on to it.

    Args:
        app: FastAPI's layers.
        api: whose routes and error handlers there are; those added later count as well.
        check: is asked before a route, as the API's dependencies are.
    """

    def __init__(self, app: ASGIApp, api: FastAPI, check: Check | None = None) -> None:
        self._app = app
        self._check = check
        self._handlers = api.exception_handlers
        self._routes = direct_routes(api)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        route = None
        if scope["type"] == "http" and not scope.get("root_path"):
            route = self._routes.get((scope["method"], scope["path"]))
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"], scope["endpoint"], scope["path_params"] = route, route.endpoint, {}
        response = await self._answer(route, Request(scope, receive, send))
        await response(scope, receive, send)

    async def _answer(self, route: APIRoute, request: Request) -> Response:
        """What the route returns, or what the handler of its error does."""
        try:
            if self._check is not None:
                await self._check(request)
            response: Response = await route.endpoint(request)
        except Exception as error:
            handlers = (self._handlers.get(kind) for kind in type(error).__mro__)
            handler = next(filter(None, handlers), None)
            if handler is None:
                raise
            response = await handler(request, error)  # type: ignore[misc]
            error.__traceback__ = None  # an error that is raised again would grow
        return response


def direct_routes(api: FastAPI) -> Mapping[tuple[str, str], APIRoute]:
    """Method and path -> route, of those that are answered without FastAPI's layers."""
    return {
        (method, route.path): route
        for route in api.routes
        if isinstance(route, APIRoute) and _is_self_sufficient(route)
        for method in route.methods or ()
        if _first_that_matches(api, method, route.path) is route
    }


def watching_paths(api: FastAPI) -> frozenset[str]:
    """Paths that classify, and so end by themselves when their caller leaves."""
    return frozenset(
        path
        for (method, path), route in direct_routes(api).items()
        if method == "POST" and wants_key(route.openapi_extra)
    )


def _is_self_sufficient(route: APIRoute) -> bool:
    return "{" not in route.path and get_type_hints(route.endpoint) == _SELF_SUFFICIENT


def _first_that_matches(api: FastAPI, method: str, path: str) -> object:
    scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": []}
    return next((each for each in api.routes if each.matches(scope)[0] is Match.FULL), None)
