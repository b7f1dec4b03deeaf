"""The routes that change what is served; each needs the admin token."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from isogloss.prompts.errors import TooLarge
from isogloss.serving.api.admin import Admin, Given
from isogloss.serving.api.routes import json_response
from isogloss.serving.api.trial_query import parse_trial, query_parameters
from isogloss.serving.http.bodies import FORM_BYTES, TABLE_VALUES, Bodies
from isogloss.serving.http.openapi import PROMPT_BODY, SECURED, json_body
from isogloss.serving.http.parsing import parse
from isogloss.serving.pipeline.caller import given_request_id
from isogloss.serving.schemas import (
    EnsembleRequest,
    PromoteRequest,
    RollbackRequest,
    RoutesRequest,
    SwapAnswer,
)


def add_admin_routes(api: FastAPI, admin: Admin, bodies: Bodies) -> None:
    """Add publishing, trials, deletion and rolling back."""
    _add_prompts(api, admin, bodies)
    _add_routes(api, admin, bodies)


def _authorized(admin: Admin, request: Request) -> str | None:
    """Require the token, before a body is read; returns the id that the request was given."""
    admin.authorize(request.headers.get("authorization"))
    return given_request_id(request.headers)


def _add_prompts(api: FastAPI, admin: Admin, bodies: Bodies) -> None:
    @api.put(
        "/v1/prompts/{name}",
        response_model=SwapAnswer,
        openapi_extra=SECURED | {"requestBody": PROMPT_BODY, "parameters": query_parameters()},
        summary="Publish a prompt, or several that answer together, or put it on trial",
    )
    async def put_prompt(name: str, request: Request) -> Response:
        request_id = _authorized(admin, request)
        trial = parse_trial(request.query_params.multi_items())
        given = await _given(request, bodies)
        if trial.kind is not None:
            return json_response(await admin.begin_trial(name, given, trial, request_id))
        return json_response(await admin.publish_prompt(name, given, request_id))

    @api.delete(
        "/v1/prompts/{name}",
        response_model=SwapAnswer,
        openapi_extra=SECURED,
        summary="Delete a prompt that no route chooses, in all versions",
    )
    async def delete_prompt(name: str, request: Request) -> Response:
        request_id = _authorized(admin, request)
        return json_response(await admin.delete_prompt(name, request_id))

    @api.post(
        "/v1/promote",
        response_model=SwapAnswer,
        openapi_extra=SECURED | json_body(PromoteRequest),
        summary="End a trial: its candidate answers from now on",
    )
    async def promote(request: Request) -> Response:
        request_id = _authorized(admin, request)
        wanted = await bodies.parsed(request, PromoteRequest, most_bytes=FORM_BYTES)
        return json_response(await admin.promote(wanted.trial, request_id))


async def _given(request: Request, bodies: Bodies) -> Given:
    """A prompt file; or, as JSON, the stored prompts that are to answer together.

    Told by the body, for clients say anything of the type of a file: a safetensors file's eighth
    byte is the highest of its header's length, zero, and JSON has none.
    """
    data = await bodies.file(request)
    if not data.lstrip().startswith(b"{") or b"\0" in data[:8]:
        return data
    if len(data) > FORM_BYTES:
        raise TooLarge(f"body: {len(data)} bytes of JSON are too many; name up to 16 members")
    return parse(EnsembleRequest, data).members


def _add_routes(api: FastAPI, admin: Admin, bodies: Bodies) -> None:
    @api.put(
        "/v1/routes",
        response_model=SwapAnswer,
        openapi_extra=SECURED | json_body(RoutesRequest),
        summary="Publish route tables",
    )
    async def put_routes(request: Request) -> Response:
        request_id = _authorized(admin, request)
        wanted = await bodies.parsed(request, RoutesRequest, most_values=TABLE_VALUES)
        return json_response(await admin.publish_routes(wanted.routes, request_id))

    @api.post(
        "/v1/rollback",
        response_model=SwapAnswer,
        openapi_extra=SECURED | json_body(RollbackRequest),
        summary="Bring an earlier generation's content back, or end a trial",
    )
    async def rollback(request: Request) -> Response:
        request_id = _authorized(admin, request)
        wanted = await bodies.parsed(request, RollbackRequest, most_bytes=FORM_BYTES, empty=b"{}")
        if wanted.trial is not None:
            return json_response(await admin.end_trial(wanted.trial, request_id))
        return json_response(await admin.rollback(wanted.to, request_id))
