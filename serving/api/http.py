"""The HTTP routes. Knows FastAPI and nothing of Ray: any ASGI server can run it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.telemetry import TelemetryConfig
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from isogloss.prompts.languages.languages import languages
from isogloss.serving.api.admin import Admin
from isogloss.serving.api.bodies import FORM_BYTES, TABLE_VALUES, Bodies, unless_left
from isogloss.serving.api.edge import REQUEST_ID, Edge, add_error_handlers
from isogloss.serving.api.parsing import MOST_VALUES
from isogloss.serving.api.service import Service
from isogloss.serving.api.trial_query import parse_trial, query_parameters
from isogloss.serving.api.trials import add_trials
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.answers import MOST_AT_ONCE, written
from isogloss.serving.pipeline.caller import (
    REQUEST_ID_HEADER,
    ROUTING_KEY_HEADER,
    ROUTING_KEY_PATTERN,
    TIMEOUT_HEADER,
    Caller,
    caller_of,
    given_request_id,
    joined,
)
from isogloss.serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    ErrorBody,
    LanguagesAnswer,
    ModelsAnswer,
    PromoteRequest,
    PromptDetails,
    PromptsAnswer,
    ReadyAnswer,
    RollbackRequest,
    RoutesAnswer,
    RoutesRequest,
    SwapAnswer,
)
from isogloss.serving.telemetry.tracing import note_answer

_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be answered; `error` says why."},
    "5XX": {"model": ErrorBody, "description": "The server cannot answer; `error` says why."},
}
_BODIES: tuple[type[BaseModel], ...] = (
    ClassifyRequest,
    RoutesRequest,
    RollbackRequest,
    PromoteRequest,
)
_REFERENCES = "#/components/schemas/{model}"

# FastAPI's own would record paths and errors' messages, which may quote a request, for whatever
# provider the process has; what we trace is in `serving.telemetry.tracing`.
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

_CLASSIFY_HEADERS: list[dict[str, Any]] = [
    {
        "name": TIMEOUT_HEADER,
        "in": "header",
        "description": "Milliseconds within which the answer is of use: 503 once they have "
        "passed, 429 at once where they would not suffice.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 3_600_000},
    },
    {
        "name": REQUEST_ID_HEADER,
        "in": "header",
        "description": "What the logs call the request, and the answer bears: 1 to 64 of A-Z a-z "
        "0-9 . _ : -, else the server makes one up.",
        "schema": {"type": "string"},
    },
    {
        "name": ROUTING_KEY_HEADER,
        "in": "header",
        "description": "Whose request it is, such as a user's or a session's id: its texts stay on "
        "one side of a trial. Left out: each text goes by its own words.",
        "schema": {"type": "string", "pattern": f"^{ROUTING_KEY_PATTERN}$"},
    },
]


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
        responses=_ERRORS,
        lifespan=drained,
        telemetry=_NO_TELEMETRY,
    )
    add_error_handlers(api)
    api.add_middleware(Edge, metrics=service.metrics, logged=service.settings.log_requests)
    bodies = Bodies(service.settings)
    _add_classify(api, service, bodies)
    _add_listing(api, service, bodies)
    _add_files(api, service, bodies)
    _add_health(api, service)
    _add_admin(api, admin, bodies)
    add_trials(api, service, admin, bodies)
    _document_bodies(api)
    return api


def _add_classify(api: FastAPI, service: Service, bodies: Bodies) -> None:
    @api.post(
        "/v1/classify",
        response_model=ClassifyResponse,
        openapi_extra=_json_body(ClassifyRequest) | {"parameters": _CLASSIFY_HEADERS},
        summary="Classify texts",
    )
    async def classify(request: Request) -> Response:
        caller, started_s = _caller(request, service.settings), time.perf_counter()
        values = max(MOST_VALUES, 2 * service.settings.max_inputs)
        parsed = await bodies.parsed(request, ClassifyRequest, most_values=values)
        caller = caller.after(time.perf_counter() - started_s)
        answer = await unless_left(request, service.classify(parsed, caller))
        note_answer(answer)
        if sum(len(result.scores) for result in answer.results) <= MOST_AT_ONCE:
            return _json(answer)
        return await bodies.apart(partial(_large_json, answer))


def _caller(request: Request, settings: ServingSettings) -> Caller:
    return caller_of(
        joined(request.headers.items()),
        request.client.host if request.client else "",
        request_id=request.scope[REQUEST_ID],
        timeout_s=settings.request_timeout_s,
        forwarded_hops=settings.forwarded_hops,
    )


def _add_listing(api: FastAPI, service: Service, bodies: Bodies) -> None:
    @api.get("/v1/models", summary="The served models")
    async def models() -> ModelsAnswer:
        return await service.models()

    @api.get("/v1/prompts", response_model=PromptsAnswer, summary="The current prompts")
    async def prompts(request: Request) -> Response:
        listed = await service.prompts(_caller(request, service.settings))
        return await bodies.apart(partial(_json, listed))

    @api.get("/v1/routes", response_model=RoutesAnswer, summary="The route tables, with evidence")
    async def routes() -> Response:
        return await bodies.apart(partial(_json, await service.routes()))

    @api.get("/v1/languages", summary="The languages a request may name")
    async def list_languages() -> LanguagesAnswer:
        return LanguagesAnswer(languages=list(languages().values()))


def _add_files(api: FastAPI, service: Service, bodies: Bodies) -> None:
    @api.get(
        "/v1/prompts/{name}",
        response_model=PromptDetails,
        summary="One prompt's card: `name` or `name@version`",
    )
    async def prompt(name: str, request: Request) -> Response:
        details = await service.prompt(name, _caller(request, service.settings))
        return await bodies.apart(partial(_json, details))

    @api.get(
        "/v1/prompts/{name}/file",
        summary="One prompt's safetensors file",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    async def prompt_file(name: str, request: Request) -> Response:
        caller = _caller(request, service.settings)
        digest, data = await service.prompt_file(name, caller)
        filename = f"{name.replace('@', '-')}.safetensors"
        return Response(
            data,
            media_type="application/octet-stream",
            headers={
                "etag": f'"{digest}"',
                "content-disposition": f'attachment; filename="{filename}"',
            },
        )


def _add_health(api: FastAPI, service: Service) -> None:
    @api.get("/health", summary="Whether the process is alive")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/ready", summary="Whether every served model can answer, and with what")
    async def ready() -> ReadyAnswer:
        return await service.ready()

    @api.get("/metrics", summary="Prometheus metrics of all replicas", response_class=Response)
    async def metrics() -> Response:
        return Response(await service.metrics_page(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _add_admin(api: FastAPI, admin: Admin, bodies: Bodies) -> None:
    def authorized(request: Request) -> None:
        admin.authorize(request.headers.get("authorization"))

    @api.put(
        "/v1/prompts/{name}",
        response_model=SwapAnswer,
        openapi_extra=_secured({"content": {"application/octet-stream": {"schema": _FILE}}})
        | {"parameters": query_parameters()},
        summary="Publish a prompt file under a name, or put it on trial there",
    )
    async def put_prompt(name: str, request: Request) -> Response:
        authorized(request)
        trial = parse_trial(request.query_params.multi_items())
        request_id = given_request_id(request.headers)
        data = await bodies.file(request)
        if trial.kind is not None:
            return _json(await admin.begin_trial(name, data, trial, request_id))
        return _json(await admin.publish_prompt(name, data, request_id))

    @api.delete(
        "/v1/prompts/{name}",
        response_model=SwapAnswer,
        openapi_extra={"security": [{"adminToken": []}]},
        summary="Delete a prompt that no route chooses, in all versions",
    )
    async def delete_prompt(name: str, request: Request) -> Response:
        authorized(request)
        return _json(await admin.delete_prompt(name, given_request_id(request.headers)))

    @api.put(
        "/v1/routes",
        response_model=SwapAnswer,
        openapi_extra=_secured(_json_body(RoutesRequest)["requestBody"]),
        summary="Publish route tables",
    )
    async def put_routes(request: Request) -> Response:
        authorized(request)
        wanted = await bodies.parsed(request, RoutesRequest, most_values=TABLE_VALUES)
        request_id = given_request_id(request.headers)
        return _json(await admin.publish_routes(wanted.routes, request_id))

    @api.post(
        "/v1/rollback",
        response_model=SwapAnswer,
        openapi_extra=_secured(_json_body(RollbackRequest)["requestBody"]),
        summary="Bring an earlier generation's content back, or end a trial",
    )
    async def rollback(request: Request) -> Response:
        authorized(request)
        wanted = await bodies.parsed(request, RollbackRequest, most_bytes=FORM_BYTES, empty=b"{}")
        request_id = given_request_id(request.headers)
        if wanted.trial is not None:
            return _json(await admin.end_trial(wanted.trial, request_id))
        return _json(await admin.rollback(wanted.to, request_id))


_FILE = {"type": "string", "format": "binary"}


def _json(answer: BaseModel) -> Response:
    """Serialise once, past FastAPI's own pass over the response."""
    return Response(answer.model_dump_json(), media_type="application/json")


def _large_json(answer: ClassifyResponse) -> Response:
    return Response(written(answer), media_type="application/json")


def _json_body(model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": _REFERENCES.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _secured(body: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": body, "security": [{"adminToken": []}]}


def _document_bodies(api: FastAPI) -> None:
    """Put the request bodies, which we parse ourselves, into the OpenAPI document."""
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = generate()
            _, bodies = models_json_schema(
                [(model, "validation") for model in _BODIES], ref_template=_REFERENCES
            )
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(bodies["$defs"])
            components["securitySchemes"] = {"adminToken": {"type": "http", "scheme": "bearer"}}
        return generate()

    api.openapi = openapi  # type: ignore[method-assign]
