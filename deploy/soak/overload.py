"""Several times the load that can be borne: answers in time, or 429 at once.

Requests hold several texts, so that few of them are too much for the server and the client that
sends them costs next to nothing. Each names a deadline; clients tell themselves apart by a key.
A request that was let in and not answered by its deadline gets 503 then: it is late.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from typer import Option

from isogloss.deploy.load.calibration import Say
from isogloss.deploy.load.clients import ClosedLoop, OpenLoop, Question, ask
from isogloss.deploy.load.processes import Spent
from isogloss.deploy.load.scenario import Scenario, question
from isogloss.deploy.load.server import Server
from isogloss.deploy.load.settings import ServerSettings
from isogloss.deploy.load.tally import Tally
from isogloss.deploy.load.wire import Connection

_PROBES = 10  # whose median must be as before
_RECOVERY_PATIENCE_S = 30.0
_REFUSED, _LATE = 429, 503


@dataclass(frozen=True, slots=True)
class OverloadSettings:
    """What is done."""

    server: ServerSettings = field(default_factory=ServerSettings)
    times: Annotated[float, Option(min=1, help="The rate that can be borne.")] = 4.0
    seconds: Annotated[float, Option(min=1, help="Of too much load.")] = 60.0
    deadline_ms: Annotated[int, Option(min=1, help="That requests name.")] = 1000
    texts: Annotated[int, Option(min=1, max=256, help="Of a request.")] = 16
    callers: int = 16
    """Different keys."""
    probe_s: Annotated[float, Option(min=1, help="Of each measurement before.")] = 10.0
    recovered: float = 1.5
    """The p50 after the storm, in p50s before it, from which on the server has recovered."""


def asked(settings: OverloadSettings, scenario: Scenario) -> list[Question]:
    """Every caller's requests, in turn; lengths are mixed alike in all."""
    questions = scenario.questions(per_request=settings.texts) * settings.callers
    return [
        question(
            each.texts,
            x_api_key=f"caller-{index % settings.callers}",
            x_request_timeout_ms=str(settings.deadline_ms),
        )
        for index, each in enumerate(questions)
    ]


async def run_overload(
    settings: OverloadSettings, server: Server, scenario: Scenario, say: Say
) -> dict[str, Any]:
    """What was seen, as JSON."""
    questions, check = asked(settings, scenario), scenario.judge.complaint
    say("one client alone ...")
    unloaded = Tally(began_s=server.began_s)
    await ClosedLoop(server.url, questions, 1, unloaded, check).for_seconds(settings.probe_s)
    say("as much as can be borne ...")
    borne = Tally(began_s=server.began_s)
    full = ClosedLoop(server.url, questions, settings.callers // 2, borne, check)
    sustainable = await full.for_seconds(settings.probe_s)

    storm = Tally(frozenset({200, _REFUSED, _LATE}), server.began_s)
    load = OpenLoop(server.url, questions, settings.times * sustainable, storm, check)
    say(f"{load.per_s:.0f} requests/s, {settings.times:g} times that, {settings.seconds:.0f} s ...")
    spent, replicas = Spent(), server.replicas()
    async with asyncio.TaskGroup() as group, load.running():
        with spent.on(replicas):
            await asyncio.sleep(settings.seconds)
        # Requests that the storm left behind are still being answered.
        after = group.create_task(_after(settings, server, questions, unloaded))
    return {
        "model": server.settings.model,
        "deadline_ms": settings.deadline_ms,
        "texts_per_request": settings.texts,
        "unloaded": unloaded.shown(),
        "sustainable": borne.shown() | {"requests_per_s": round(sustainable, 1)},
        "storm": {"requests_per_s": round(load.per_s, 1), **_shown(storm, spent)},
        "recovery": after.result(),
        "failed": storm.failed + unloaded.failed + borne.failed,
    }


def _shown(storm: Tally, spent: Spent) -> dict[str, Any]:
    answered, late = storm.statuses[200], storm.statuses[_LATE]
    return storm.shown() | {
        "answered_per_s": round(answered / spent.seconds, 1),
        "refused_ms": storm.latency_ms(_REFUSED),
        "let_in_ms": storm.latency_ms(200, _LATE),
        "late": late,
        "late_share": round(late / max(1, answered + late), 4),
        "client_cpu_share": round(spent.client_cpu_s / spent.seconds, 3),
        "server_cpu_share": round(spent.server_cpu_s / spent.seconds, 3),
    }


async def _after(
    settings: OverloadSettings, server: Server, questions: Sequence[Question], unloaded: Tally
) -> dict[str, Any]:
    """One client from the moment the storm stops: how long until it is answered as before."""
    tally = Tally(frozenset({200, _REFUSED}), server.began_s)
    normal_ms = unloaded.latency_ms()["p50"]
    connection, began_s = Connection(server.url), time.perf_counter()
    probes: list[tuple[float, float]] = []  # when asked, milliseconds
    recovered_s = None
    try:
        for each in itertools.cycle(questions):
            at_s = time.perf_counter() - began_s
            reply = await ask(connection, each, tally)
            took_ms = 1000 * (time.perf_counter() - began_s - at_s)
            answered = reply is not None and reply.status == 200
            probes.append((at_s, took_ms if answered else math.inf))
            recovered_s = recovery(probes, settings.recovered * normal_ms)
            if recovered_s is not None or at_s > _RECOVERY_PATIENCE_S:
                break
    finally:
        connection.close()
    return {
        "recovered_after_s": None if recovered_s is None else round(recovered_s, 3),
        "unloaded_p50_ms": normal_ms,
        "first_answer_ms": next((round(ms, 1) for _, ms in probes if ms < math.inf), None),
        "answers": tally.shown()["answers"],
        "failed": tally.failed,
    }


def recovery(probes: Sequence[tuple[float, float]], at_most_ms: float) -> float | None:
    """When the first was asked of ten answers in a row that is, and whose median is, as before.

    Args:
        probes: when each was asked in seconds, and how many milliseconds it took; infinitely
            many where it was refused.
        at_most_ms: what the median may be.

    >>> recovery([(0.0, 90.0)] + [(float(n), 5.0) for n in range(1, 11)], 6.0)
    1.0
    """
    for start in range(len(probes) - _PROBES + 1):
        window = [took_ms for _, took_ms in probes[start : start + _PROBES]]
        if window[0] <= at_most_ms and statistics.median(window) <= at_most_ms:
            return probes[start][0]
    return None
