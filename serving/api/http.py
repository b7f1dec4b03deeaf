"""The HTTP server as an ASGI application. Knows FastAPI and nothing of Ray."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline

from isogloss.serving.api.access import KeyCheck, add_cors
from isogloss.serving.api.admin import Admin
from isogloss.serving.api.admin_routes import add_admin_routes
from isogloss.serving.api.dialects.decisions import add_decisions
from isogloss.serving.api.dialects.kserve_v1 import add_kserve_v1, add_vertex
from isogloss.serving.api.dialects.kserve_v2 import add_kserve_v2
from isogloss.serving.api.dialects.label_studio import add_label_studio
from isogloss.serving.api.dialects.moderations import add_moderations
from isogloss.serving.api.dialects.systemone import add_systemone
from isogloss.serving.api.dialects.text_embeddings_inference import add_text_embeddings_inference
from isogloss.serving.api.dialects.vllm import add_vllm
from isogloss.serving.api.direct import DirectRoutes
from isogloss.serving.api.errors import add_error_handlers
from isogloss.serving.api.middleware import RequestMiddleware
from isogloss.serving.api.routes import add_routes
from isogloss.serving.http.bodies import Bodies
from isogloss.serving.http.keys import ApiKeys
from isogloss.serving.http.openapi import ERRORS, document_bodies
from isogloss.serving.http.service import Service
from isogloss.serving.page.routes import add_page

# FastAPI's own would record paths and errors' messages, which may quote a request, for whatever
# provider the process has; what we trace is in `serving.telemetry.tracing`.
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

_DIALECTS = (
    add_decisions,
    add_systemone,
    add_vllm,
    add_moderations,
    add_text_embeddings_inference,
    add_kserve_v1,
    add_kserve_v2,
    add_label_studio,
)


def build_api(service: Service, admin: Admin, keys: ApiKeys | None = None) -> FastAPI:
    """All routes of the contract over one service; without keys, whoever asks needs none."""

    @asynccontextmanager
    async def drained(api: FastAPI) -> AsyncIterator[None]:
        yield
        await service.drain()

    check = None if keys is None else KeyCheck(keys)
    api: FastAPI = FastAPIOffline(  # it has the files of /docs and /redoc
        title="Isogloss",
        description="Text in any language -> label, through the soft prompt of its family.",
        version="1",
        responses=ERRORS,
        lifespan=drained,
        docs_url=None,  # ours, for which nobody needs a key
        redoc_url=None,  # ours, which asks nobody for its logo
        telemetry=_NO_TELEMETRY,
        dependencies=[] if check is None else [Depends(check)],
    )
    add_error_handlers(api)
    api.add_middleware(DirectRoutes, api=api, check=check)
    api.add_middleware(
        RequestMiddleware, metrics=service.metrics, logged=service.settings.log_requests
    )
    add_cors(api, service.settings.cors_origins)
    bodies = Bodies(service.settings)
    add_vertex(api, service, bodies)
    add_routes(api, service, bodies)
    add_admin_routes(api, admin, bodies)
    for add in _DIALECTS:
        add(api, service, bodies)
    add_page(api)
    document_bodies(api, keyed=keys is not None)
    return api
