"""What the OpenAPI document says of bodies, which the routes read themselves, and of errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from isogloss.serving.schemas import EnsembleRequest, ErrorBody

Responses = dict[int | str, dict[str, Any]]


def errors(body: type[BaseModel]) -> Responses:
    """What a route's documentation says of its errors."""
    return {
        "4XX": {"model": body, "description": "The request cannot be answered; `error` says why."},
        "5XX": {"model": body, "description": "The server cannot answer; `error` says why."},
    }


ERRORS = errors(ErrorBody)
SECURED: dict[str, Any] = {"security": [{"adminToken": []}]}
"""Of routes that want the admin token, which they check themselves."""
OPEN: dict[str, Any] = {"security": []}
"""Of routes that anybody may ask, also where there are API keys."""
_SCHEMES = {
    "adminToken": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "bearerKey": {"type": "http", "scheme": "bearer"},
}
_BODIES: list[type[BaseModel]] = [EnsembleRequest]
"""Those that routes read themselves; FastAPI knows nothing of them."""
_REFERENCES = "#/components/schemas/{model}"
PROMPT_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "application/json": {"schema": {"$ref": _REFERENCES.format(model="EnsembleRequest")}},
    },
}
"""A prompt file; or, as JSON, the stored prompts that are to answer together."""


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """What a route's documentation says of its JSON body."""
    if model not in _BODIES:
        _BODIES.append(model)
    schema = {"$ref": _REFERENCES.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def wants_key(extra: Mapping[str, Any] | None) -> bool:
    """Whether a route wants an API key, where there are any; from its `openapi_extra`."""
    return "security" not in (extra or {})


def document_bodies(api: FastAPI, *, keyed: bool = False) -> None:
    """Put the schemas of bodies, the admin token and API keys into the OpenAPI document."""
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = generate()
            _, bodies = models_json_schema(
                [(model, "validation") for model in _BODIES], ref_template=_REFERENCES
            )
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(bodies["$defs"])
            used = _SCHEMES if keyed else {"adminToken": _SCHEMES["adminToken"]}
            components["securitySchemes"] = used
            if keyed:
                document["security"] = [{"apiKey": []}, {"bearerKey": []}]
        return generate()

    api.openapi = openapi  # type: ignore[method-assign]
