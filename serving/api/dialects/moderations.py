"""OpenAI's `POST /v1/moderations`: the labels of a task as categories."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from pydantic import Field
from pydantic_core import to_json

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.api.dialects import served
from isogloss.serving.api.dialects.served import Asked, Lenient
from isogloss.serving.api.dialects.shapes import OpenAIErrorBody
from isogloss.serving.http.bodies import Bodies
from isogloss.serving.http.calls import Call, answer
from isogloss.serving.http.openapi import errors, json_body
from isogloss.serving.http.parsing import MOST_VALUES
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.caller import REQUEST_ID, Caller
from isogloss.serving.schemas import Result

_ERRORS = errors(OpenAIErrorBody)

HARMLESS = frozenset(("none", "no", "ok", "safe", "neutral", "clean", "normal", "other", "false"))
"""Labels that flag nothing."""


class Part(Lenient):
    """A piece of an input."""

    type: str = Field(max_length=64)
    text: str | None = None


class ModerationsRequest(Lenient):
    """One or many texts. Further fields are let pass."""

    model: str | None = Field(
        default=None, max_length=4096, description="A served model, or `model:task`."
    )
    input: str | Annotated[list[str | Part], Field(fail_fast=True)] = Field(
        description="A text, or a list of 1 to 256 texts."
    )

    def texts(self) -> str | list[str]:
        """One or many.

        Raises:
            InvalidInput: a part is no text.
        """
        if isinstance(self.input, str):
            return self.input
        texts = [each if isinstance(each, str) else each.text for each in self.input]
        if None in texts:
            raise InvalidInput(
                f"input[{texts.index(None)}]: only text is moderated here; send text"
            )
        return [text for text in texts if text is not None]


def add_moderations(api: FastAPI, service: Service, bodies: Bodies) -> None:
    """Add `POST /v1/moderations`."""
    most_values = max(MOST_VALUES, 4 * service.settings.max_inputs)

    @api.post(
        "/v1/moderations",
        openapi_extra=json_body(ModerationsRequest),
        responses=_ERRORS,
        summary="OpenAI moderation",
    )
    async def moderations(request: Request) -> Response:
        async def read(caller: Caller) -> Call[Asked]:
            body = await bodies.parsed(request, ModerationsRequest, most_values=most_values)
            return await served.call(service, body.model, body.texts(), caller)

        about, (answered,) = await answer(service, request, read)
        whole = {
            "id": f"modr-{request.scope[REQUEST_ID]}",
            "model": about.name,
            "results": [_result(each, about) for each in answered.results],
        }
        return Response(to_json(whole), media_type="application/json")


def _result(result: Result, about: Asked) -> dict[str, Any]:
    """The likeliest label is the one category that is true; it flags, unless it is harmless.

    Where a text may have several labels, all that reach their thresholds are.
    """
    said = {result.label} if result.labels is None else set(result.labels)
    categories = {label: label in said for label in about.labels}
    scores = served.in_order(result, about.labels)
    return {
        "flagged": any(label.strip().casefold() not in HARMLESS for label in said),
        "categories": categories,
        "category_scores": dict(zip(about.labels, scores, strict=True)),
        "category_applied_input_types": {label: ["text"] for label in about.labels},
    }
