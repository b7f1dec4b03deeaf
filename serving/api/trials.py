"""Trials over HTTP: how they do, and promoting a candidate.

`PUT /v1/prompts/{name}` begins them, and `POST /v1/rollback` ends them without the candidate.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI, Request

from isogloss.prompts.errors import Unavailable
from isogloss.serving.api.admin import Admin
from isogloss.serving.api.bodies import FORM_BYTES, Bodies
from isogloss.serving.api.service import Service
from isogloss.serving.pipeline.caller import given_request_id
from isogloss.serving.schemas import PromoteRequest, SwapAnswer
from isogloss.serving.trials.reports import TrialsAnswer, newest, trial_report

_PROMOTE_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{PromoteRequest.__name__}"}}
    },
}
_PROMOTE: dict[str, Any] = {"requestBody": _PROMOTE_BODY, "security": [{"adminToken": []}]}


def add_trials(api: FastAPI, service: Service, admin: Admin, bodies: Bodies) -> None:
    """Add reading trials, and promoting a candidate."""

    @api.get("/v1/trials", summary="The candidates on trial, and how they do")
    async def trials() -> TrialsAnswer:
        return await trials_answer(service)

    @api.post(
        "/v1/promote",
        openapi_extra=_PROMOTE,
        summary="End a trial: its candidate answers from now on",
    )
    async def promote(request: Request) -> SwapAnswer:
        admin.authorize(request.headers.get("authorization"))
        wanted = await bodies.parsed(request, PromoteRequest, most_bytes=FORM_BYTES)
        return await admin.promote(wanted.trial, given_request_id(request.headers))


async def trials_answer(service: Service) -> TrialsAnswer:
    """Sum up what all replicas counted: this one's now, the others' as last reported."""
    served = {model.fingerprint: model.name for model in (await service.models()).models}
    try:
        reports = await asyncio.to_thread(service.lookout.board.reports)
    except Unavailable:  # then at least one's own
        reports = []
    reports = newest(service.lookout.report(), reports)
    state = service.live.current.state
    return TrialsAnswer(
        generation=state.generation,
        generation_digest=state.identity.digest,
        trials=[
            trial_report(
                trial, state.resolve(trial.candidate)[2], served[trial.fingerprint], reports
            )
            for trial in state.trials
            if trial.fingerprint in served
        ],
    )
