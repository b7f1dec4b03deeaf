"""The routes that classify, and those that tell what is served."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel

from isogloss.prompts.languages.languages import languages
from isogloss.serving.api.bodies import Bodies
from isogloss.serving.api.calls import call_of, classify
from isogloss.serving.api.openapi import json_body
from isogloss.serving.api.parsing import MOST_VALUES
from isogloss.serving.api.service import Service
from isogloss.serving.pipeline.answers import MOST_AT_ONCE, written
from isogloss.serving.pipeline.caller import (
    REQUEST_ID_HEADER,
    ROUTING_KEY_HEADER,
    ROUTING_KEY_PATTERN,
    TIMEOUT_HEADER,
    Caller,
)
from isogloss.serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    LanguagesAnswer,
    ModelsAnswer,
    PromptDetails,
    PromptsAnswer,
    ReadyAnswer,
    RoutesAnswer,
)
from isogloss.serving.trials.reports import TrialsAnswer

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


def add_routes(api: FastAPI, service: Service, bodies: Bodies) -> None:
    """Add the routes that need no token."""
    _add_classify(api, service, bodies)
    _add_listing(api, service, bodies)
    _add_prompt(api, service, bodies)
    _add_health(api, service)


def json_response(answer: BaseModel) -> Response:
    """Serialise once, past FastAPI's own pass over the response."""
    return Response(answer.model_dump_json(), media_type="application/json")


def _add_classify(api: FastAPI, service: Service, bodies: Bodies) -> None:
    most_values = max(MOST_VALUES, 2 * service.settings.max_inputs)

    @api.post(
        "/v1/classify",
        response_model=ClassifyResponse,
        openapi_extra=json_body(ClassifyRequest) | {"parameters": _CLASSIFY_HEADERS},
        summary="Classify texts",
    )
    async def classify_texts(request: Request) -> Response:
        call = call_of(request, service.settings)
        wanted = await bodies.parsed(request, ClassifyRequest, most_values=most_values)
        answer = await classify(service, call, wanted)
        if sum(len(result.scores) for result in answer.results) <= MOST_AT_ONCE:
            return json_response(answer)
        return await bodies.apart(partial(_large_json, answer))


def _large_json(answer: ClassifyResponse) -> Response:
    return Response(written(answer), media_type="application/json")


def _add_listing(api: FastAPI, service: Service, bodies: Bodies) -> None:
    @api.get("/v1/models", summary="The served models")
    async def models() -> ModelsAnswer:
        return await service.models()

    @api.get("/v1/prompts", response_model=PromptsAnswer, summary="The current prompts")
    async def prompts(request: Request) -> Response:
        listed = await service.prompts(_caller(request, service))
        return await bodies.apart(partial(json_response, listed))

    @api.get("/v1/routes", response_model=RoutesAnswer, summary="The route tables, with evidence")
    async def routes() -> Response:
        return await bodies.apart(partial(json_response, await service.routes()))

    @api.get("/v1/languages", summary="The languages a request may name")
    async def list_languages() -> LanguagesAnswer:
        return LanguagesAnswer(languages=list(languages().values()))

    @api.get("/v1/trials", summary="The candidates on trial, and how they do")
    async def trials() -> TrialsAnswer:
        return await service.trials()


def _add_prompt(api: FastAPI, service: Service, bodies: Bodies) -> None:
    @api.get(
        "/v1/prompts/{name}",
        response_model=PromptDetails,
        summary="One prompt's card: `name` or `name@version`",
    )
    async def prompt(name: str, request: Request) -> Response:
        details = await service.prompt(name, _caller(request, service))
        return await bodies.apart(partial(json_response, details))

    @api.get(
        "/v1/prompts/{name}/file",
        summary="One prompt's safetensors file",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    async def prompt_file(name: str, request: Request) -> Response:
        digest, data = await service.prompt_file(name, _caller(request, service))
        filename = f"{name.replace('@', '-')}.safetensors"
        return Response(
            data,
            media_type="application/octet-stream",
            headers={
                "etag": f'"{digest}"',
                "content-disposition": f'attachment; filename="{filename}"',
            },
        )


def _caller(request: Request, service: Service) -> Caller:
    return call_of(request, service.settings).caller


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
