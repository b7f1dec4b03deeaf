"""vLLM's `POST /classify`, and SGLang's body on our own `/v1/classify`, which has `input`.

Probabilities carry no names there: they stand in the order of `/info`'s `id2label`.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from pydantic import Field
from pydantic_core import to_json

from isogloss.serving.api.dialects import served
from isogloss.serving.api.dialects.served import Asked, Lenient
from isogloss.serving.api.dialects.shapes import OpenAIErrorBody
from isogloss.serving.http.bodies import Bodies
from isogloss.serving.http.calls import Call, answer
from isogloss.serving.http.openapi import errors, json_body
from isogloss.serving.http.parsing import MOST_VALUES
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.caller import REQUEST_ID, Caller
from isogloss.serving.schemas import ClassifyResponse

_ERRORS = errors(OpenAIErrorBody)


class VllmRequest(Lenient):
    """One or many texts; what steers a model that generates means nothing here and is let pass."""

    model: str | None = Field(
        default=None, max_length=4096, description="A served model, or `model:task`."
    )
    input: str | Annotated[list[str], Field(fail_fast=True)] = Field(
        description="A text, or a list of 1 to 256 texts."
    )


def add_vllm(api: FastAPI, service: Service, bodies: Bodies) -> None:
    """Add `POST /classify`."""
    most_values = max(MOST_VALUES, 2 * service.settings.max_inputs)

    @api.post(
        "/classify",
        openapi_extra=json_body(VllmRequest),
        responses=_ERRORS,
        summary="vLLM classification",
    )
    async def classify(request: Request) -> Response:
        async def read(caller: Caller) -> Call[Asked]:
            body = await bodies.parsed(request, VllmRequest, most_values=most_values)
            return await served.call(service, body.model, body.input, caller)

        about, (answered,) = await answer(service, request, read)
        return response(about, answered, request.scope[REQUEST_ID])


def response(about: Asked, answered: ClassifyResponse, request_id: str) -> Response:
    """The answers in vLLM's shape."""
    tokens = served.tokens(answered)
    data: list[dict[str, Any]] = [
        {
            "index": place,
            "label": result.label,
            "probs": served.in_order(result, about.labels),
            "num_classes": len(about.labels),
        }
        for place, result in enumerate(answered.results)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
    whole = {
        "id": f"classify-{request_id}",
        "object": "list",
        "created": int(time.time()),
        "model": about.name,
        "data": data,
        "usage": {**usage, "prompt_tokens_details": None},
    }
    return Response(to_json(whole), media_type="application/json")
