"""text-embeddings-inference's `/predict`, `/invocations` and `/info`, and Hugging Face's on `/`.

Both ask on `POST /`: a body with `parameters` is Hugging Face's client's, and answered nested.
"""

from __future__ import annotations

import math
import time
from importlib import metadata
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import Field
from pydantic_core import to_json

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.api.dialects import served
from isogloss.serving.api.dialects.served import Lenient
from isogloss.serving.api.dialects.shapes import InferenceErrorBody
from isogloss.serving.http.bodies import Bodies
from isogloss.serving.http.calls import Call, answer, caller_from
from isogloss.serving.http.openapi import errors, json_body
from isogloss.serving.http.parsing import MOST_VALUES
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.answers import SCORE_DIGITS
from isogloss.serving.pipeline.caller import Caller
from isogloss.serving.schemas import ClassifyRequest, LabelScore, ModelAnswer, Result

_ERRORS = errors(InferenceErrorBody)

_LEAST = 10.0**-SCORE_DIGITS / 2
"""What a probability of 0 may have been, before it was rounded: its logarithm is a number."""
_Text = Annotated[str, Field(strict=True)]


class Parameters(Lenient):
    """Hugging Face's; others mean nothing here and are let pass."""

    function_to_apply: Literal["softmax", "none", "sigmoid"] | None = None
    top_k: Annotated[int, Field(ge=1, le=999_999_999, strict=True)] | None = None


class PredictRequest(Lenient):
    """A text, or a batch as a list of lists of one text. Further fields are let pass."""

    inputs: _Text | Annotated[list[_Text | list[_Text]], Field(fail_fast=True)] = Field(
        description='"text" or ["text"] for one, [["text"], ["text"]] for a batch.'
    )
    parameters: Parameters | None = None
    truncate: bool | None = Field(
        default=None, description="false: texts that the model does not read to the end are errors."
    )
    truncation_direction: Literal["Left", "Right", "left", "right"] = "Right"
    raw_scores: bool = Field(default=False, description="Logarithms in place of probabilities.")

    @property
    def is_batch(self) -> bool:
        """Whether the answer is a list for each text."""
        return isinstance(self.inputs, list) and any(isinstance(each, list) for each in self.inputs)

    @property
    def is_raw(self) -> bool:
        """Whether scores are logarithms."""
        named = self.parameters is not None and self.parameters.function_to_apply == "none"
        return self.raw_scores or named

    def texts(self) -> list[str]:
        """One or many.

        Raises:
            InvalidInput: texts in pairs.
        """
        if isinstance(self.inputs, str):
            return [self.inputs]
        if self.is_batch or self.parameters is not None:
            return [_single(place, each) for place, each in enumerate(self.inputs)]
        if len(self.inputs) > 1:
            raise InvalidInput(
                "inputs: a list of texts is one pair here, and pairs are not classified; send a "
                'batch as [["text"], ["text"]]'
            )
        return [each for each in self.inputs if isinstance(each, str)]


def add_text_embeddings_inference(api: FastAPI, service: Service, bodies: Bodies) -> None:
    """Add `/predict`, `/invocations`, `POST /` and `/info`."""
    most_values = max(MOST_VALUES, 4 * service.settings.max_inputs)

    async def predict(request: Request) -> Response:
        started_s = time.perf_counter()

        async def read(caller: Caller) -> Call[PredictRequest]:
            body = await bodies.parsed(request, PredictRequest, most_values=most_values)
            about = await served.asked(service, None, caller)
            top_k = body.parameters.top_k if body.parameters else None
            asked = ClassifyRequest(
                inputs=body.texts(), model=about.model, task=about.task, top_k=top_k
            )
            return Call(asked, body)

        body, (answered,) = await answer(service, request, read)
        for place, result in enumerate(answered.results):
            _check_whole(place, result, body)
            _check_function(result, body)
        told = [
            [_score(each, raw=body.is_raw, odds=r.labels is not None) for each in r.scores]
            for r in answered.results
        ]
        nested = body.is_batch or body.parameters is not None
        model = await _model(service)
        headers = {
            "x-compute-type": model.device,
            "x-compute-characters": str(sum(map(len, body.texts()))),
            "x-compute-tokens": str(served.tokens(answered)),
            "x-total-time": str(round(1000 * (time.perf_counter() - started_s))),
        }
        content = to_json(told if nested else told[0])
        return Response(content, media_type="application/json", headers=headers)

    for path, summary in (
        ("/predict", "text-embeddings-inference prediction"),
        ("/invocations", "The same, where SageMaker asks"),
        ("/", "The same, and Hugging Face text classification"),
    ):
        api.post(path, openapi_extra=json_body(PredictRequest), responses=_ERRORS, summary=summary)(
            predict
        )

    @api.get(
        "/info", summary="The default model and its labels, as text-embeddings-inference has it"
    )
    async def info(request: Request) -> dict[str, Any]:
        about = await served.asked(service, None, caller_from(request, service))
        model, settings = await _model(service), service.settings
        names = {str(place): label for place, label in enumerate(about.labels)}
        return {
            "model_id": about.name,
            "model_sha": model.revision,
            "model_dtype": model.dtype,
            "model_type": {
                "classifier": {
                    "id2label": names,
                    "label2id": {label: int(place) for place, label in names.items()},
                }
            },
            "max_concurrent_requests": settings.max_queue_items,
            "max_input_length": model.max_text_tokens,
            "max_batch_tokens": settings.max_queue_tokens,
            "max_client_batch_size": settings.max_inputs,
            "max_batch_requests": None,
            "auto_truncate": True,
            "tokenization_workers": 1,
            "version": metadata.version("isogloss"),
        }


async def _model(service: Service) -> ModelAnswer:
    listed = await service.models()
    return next(each for each in listed.models if each.name == listed.default)


def _single(place: int, given: str | list[str]) -> str:
    if isinstance(given, str):
        return given
    if len(given) != 1:
        raise InvalidInput(
            f"inputs[{place}]: {len(given)} texts in one are not classified together; send one "
            'text in each, as [["text"], ["text"]]'
        )
    return given[0]


def _check_whole(place: int, result: Result, body: PredictRequest) -> None:
    if not result.truncated:
        return
    if body.truncate is False:
        raise InvalidInput(
            f"inputs[{place}]: the text has more tokens than the model reads; send truncate: true, "
            "or a shorter text"
        )
    if body.truncation_direction.lower() == "left":
        raise InvalidInput(
            "truncation_direction: only the end of a text is cut off here; send Right, or a text "
            "of fewer tokens"
        )


def _check_function(result: Result, body: PredictRequest) -> None:
    """A softmax is over labels that exclude each other, a sigmoid for labels that do not."""
    asked = body.parameters.function_to_apply if body.parameters else None
    fitting = "softmax" if result.labels is None else "sigmoid"
    if asked not in (None, "none", fitting):
        how = "exclude each other" if result.labels is None else "may stand together"
        raise InvalidInput(
            f"parameters.function_to_apply: the labels of this task {how}; send {fitting} or none"
        )


def _score(scored: LabelScore, *, raw: bool, odds: bool) -> dict[str, Any]:
    """A probability, or what a softmax or, of log odds, a sigmoid makes it of."""
    if not raw:
        return {"score": scored.score, "label": scored.label}
    score = math.log(max(scored.score, _LEAST))
    if odds:
        score -= math.log(max(1 - scored.score, _LEAST))
    return {"score": score, "label": scored.label}
