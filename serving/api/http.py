"""The HTTP server as an ASGI application. Knows FastAPI and nothing of Ray."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from isogloss.serving.api.admin import Admin
from isogloss.serving.api.admin_routes import add_admin_routes
from isogloss.serving.api.bodies import Bodies
from isogloss.serving.api.errors import add_error_handlers
from isogloss.serving.api.middleware import RequestMiddleware
from isogloss.serving.api.openapi import ERRORS, document_bodies
from isogloss.serving.api.routes import add_routes
from isogloss.serving.api.service import Service

# FastAPI's own would record paths and errors' messages, which may quote a request, for whatever
# provider the process has; what we trace is in `serving.telemetry.tracing`.
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def build_api(service: Service, admin: Admin) -> FastAPI:
    """All routes of the contract over one service."""

    @asynccontextmanager
    async def drained(api: FastAPI) -> AsyncIterator[None]:
        yield
        await service.drain()

    api = FastAPI(
        title="Isogloss",
        description="Text in any language -> label, through the soft prompt of its family.",
        version="1",
        responses=ERRORS,
        lifespan=drained,
        telemetry=_NO_TELEMETRY,
    )
    add_error_handlers(api)
    api.add_middleware(
        RequestMiddleware, metrics=service.metrics, logged=service.settings.log_requests
    )
    bodies = Bodies(service.settings)
    add_routes(api, service, bodies)
    add_admin_routes(api, admin, bodies)
    document_bodies(api)
    return api
