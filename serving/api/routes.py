"""Our own route that classifies, and those that tell what is served."""

from __future__ import annotations

import os
import re
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.languages.languages import languages
from isogloss.serving.api.dialects import served, vllm
from isogloss.serving.api.dialects.served import Asked
from isogloss.serving.api.dialects.shapes import ERROR_SHAPE, OpenAIErrorBody
from isogloss.serving.api.dialects.shapes import vllm as vllm_shape
from isogloss.serving.api.dialects.vllm import VllmRequest
from isogloss.serving.http.bodies import Bodies
from isogloss.serving.http.calls import Call, caller_from
from isogloss.serving.http.calls import answer as answered
from isogloss.serving.http.openapi import OPEN, errors, json_body
from isogloss.serving.http.parsing import MOST_VALUES, parse
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.answers import MOST_AT_ONCE, written
from isogloss.serving.pipeline.caller import (
    REQUEST_ID,
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
    ListedModel,
    ModelsAnswer,
    PromptDetails,
    PromptsAnswer,
    ReadyAnswer,
    RoutesAnswer,
)
from isogloss.serving.trials.answers import TrialsAnswer

VERTEX_HEALTH_ROUTE = "AIP_HEALTH_ROUTE"
_HEALTH = ("/health", "/healthz", "/ping")
"""Kubernetes' and SageMaker's names as well."""
_READY = ("/ready", "/readyz")
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


_OURS = re.compile(rb'"inputs"\s*:')


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
        async def read(caller: Caller) -> Call[Asked | None]:
            body = await bodies.read(request, partial(_either, most_values, request))
            if isinstance(body, ClassifyRequest):
                return Call(body, None)
            return await served.call(service, body.model, body.input, caller)

        about, (answer,) = await answered(service, request, read)
        if about is not None:
            return vllm.response(about, answer, request.scope[REQUEST_ID])
        if sum(len(result.scores) for result in answer.results) <= MOST_AT_ONCE:
            return json_response(answer)
        return await bodies.apart(partial(_large_json, answer))


def _either(most_values: int, request: Request, body: bytes) -> ClassifyRequest | VllmRequest:
    """Our request, or SGLang's, whose texts are `input`: in a text, quotes would be escaped."""
    content_type = request.headers.get("content-type", "")
    if b'"input"' in body and not _OURS.search(body):
        request.scope[ERROR_SHAPE] = vllm_shape
        return parse(VllmRequest, body, most_values, content_type)
    return parse(ClassifyRequest, body, most_values, content_type)


def _large_json(answer: ClassifyResponse) -> Response:
    return Response(written(answer), media_type="application/json")


def _add_listing(api: FastAPI, service: Service, bodies: Bodies) -> None:
    @api.get("/v1/models", summary="The served models, and their tasks as OpenAI lists models")
    async def models(request: Request) -> ModelsAnswer:
        listed = await service.models()
        offered = await served.offered(service, caller_from(request, service))
        data = [_listed(each, service) for each in offered]
        return listed.model_copy(update={"data": data})

    @api.get(
        "/v1/models/{model:path}",
        responses=errors(OpenAIErrorBody),
        summary="One model and task, as OpenAI has it",
    )
    async def one_model(model: str, request: Request) -> ListedModel:
        return _listed(await served.asked(service, model, caller_from(request, service)), service)

    @api.get("/v1/prompts", response_model=PromptsAnswer, summary="The current prompts")
    async def prompts(request: Request) -> Response:
        listed = await service.prompts(caller_from(request, service))
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


def _listed(asked: Asked, service: Service) -> ListedModel:
    return ListedModel(
        id=asked.name,
        created=service.started_s,
        owned_by="isogloss",
        model=asked.model,
        task=asked.task,
        labels=list(asked.labels),
    )


def _add_prompt(api: FastAPI, service: Service, bodies: Bodies) -> None:
    @api.get(
        "/v1/prompts/{name}",
        response_model=PromptDetails,
        summary="One prompt's card: `name` or `name@version`",
    )
    async def prompt(name: str, request: Request) -> Response:
        details = await service.prompt(name, caller_from(request, service))
        return await bodies.apart(partial(json_response, details))

    @api.get(
        "/v1/prompts/{name}/file",
        summary="One prompt's safetensors file",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    async def prompt_file(name: str, request: Request) -> Response:
        digest, data = await service.prompt_file(name, caller_from(request, service))
        filename = f"{name.replace('@', '-')}.safetensors"
        return Response(
            data,
            media_type="application/octet-stream",
            headers={
                "etag": f'"{digest}"',
                "content-disposition": f'attachment; filename="{filename}"',
            },
        )


def _vertex_health() -> tuple[str, ...]:
    """The path at which Vertex AI asks whether a model can answer, where that is none of ours.

    Raises:
        InvalidInput: it is no path.
    """
    path = os.environ.get(VERTEX_HEALTH_ROUTE, "").strip()
    if not path or path in _HEALTH + _READY:
        return ()
    if not path.startswith("/"):
        raise InvalidInput(
            f"{VERTEX_HEALTH_ROUTE}: {path[:100]!r} is no path; begin it with /, or unset it"
        )
    return (path,)


def _add_health(api: FastAPI, service: Service) -> None:
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    async def ready() -> ReadyAnswer:
        return await service.ready()

    for path in _HEALTH:
        api.get(path, openapi_extra=OPEN, summary="Whether the process is alive")(health)
    for path in _READY + _vertex_health():
        told = "Whether every served model can answer, and with what"
        api.get(path, openapi_extra=OPEN, summary=told)(ready)

    @api.get(
        "/metrics",
        openapi_extra=OPEN,
        summary="Prometheus metrics of all replicas",
        response_class=Response,
    )
    async def metrics() -> Response:
        return Response(await service.metrics_page(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
