"""The one call behind every route that classifies, of our own dialect or of another's.

A route says how its body becomes texts and tasks, and writes the answers in its own shape; who
asks, how long they wait, and what happens when they leave is the same for all.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from fastapi import Request

from isogloss.serving.http.bodies import unless_left
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.caller import CLIENT_NAME, REQUEST_ID, Caller, caller_of, joined
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse
from isogloss.serving.telemetry.tracing import note_answers

About = TypeVar("About", covariant=True)


class Call(NamedTuple, Generic[About]):
    """What a route wants answered."""

    request: ClassifyRequest
    about: About
    """What the route needs of the body to write its answer."""
    tasks: tuple[str, ...] = ()
    """Each gets an answer; none: the one that the request names."""
    behind: tuple[ClassifyRequest, ...] = ()
    """What is asked after the request, one by one: texts beyond what a request may have."""


async def answer(
    service: Service, request: Request, read: Callable[[Caller], Awaitable[Call[About]]]
) -> tuple[About, list[ClassifyResponse]]:
    """Answer an HTTP request, task by task, for as long as its caller waits.

    Args:
        service: that answers.
        request: whose body nobody has read.
        read: reads the body; is told who asks.

    Returns:
        What the call is about, and the answers: of each request in turn, one for each task.

    Raises:
        ClientDisconnect: the caller left.
        IsoglossError: as `read` and `Service.ask`; or a header has a wrong value.
    """
    caller, started_s = caller_from(request, service), time.perf_counter()
    wanted = await read(caller)
    caller = caller.after(time.perf_counter() - started_s)
    answers = await unless_left(request, _in_turn(service, wanted, caller))
    note_answers(answers)
    if name := request.scope.get(CLIENT_NAME):
        texts = sum(len(each.results) for each in answers)
        service.metrics.key_texts.labels(name).inc(texts)
    return wanted.about, answers


async def _in_turn(service: Service, wanted: Call[About], caller: Caller) -> list[ClassifyResponse]:
    started_s = time.perf_counter()
    answers = await service.ask(wanted.request, wanted.tasks, caller)
    for asked in wanted.behind:
        waited = caller.after(time.perf_counter() - started_s)
        answers = answers + await service.ask(asked, wanted.tasks, waited)
    return answers


def caller_from(request: Request, service: Service) -> Caller:
    """Who asks, from a request's head.

    Raises:
        InvalidInput: a header has a wrong value.
    """
    return caller_of(
        joined(request.headers.items()),
        request.client.host if request.client else "",
        request_id=request.scope[REQUEST_ID],
        timeout_s=service.settings.request_timeout_s,
        forwarded_hops=service.settings.forwarded_hops,
        name=request.scope.get(CLIENT_NAME, ""),
    )
