"""Half the load that can be borne, a swap every second: does the server's memory stay what it is?

Growth is that of the mean resident memory: of the last minutes over that of the minutes after the
first five, in which caches fill.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from typer import Option

from isogloss.deploy.load.calibration import Say
from isogloss.deploy.load.clients import ClosedLoop, OpenLoop
from isogloss.deploy.load.publisher import Publisher
from isogloss.deploy.load.scenario import Scenario
from isogloss.deploy.load.server import Server
from isogloss.deploy.load.settings import ServerSettings
from isogloss.deploy.load.tally import Tally

_PROBE_S = 10.0
_CLIENTS = 16
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """What is done."""

    server: ServerSettings = field(default_factory=ServerSettings)
    minutes: Annotated[float, Option(min=0.1, help="Of load.")] = 30.0
    settle_minutes: Annotated[
        float, Option(min=0, help="At the beginning, in which memory may grow.")
    ] = 5.0
    swap_every_s: Annotated[float, Option(min=0.01, help="Between publishes.")] = 1.0
    sample_every_s: Annotated[float, Option(min=0.1, help="Between samples.")] = 5.0
    share: Annotated[float, Option(min=0.01, help="Of the rate that can be borne.")] = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident bytes of the server's processes at a time."""

    at_s: float
    resident: dict[str, int]
    """`role pid` -> bytes."""

    @property
    def by_role(self) -> dict[str, int]:
        """Role -> bytes of all its processes."""
        total: Counter[str] = Counter()
        for name, held in self.resident.items():
            total[name.split()[0]] += held
        return dict(total)


async def run_memory(
    settings: MemorySettings, server: Server, scenario: Scenario, say: Say
) -> dict[str, Any]:
    """What was seen, as JSON."""
    questions, check = scenario.questions(), scenario.judge.complaint
    probe = Tally(began_s=server.began_s)
    loop = ClosedLoop(server.url, questions, _CLIENTS, probe, check)
    sustainable = await loop.for_seconds(_PROBE_S)
    tally, publisher = Tally(began_s=server.began_s), Publisher(server, scenario)
    load = OpenLoop(server.url, questions, settings.share * sustainable, tally, check)
    say(f"{load.per_s:.0f} requests/s for {settings.minutes:g} minutes ...")
    try:
        async with load.running(), publisher.every(settings.swap_every_s):
            samples = await _sampled(settings, server, say)
    finally:
        publisher.close()
    return {
        "model": server.settings.model,
        "sustainable_requests_per_s": round(sustainable, 1),
        "requests_per_s": round(load.per_s, 1),
        "load": tally.shown(server.events),
        "swaps": publisher.tally.shown(server.events) | {"done": publisher.tally.statuses[200]},
        "growth": growth(samples, 60 * settings.settle_minutes),
        "failed": tally.failed + publisher.tally.failed,
    }


async def _sampled(settings: MemorySettings, server: Server, say: Say) -> list[Sample]:
    """Sample for as long as the run takes."""
    began_s, samples = time.perf_counter(), list[Sample]()
    while not samples or samples[-1].at_s < 60 * settings.minutes:
        resident = await asyncio.to_thread(server.memory)  # walks all processes
        samples.append(Sample(time.perf_counter() - began_s, resident))
        replicas_mib = samples[-1].by_role.get("replica", 0) / _MIB
        say(f"{samples[-1].at_s / 60:.1f} minutes: replicas hold {replicas_mib:.1f} MiB ...")
        await asyncio.sleep(settings.sample_every_s)
    return samples


def growth(samples: Sequence[Sample], settle_s: float) -> dict[str, Any]:
    """How memory grew from the tenth of the time after settling to the last tenth.

    Processes that are not there all the time since are left out, and counted.

    Returns:
        By process, by role and in all: MiB at first and at last, and the growth in per cent.
    """
    settled = [sample for sample in samples if sample.at_s >= settle_s] or list(samples)
    tenth = max(1, len(settled) // 10)
    first, last = settled[:tenth], settled[-tenth:]
    always = set.intersection(*(set(sample.resident) for sample in settled))
    seen = set.union(*(set(sample.resident) for sample in settled))
    groups: dict[str, list[str]] = {name: [name] for name in sorted(always)}
    for role in ("replica", "haproxy", "ray"):
        groups[role] = [name for name in always if name.split()[0] == role]
    groups["all"] = sorted(always)
    grown: dict[str, Any] = {
        name: _grown(processes, first, last) for name, processes in groups.items() if processes
    }
    return grown | {"came_or_went": sorted(seen - always)}


def _grown(
    processes: Sequence[str], first: Sequence[Sample], last: Sequence[Sample]
) -> dict[str, float]:
    before, after = (
        statistics.fmean(sum(sample.resident[name] for name in processes) for sample in part)
        for part in (first, last)
    )
    return {
        "first_mib": round(before / _MIB, 2),
        "last_mib": round(after / _MIB, 2),
        "percent": round(100 * (after / before - 1), 3),
    }
