"""KServe's first protocol: `POST /v1/models/{model}:predict`; Vertex AI's clients send the same."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from pydantic import Field
from pydantic_core import to_json

from isogloss.serving.api.dialects import served
from isogloss.serving.api.dialects.served import Asked, Lenient
from isogloss.serving.api.dialects.shapes import KServeErrorBody, kserve
from isogloss.serving.http.bodies import Bodies
from isogloss.serving.http.calls import Call, answer
from isogloss.serving.http.openapi import errors, json_body
from isogloss.serving.http.parsing import MOST_VALUES
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.caller import Caller

_ERRORS = errors(KServeErrorBody)

VERTEX_PREDICT_ROUTE = "AIP_PREDICT_ROUTE"


class Instance(Lenient):
    """A text with a name; further fields are let pass."""

    text: str


class InstancesRequest(Lenient):
    """Texts, bare or as objects. Further fields are let pass."""

    instances: Annotated[list[str | Instance], Field(fail_fast=True)] = Field(
        description='Texts, or objects such as {"text": "..."}.'
    )

    def texts(self) -> list[str]:
        """In order."""
        return [each if isinstance(each, str) else each.text for each in self.instances]


def add_kserve_v1(api: FastAPI, service: Service, bodies: Bodies) -> None:
    """Add `POST /v1/models/{model}:predict`."""
    predicted = _predicting(service, bodies)

    @api.post(
        "/v1/models/{model:path}:predict",
        openapi_extra=json_body(InstancesRequest),
        responses=_ERRORS,
        summary="KServe v1 prediction",
    )
    async def predict(model: str, request: Request) -> Response:
        return await predicted(request, model)


def add_vertex(api: FastAPI, service: Service, bodies: Bodies) -> None:
    """Add the route that Vertex AI names in the environment, if it does; before all others.

    It may name one of ours, such as `/predict`, and sends it what Vertex's clients send.
    """
    route = os.environ.get(VERTEX_PREDICT_ROUTE, "").strip()
    if not route:
        return
    predicted = _predicting(service, bodies)
    api.state.error_shapes = {route: kserve}

    @api.post(
        route,
        openapi_extra=json_body(InstancesRequest),
        responses=_ERRORS,
        summary="Vertex AI prediction",
    )
    async def vertex(request: Request) -> Response:
        return await predicted(request, None)


def _predicting(
    service: Service, bodies: Bodies
) -> Callable[[Request, str | None], Awaitable[Response]]:
    most_values = max(MOST_VALUES, 4 * service.settings.max_inputs)

    async def predicted(request: Request, model: str | None) -> Response:
        async def read(caller: Caller) -> Call[Asked]:
            body = await bodies.parsed(request, InstancesRequest, most_values=most_values)
            return await served.call(service, model, body.texts(), caller)

        about, (answered,) = await answer(service, request, read)
        predictions: list[dict[str, Any]] = [
            dict(zip(about.labels, served.in_order(result, about.labels), strict=True))
            for result in answered.results
        ]
        return Response(to_json({"predictions": predictions}), media_type="application/json")

    return predicted
