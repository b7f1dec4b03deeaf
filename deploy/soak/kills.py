"""SIGKILL of a replica at regular intervals, under load, while another lives.

A replica is killed only while all of them serve: the next kill waits until the one killed before
has been replaced, and the newcomer has answered requests. How long that takes is part of the
result.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, Any

from typer import Option

from isogloss.deploy.load.calibration import Say
from isogloss.deploy.load.clients import ClosedLoop, OpenLoop
from isogloss.deploy.load.scenario import Scenario, question
from isogloss.deploy.load.server import Server
from isogloss.deploy.load.settings import ServerSettings
from isogloss.deploy.load.tally import Tally
from isogloss.prompts.errors import Unavailable

_POLL_S = 0.25
_PROBE_S = 5.0
_PATIENCE_S = 120.0
_TIMEOUT_MS = "20000"
"""Of each request: so that a server that cannot keep up fails the run instead of prolonging it."""


@dataclass(frozen=True, slots=True)
class KillSettings:
    """What is done."""

    server: ServerSettings = field(default_factory=ServerSettings)
    seconds: Annotated[float, Option(min=1, help="Of load.")] = 120.0
    every_s: Annotated[float, Option(min=0.1, help="Between kills.")] = 10.0
    share: Annotated[float, Option(min=0.01, help="Of the rate that can be borne.")] = 0.2
    """One replica alone must bear it, while another loads on the same processors."""
    clients: int = 16
    """Of the closed loop that finds that rate out."""


@dataclass
class Kill:
    """One kill, and how the replica came back."""

    pid: int
    at_s: float
    waited_s: float
    """How much later than due, for all replicas had to serve first."""
    known: frozenset[str]
    """Replicas that had reported before."""
    process_s: float | None = None
    """Until there was a process in its stead,"""
    ready_s: float | None = None
    """until that one reported what it serves,"""
    answering_s: float | None = None
    """and until it had answered requests (its own count, up to a second late)."""
    generation: int | None = None
    """What the newcomer served when it first reported."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        named = ("at_s", "waited_s", "process_s", "ready_s", "answering_s")
        shown: dict[str, Any] = {"pid": self.pid, "generation": self.generation}
        for name in named:
            value = getattr(self, name)
            shown[name] = None if value is None else round(value, 2)
        return shown


def newcomers(
    generations: Collection[str], texts: dict[str, float], known: Collection[str]
) -> tuple[set[str], set[str]]:
    """Replicas that report and were not known, and those of them that have answered texts."""
    reporting = set(generations) - set(known)
    return reporting, {replica for replica in reporting if texts.get(replica, 0.0) > 0}


async def run_kills(
    settings: KillSettings, server: Server, scenario: Scenario, say: Say
) -> dict[str, Any]:
    """What was seen, as JSON."""
    probe = Tally(began_s=server.began_s)
    loop = ClosedLoop(server.url, scenario.questions(), settings.clients, probe)
    sustainable = await loop.for_seconds(_PROBE_S)
    tally = Tally(began_s=server.began_s)
    load = OpenLoop(
        server.url,
        [question(each.texts, x_request_timeout_ms=_TIMEOUT_MS) for each in scenario.questions()],
        settings.share * sustainable,
        tally,
        scenario.judge.complaint,
    )
    say(f"{load.per_s:.0f} requests/s for {settings.seconds:.0f} s ...")
    generation = max((await server.generations()).values())
    async with load.running():
        kills = await _kill(settings, server, say)
    return {
        "model": server.settings.model,
        "sustainable_requests_per_s": round(sustainable, 1),
        "requests_per_s": round(load.per_s, 1),
        "tolerance": round(scenario.judge.tolerance, 5),
        "generation": generation,
        "load": tally.shown(server.events),
        "by_second_since_kill": tally.since_event_ms(server.events),
        "kills": [kill.shown() for kill in kills],
        "waited": sum(kill.waited_s > _POLL_S for kill in kills),
        "failed": tally.failed,
    }


async def _kill(settings: KillSettings, server: Server, say: Say) -> list[Kill]:
    """Kill the replica that has lived longest, again and again until the time is over."""
    began_s = time.perf_counter()
    kills: list[Kill] = []
    known: frozenset[str] = frozenset(await server.generations())
    due_s = settings.every_s
    while due_s <= settings.seconds:
        await asyncio.sleep(max(0.0, began_s + due_s - time.perf_counter()))
        replicas = server.replicas()
        if len(replicas) < server.settings.replicas:
            await asyncio.sleep(_POLL_S)
            continue
        killed_s = time.perf_counter() - began_s
        kill = Kill(replicas[0].pid, server.kill(replicas[0]), killed_s - due_s, known)
        kills.append(kill)
        say(f"killed {kill.pid} at {killed_s:.0f} s ...")
        known |= await _replaced(kill, frozenset(replicas), server)
        due_s = killed_s + settings.every_s
    return kills


async def _replaced(kill: Kill, before: frozenset[Any], server: Server) -> frozenset[str]:
    """Poll until the newcomer for a killed replica answers; returns what reported.

    Raises:
        Unavailable: none does within two minutes.
    """
    killed_s = time.perf_counter()
    reporting: set[str] = set()
    while kill.answering_s is None:
        await asyncio.sleep(_POLL_S)
        since_s = time.perf_counter() - killed_s
        if since_s > _PATIENCE_S:
            raise Unavailable(
                f"no replica serves in place of {kill.pid}, {_PATIENCE_S:g} s after it was killed"
            )
        if kill.process_s is None and set(server.replicas()) - before:
            kill.process_s = since_s
        if kill.process_s is None:
            continue
        generations = await server.generations()
        reporting, answering = newcomers(generations, await server.texts_by_replica(), kill.known)
        if reporting and kill.ready_s is None:
            kill.ready_s = since_s
            kill.generation = max(generations[replica] for replica in reporting)
        if answering:
            kill.answering_s = since_s
    return frozenset(reporting)
