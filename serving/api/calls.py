"""The one call that classifies, for every route that does: ours, and those of other dialects.

A route reads its caller first, then its body into a `ClassifyRequest`, calls `classify`, and writes
the answer in its own shape.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from isogloss.serving.api.service import Service
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.caller import REQUEST_ID, Caller, caller_of, joined
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse
from isogloss.serving.telemetry.tracing import note_answer

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Call:
    """An HTTP request that is being answered."""

    request: Request
    caller: Caller
    started_s: float = field(default_factory=time.perf_counter)


def call_of(request: Request, settings: ServingSettings) -> Call:
    """Read who asks; to be called before the body is read, whose time counts.

    Raises:
        InvalidInput: a header has a wrong value.
    """
    caller = caller_of(
        joined(request.headers.items()),
        request.client.host if request.client else "",
        request_id=request.scope[REQUEST_ID],
        timeout_s=settings.request_timeout_s,
        forwarded_hops=settings.forwarded_hops,
    )
    return Call(request, caller)


async def classify(service: Service, call: Call, wanted: ClassifyRequest) -> ClassifyResponse:
    """Answer a request whose body has been read, for as long as its caller waits.

    Raises:
        ClientDisconnect: the caller left.
        IsoglossError: as `Service.classify`.
    """
    caller = call.caller.after(time.perf_counter() - call.started_s)
    answer = await _unless_left(call.request, service.classify(wanted, caller))
    note_answer(answer)
    return answer


async def _unless_left(request: Request, answer: Coroutine[Any, Any, Answer]) -> Answer:
    """Await an answer for as long as its caller does; to be called once the body is read.

    Raises:
        ClientDisconnect: the caller left; the answer was cancelled.
    """
    task = asyncio.create_task(answer)
    left = asyncio.create_task(_cancel_when_left(request, task))
    try:
        return await task
    except asyncio.CancelledError:
        if left.done():
            raise ClientDisconnect from None
        raise
    finally:
        left.cancel()


async def _cancel_when_left(request: Request, task: asyncio.Task[Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    task.cancel()
