"""How each dialect tells an error: its own callers read no other shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

ERROR_SHAPE = "isogloss.error_shape"
"""Where a request's scope names a shape that its path does not tell."""

_PARAM = re.compile(r"[a-z_]+(\[\d+\]|\.\w+)*(?=: )")
_OURS = re.compile(r"^inputs(?=[:\[])")
_EMPTY = re.compile(r"inputs(\[\d+\])*: the (list|text) is empty")
_VALIDATION = (400, 422)


class OpenAIError(BaseModel):
    """What is wrong, in OpenAI's words; vLLM and SGLang put the status into `code`."""

    message: str
    type: str
    param: str | None
    code: str | int | None


class OpenAIErrorBody(BaseModel):
    """OpenAI's, vLLM's and SGLang's errors."""

    error: OpenAIError


class InferenceErrorBody(BaseModel):
    """text-embeddings-inference's errors, and Hugging Face's."""

    error: str
    error_type: str


class KServeErrorBody(BaseModel):
    """KServe's errors."""

    error: str


class Told(NamedTuple):
    """An error as a caller is told of it."""

    status: int
    body: Mapping[str, Any]


Shape = Callable[[int, str, str], Told]
"""Status, sentence and type of ours -> what a dialect's caller is told."""


def isogloss(status: int, sentence: str, error_type: str) -> Told:
    """Ours, as in the contract."""
    return Told(status, {"error": sentence, "error_type": error_type})


def openai(status: int, sentence: str, error_type: str) -> Told:
    """OpenAI's, which TypeSafe's client reads as well."""
    kind, code = _OPENAI.get(error_type, ("server_error", None))
    status = 400 if status in _VALIDATION else status
    sentence = _OURS.sub("input", sentence)
    found = _PARAM.match(sentence)
    param = found[0] if found else None
    return Told(
        status, {"error": {"message": sentence, "type": kind, "param": param, "code": code}}
    )


def vllm(status: int, sentence: str, error_type: str) -> Told:
    """vLLM's and SGLang's: OpenAI's with the status as its code, and names of their own."""
    status, body = openai(status, sentence, error_type)
    named = _VLLM.get(status, "BadRequestError" if status < 500 else "InternalServerError")
    return Told(status, {"error": {**body["error"], "type": named, "code": status}})


def text_embeddings_inference(status: int, sentence: str, error_type: str) -> Told:
    """text-embeddings-inference's; Hugging Face's clients read its sentence."""
    if _EMPTY.match(sentence):
        return Told(400, {"error": sentence, "error_type": "Empty"})
    kind = _TEI.get(error_type, "Backend")
    return Told(424 if kind == "Backend" else status, {"error": sentence, "error_type": kind})


def kserve(status: int, sentence: str, error_type: str) -> Told:
    """KServe's, of both versions."""
    return Told(400 if status in _VALIDATION else status, {"error": sentence})


_OPENAI = {
    "validation": ("invalid_request_error", None),
    "unauthorized": ("invalid_request_error", "invalid_api_key"),
    "not_found": ("invalid_request_error", "model_not_found"),
    "too_large": ("invalid_request_error", "request_too_large"),
    "overloaded": ("rate_limit_error", "rate_limit_exceeded"),
}
_VLLM = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    413: "BadRequestError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}
_TEI = {
    "validation": "Validation",
    "unauthorized": "Unauthorized",
    "not_found": "Validation",
    "too_large": "Validation",
    "overloaded": "Overloaded",
    "unavailable": "Unhealthy",
}

_BY_PATH: Mapping[str, Shape] = {
    "/v1/decisions": openai,
    "/v1/systemone": openai,
    "/v1/moderations": openai,
    "/classify": vllm,
    "/predict": text_embeddings_inference,
    "/": text_embeddings_inference,
    "/invocations": text_embeddings_inference,
    "/info": text_embeddings_inference,
}


def shape_of(scope: Mapping[str, Any]) -> Shape:
    """The shape that a request's caller reads, from its path and from what was found out since."""
    if ERROR_SHAPE in scope:
        return scope[ERROR_SHAPE]  # type: ignore[no-any-return]
    path, state = scope["path"], getattr(scope.get("app"), "state", None)
    if path in (own := getattr(state, "error_shapes", {})):  # of routes that a server was given
        return own[path]  # type: ignore[no-any-return]
    if path in _BY_PATH:
        return _BY_PATH[path]
    if path.startswith("/v2/") or path == "/v2" or path.endswith(":predict"):
        return kserve
    return openai if path.startswith("/v1/models/") else isogloss
