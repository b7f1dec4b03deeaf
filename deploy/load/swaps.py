"""A thousand swaps under concurrent clients: nothing fails, nothing is mixed up, nobody waits.

Phases with and without swaps take turns on one server; the phases without last as long as those
with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from isogloss.deploy.load.calibration import Say
from isogloss.deploy.load.clients import ClosedLoop
from isogloss.deploy.load.processes import Spent
from isogloss.deploy.load.publisher import Publisher
from isogloss.deploy.load.scenario import Scenario
from isogloss.deploy.load.server import Server
from isogloss.deploy.load.settings import SwapSettings
from isogloss.deploy.load.tally import Tally, percentiles_ms


@dataclass
class _Phases:
    """What the phases of one kind came to."""

    tally: Tally
    spent: Spent = field(default_factory=Spent)

    def shown(self, server: Server) -> dict[str, Any]:
        answered, spent = max(1, self.tally.statuses[200]), self.spent
        return self.tally.shown(server.events) | {
            "seconds": round(spent.seconds, 1),
            "requests_per_s": round(self.tally.statuses[200] / spent.seconds, 1),
            "server_cpu_ms_per_request": round(1000 * spent.server_cpu_s / answered, 3),
            "client_cpu_ms_per_request": round(1000 * spent.client_cpu_s / answered, 3),
        }


async def run_swaps(
    settings: SwapSettings, server: Server, scenario: Scenario, say: Say
) -> dict[str, Any]:
    """What was seen, as JSON."""
    with_swaps, without = (_Phases(Tally(began_s=server.began_s)) for _ in range(2))
    publisher = Publisher(server, scenario)
    try:
        for number in range(settings.rounds):
            per_round = share_of(settings.swaps, settings.rounds, number)
            say(f"round {number + 1} of {settings.rounds}: {per_round} swaps ...")
            seconds = with_swaps.spent.seconds
            swaps = publisher.swaps(per_round, settings.every_s)
            await _phase(settings, server, scenario, with_swaps, swaps)
            seconds = with_swaps.spent.seconds - seconds
            say(f"round {number + 1} of {settings.rounds}: {seconds:.0f} s without swaps ...")
            await _phase(settings, server, scenario, without, asyncio.sleep(seconds))
    finally:
        publisher.close()
    return _shown(server, scenario, publisher, with_swaps, without)


def share_of(swaps: int, rounds: int, number: int) -> int:
    """Swaps of one round, so that all rounds together have all of them.

    >>> [share_of(10, 4, number) for number in range(4)]
    [2, 3, 2, 3]
    """
    return swaps * (number + 1) // rounds - swaps * number // rounds


async def _phase(
    settings: SwapSettings, server: Server, scenario: Scenario, phases: _Phases, meanwhile: Any
) -> None:
    loop = ClosedLoop(
        server.url, scenario.questions(), settings.clients, phases.tally, scenario.judge.complaint
    )
    with phases.spent.on(server.replicas()):
        async with loop.running():
            await meanwhile


def _shown(
    server: Server, scenario: Scenario, publisher: Publisher, with_swaps: _Phases, without: _Phases
) -> dict[str, Any]:
    took_s = publisher.tally.took_s.get(200, ())
    tenth = max(1, len(took_s) // 10)
    ways = {"with_swaps": with_swaps.shown(server), "without_swaps": without.shown(server)}
    p99 = {name: way["latency_ms"]["p99"] for name, way in ways.items()}
    return {
        "model": server.settings.model,
        "route": {"prompt": scenario.name, "turns": list(scenario.prompts)},
        "texts": len(scenario.texts),
        "tolerance": round(scenario.judge.tolerance, 5),
        "least_separation": round(min(map(scenario.judge.separation, scenario.texts)), 5),
        **ways,
        "swaps": publisher.tally.shown(server.events)
        | {
            "done": publisher.tally.statuses[200],
            "per_s": round(publisher.tally.statuses[200] / max(1e-9, with_swaps.spent.seconds), 2),
            "first_tenth_p50_ms": _p50_ms(took_s[:tenth]),
            "last_tenth_p50_ms": _p50_ms(took_s[-tenth:]),
        },
        "failed": sum(t.failed for t in (with_swaps.tally, without.tally, publisher.tally)),
        "p99_with_vs_without_swaps": round(p99["with_swaps"] / p99["without_swaps"], 3),
    }


def _p50_ms(took_s: Sequence[float]) -> float | None:
    return round(percentiles_ms(took_s)["p50"], 1) if took_s else None
