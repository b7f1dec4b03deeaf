"""What the OpenAPI document says of bodies, which the routes read themselves, and of errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from isogloss.serving.schemas import (
    ClassifyRequest,
    EnsembleRequest,
    ErrorBody,
    PromoteRequest,
    RollbackRequest,
    RoutesRequest,
)

ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be answered; `error` says why."},
    "5XX": {"model": ErrorBody, "description": "The server cannot answer; `error` says why."},
}
SECURED: dict[str, Any] = {"security": [{"adminToken": []}]}
_BODIES: tuple[type[BaseModel], ...] = (
    ClassifyRequest,
    RoutesRequest,
    RollbackRequest,
    PromoteRequest,
    EnsembleRequest,
)
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
    schema = {"$ref": _REFERENCES.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def document_bodies(api: FastAPI) -> None:
    """Put the schemas of bodies and the admin token into the OpenAPI document."""
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
