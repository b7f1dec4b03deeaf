"""Hostile bodies, one after the other on every route, while somebody else asks short questions.

What is measured: how long each takes to be refused, what the other client notices, and how much
memory the replica takes beyond what it had. There is one replica, so that nobody can turn to
another, and the bodies are made and sent by another process than the one that asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any

from typer import Option

from isogloss.deploy.load.calibration import Say
from isogloss.deploy.load.clients import OpenLoop
from isogloss.deploy.load.processes import peak_resident_bytes, reset_peak, resident_bytes
from isogloss.deploy.load.scenario import Scenario
from isogloss.deploy.load.server import Server
from isogloss.deploy.load.settings import ServerSettings
from isogloss.deploy.load.tally import NO_ANSWER, Tally
from isogloss.deploy.load.wire import Connection, NoAnswer, Reply, request_bytes
from isogloss.deploy.soak.hostile_bodies import Operation, hostile, operations

_MIB = 1 << 20
_UNREAD_BODIES = 3
_SHAPE = {"error", "error_type"}


@dataclass(frozen=True, slots=True)
class HostileSettings:
    """What is done."""

    server: ServerSettings = field(default_factory=lambda: ServerSettings(replicas=1))
    bodies: Annotated[int, Option(min=1, help="On each route that looks at one.")] = 100
    size: int = 8 << 20
    file_size: int = 64 << 20
    probes_per_s: float = 20.0
    quiet_s: float = 10.0
    """How long the other client is alone, before."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one body."""

    status: int
    """0: there was no answer."""
    took_s: float
    wrong: str | None = None


def complaint(reply: Reply) -> str | None:
    """What is wrong with the answer to a hostile body; None if nothing is."""
    if reply.status < 400:
        return None
    try:
        said = json.loads(reply.body)
    except ValueError:
        return f"{reply.status} without JSON"
    if reply.status >= 500 or set(said) != _SHAPE:
        return f"{reply.status}: {str(said)[:200]}"
    return None


async def run_hostile(
    settings: HostileSettings, server: Server, scenario: Scenario, say: Say
) -> dict[str, Any]:
    """What was seen, as JSON."""
    questions, check = scenario.questions(), scenario.judge.complaint
    quiet, beside = (Tally(began_s=server.began_s) for _ in range(2))
    say("the other client alone ...")
    async with OpenLoop(server.url, questions, settings.probes_per_s, quiet, check).running():
        await asyncio.sleep(settings.quiet_s)
    (replica,) = server.replicas()
    with contextlib.suppress(OSError):  # else the peak is the most since the process began
        reset_peak(replica.pid)
    before = resident_bytes(replica)
    async with OpenLoop(server.url, questions, settings.probes_per_s, beside, check).running():
        routes = await _attack(settings, server, say)
    shown = {name: _shown(seen) for name, seen in routes.items()}
    wrong = sum(len(each["wrong"]) for each in shown.values())
    return {
        "model": server.settings.model,
        "other_client": {"alone": quiet.shown(), "beside": beside.shown()},
        "routes": shown,
        "longest_ms": max(each["longest_ms"] for each in shown.values()),
        "added_mib": round((peak_resident_bytes(replica.pid) - before) / _MIB, 1),
        "failed": quiet.failed + beside.failed + wrong,
    }


async def _attack(settings: HostileSettings, server: Server, say: Say) -> dict[str, list[Seen]]:
    """Send everything to every route, one body at a time."""
    document, loop = (
        json.loads((await server.get("/openapi.json")).body),
        asyncio.get_running_loop(),
    )
    seen: dict[str, list[Seen]] = {}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as attacker:
        for operation in operations(document):
            name = f"{operation.method} {operation.path}"
            say(f"{name} ...")
            size = settings.file_size if operation.takes_file else settings.size
            asked = (server.url, server.token, operation, size)
            seen[name] = [
                await loop.run_in_executor(attacker, attack, *asked, number)
                for number in range(settings.bodies if operation.takes_body else _UNREAD_BODIES)
            ]
    return seen


def attack(url: str, token: str, operation: Operation, size: int, number: int) -> Seen:
    """Make one body and send it."""
    headers = {"authorization": f"Bearer {token}", "connection": "close"}
    body = hostile(number, operation, size)
    path = operation.path.replace("{name}", "hostile")
    request = request_bytes(operation.method, path, body, headers)
    return asyncio.run(_ask(Connection(url), request))


async def _ask(connection: Connection, request: bytes) -> Seen:
    began_s = time.perf_counter()
    try:
        reply = await connection.ask(request)
        return Seen(reply.status, time.perf_counter() - began_s, complaint(reply))
    except NoAnswer as problem:
        return Seen(NO_ANSWER, time.perf_counter() - began_s, f"no answer: {problem}")
    finally:
        connection.close()


def _shown(seen: Sequence[Seen]) -> dict[str, Any]:
    return {
        "bodies": len(seen),
        "longest_ms": round(1000 * max(each.took_s for each in seen), 1),
        "statuses": dict(sorted(Counter(str(each.status) for each in seen).items())),
        "wrong": [each.wrong for each in seen if each.wrong is not None],
    }
