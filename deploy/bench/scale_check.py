"""The simulation beside a real server: what requests cost is measured, then latencies compared.

`isogloss serve` runs as users run it, with one replica. Two closed loops tell what a request costs:
one connection, where nothing waits, and many, where everything is busy at once, which also tells
the server's capacity. Nothing is fitted to the three open loops that follow, at parts of that,
whose requests come at random. The simulation is given the very same arrivals and texts, and says
how long answers take.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from isogloss.deploy.bench.http_workload import HttpWorkload
from isogloss.deploy.bench.options import Say
from isogloss.deploy.bench.scale_settings import CHECKED_SHARES, ScaleSettings
from isogloss.deploy.bench.scale_simulation import Costs, Fleet, Outcome, Tokens
from isogloss.deploy.load.clients import ClosedLoop, OpenLoop, Question
from isogloss.deploy.load.servers import running
from isogloss.deploy.load.settings import serve_command
from isogloss.deploy.load.tally import Tally, percentiles_ms
from isogloss.deploy.load.wire import classify_request
from isogloss.prompts.console.http_client import open_url
from isogloss.prompts.errors import Unavailable
from isogloss.serving.batching.kept_costs import KeptCosts, read

CONNECTIONS = 32
_PART = 0.3  # of the seconds at each rate, for each closed loop
_SIMULATED = 3000  # requests of a closed loop
_STEPS = 8
_MOST_CONTENTION = 20.0
_COUNTED = ("isogloss_batch_cost_ratio", "isogloss_batch_texts")


@dataclass(frozen=True, slots=True)
class Measured:
    """One loop on the real server."""

    tally: Tally
    per_s: float
    """Answers a second."""
    ratio: float
    """Mean of its batches' seconds over the cost table's."""
    texts_per_batch: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests, and how many tokens each of their texts has with its prompt."""

    questions: Sequence[Question]
    tokens: Sequence[Tokens]

    @classmethod
    def of(cls, work: HttpWorkload, texts: int) -> Traffic:
        """So many texts a request, all under the prompt that its first one names."""
        around = itertools.cycle(zip(work.asked, work.lengths, strict=True))
        questions, tokens = [], []
        for _ in work.asked:
            own = list(itertools.islice(around, texts))
            inputs = tuple(asked.text for asked, _ in own)
            body = {"inputs": list(inputs), "prompt": own[0][0].prompt}
            questions.append(Question(classify_request(body), inputs))
            tokens.append(tuple(length + work.prompt_length for _, length in own))
        return cls(questions, tokens)


def check(
    work: HttpWorkload, scratch: Path, settings: ScaleSettings, say: Say
) -> tuple[KeptCosts, Costs, dict[str, Any]]:
    """Run the server and the simulation beside it.

    Returns:
        The table that the server prices with, what a request costs besides, and how near the
        simulation came.

    Raises:
        Unavailable: the server did not start, or did not answer every request.
    """
    traffic = Traffic.of(work, settings.texts)
    given = ["--model", work.source, "--store", str(work.store), "--port", "{port}"]
    given += ["--threads", str(settings.threads), "--device", settings.device]
    given += ["--dtype", settings.dtype, "--replicas", "1"]
    cache = {"ISOGLOSS_CACHE": str(scratch / "cache")}
    say(f"{work.model}: starting isogloss serve ...")
    with running(serve_command(*given), scratch / "server", cache) as server:
        (kept,) = map(read, (scratch / "cache" / "costs").glob("*.json"))
        real = _Server(server.url, traffic, settings)
        say("measuring what a request costs: 1 and 32 connections ...")
        real.closed(CONNECTIONS, _PART)  # warms up
        alone, busy = real.closed(1, _PART), real.closed(CONNECTIONS, _PART)
        costs = calibrated(Costs(kept.table), traffic.tokens, alone, busy)
        rows = []
        for share in CHECKED_SHARES:
            say(f"{share:.0%} of {busy.per_s:.0f} requests a second, {settings.seconds:.0f} s ...")
            rate = share * busy.per_s
            measured = real.open(rate)
            gaps_s = sent_gaps_s(poisson(rate, settings.seed), measured.tally.late_s)
            fleet = Fleet(costs, 1, itertools.cycle(traffic.tokens), seed=settings.seed)
            simulated = fleet.open_loop(iter(gaps_s), len(gaps_s))
            rows.append({"share": share, **compared(rate, measured, simulated)})
    return (
        kept,
        costs,
        {
            "alone": _closed_shown(1, alone),
            "busy": _closed_shown(CONNECTIONS, busy),
            "costs": _costs_shown(costs),
            "loads": rows,
        },
    )


def calibrated(costs: Costs, tokens: Sequence[Tokens], alone: Measured, busy: Measured) -> Costs:
    """Find what a request costs besides its batch, from two closed loops.

    How much batches suffer from the event loop is what makes the simulated ones take as long as the
    real ones among many connections; the event loop's time, what makes as many answers a second.
    What a lone caller waits beyond is delay.
    """
    took_s = np.array(alone.tally.took_s[200])
    batches_s = [costs.table.batch_s(tokens[n % len(tokens)]) for n in range(len(took_s))]
    rest_s = took_s - alone.ratio * np.array(batches_s)
    wanted = max(0.0, busy.ratio / alone.ratio - 1)
    costs = replace(costs, slowdown=alone.ratio, contention=wanted)
    for _ in range(3):
        costs = _looping(costs, tokens, busy.per_s, rest_s)
        came = _closed(costs, tokens)
        suffered = came.ratios / came.batches / costs.slowdown - 1
        if wanted and suffered > 0:
            costs = replace(costs, contention=costs.contention * wanted / suffered)
    return costs


def _looping(costs: Costs, tokens: Sequence[Tokens], per_s: float, rest_s: Any) -> Costs:
    """Find the event loop's time for so many answers a second, and no more than a lone caller sees.

    It suffers from batches as they do from it; where that does not explain the rate, more.
    """

    def tried(loop_s: float, loop_contention: float) -> Costs:
        delays_s = np.maximum(0.0, rest_s - loop_s).tolist()
        return replace(costs, loop_s=loop_s, loop_contention=loop_contention, delays_s=delays_s)

    def too_fast(loop_s: float, loop_contention: float) -> bool:
        came = _closed(tried(loop_s, loop_contention), tokens)
        return came.sent / came.ended_s > per_s

    most_s, own = max(0.0, float(np.median(rest_s))), costs.contention
    if too_fast(most_s, own):
        return tried(most_s, _bisected(own, _MOST_CONTENTION, lambda it: too_fast(most_s, it)))
    return tried(_bisected(0.0, most_s, lambda it: too_fast(it, own)), own)


def _bisected(low: float, high: float, too_low: Callable[[float], bool]) -> float:
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return (low + high) / 2


def _closed(costs: Costs, tokens: Sequence[Tokens]) -> Outcome:
    return Fleet(costs, 1, itertools.cycle(tokens)).closed_loop(CONNECTIONS, _SIMULATED)


def sent_gaps_s(due: Iterator[float], late_s: Sequence[float]) -> list[float]:
    """From gaps between due requests, and how late each was sent, to gaps between sent ones."""
    due_s = itertools.accumulate(itertools.islice(due, len(late_s)))
    sent_s = [at_s + late for at_s, late in zip(due_s, late_s, strict=True)]
    return [after - before for before, after in itertools.pairwise([0.0, *sent_s])]


def poisson(per_s: float, seed: int) -> Iterator[float]:
    """Seconds between requests that come at random."""
    drawn = random.Random(seed)
    return (drawn.expovariate(per_s) for _ in itertools.count())


def compared(per_s: float, measured: Measured, simulated: Outcome) -> dict[str, Any]:
    """Both sides' percentiles, and how far the simulated are off, in parts of the measured."""
    real, ours = measured.tally.latency_ms(), percentiles_ms(simulated.took_s)
    names = ("p50", "p95", "p99")
    return {
        "requests_per_s": round(per_s, 1),
        "requests": measured.tally.sent,
        "sent_late_p99_ms": percentiles_ms(measured.tally.late_s)["p99"],
        "measured_ms": {name: round(real[name], 2) for name in names},
        "simulated_ms": {name: round(ours[name], 2) for name in names},
        "off": {name: round(ours[name] / real[name] - 1, 3) for name in names},
        "measured_texts_per_batch": round(measured.texts_per_batch, 2),
        "simulated_texts_per_batch": round(simulated.texts / simulated.batches, 2),
        "worker_busy": round(simulated.batches_s / simulated.ended_s, 3),
        "loop_busy": round(simulated.loops_s / simulated.ended_s, 3),
    }


class _Server:
    """Loops on the real server, each with what it did meanwhile."""

    def __init__(self, url: str, traffic: Traffic, settings: ScaleSettings) -> None:
        self._url, self._traffic, self._settings = url, traffic, settings

    def closed(self, clients: int, part: float) -> Measured:
        async def load(tally: Tally) -> None:
            loop = ClosedLoop(self._url, self._traffic.questions, clients, tally)
            await loop.for_seconds(part * self._settings.seconds)

        return self._measure(load)

    def open(self, per_s: float) -> Measured:
        async def load(tally: Tally) -> None:
            gaps_s = poisson(per_s, self._settings.seed)
            questions = self._traffic.questions
            async with OpenLoop(self._url, questions, per_s, tally, gaps_s=gaps_s).running():
                await asyncio.sleep(self._settings.seconds)

        return self._measure(load)

    def _measure(self, load: Callable[[Tally], Any]) -> Measured:
        tally, before, began_s = Tally(), self._counted(), time.perf_counter()
        asyncio.run(load(tally))
        seconds = time.perf_counter() - began_s
        if tally.failed or not tally.sent:
            said = json.dumps([failure.shown() for failure in tally.failures[:1]])
            raise Unavailable(f"{tally.failed} of {tally.sent} requests failed: {said}")
        did = {name: after - before[name] for name, after in self._counted().items()}
        ratios, texts = (did[f"{name}_sum"] / did[f"{name}_count"] for name in _COUNTED)
        return Measured(tally, tally.sent / seconds, ratios, texts)

    def _counted(self) -> Mapping[str, float]:
        with open_url(f"{self._url}/metrics", 10) as reply:
            page = reply.read().decode()
        names = {f"{name}_{what}" for name in _COUNTED for what in ("sum", "count")}
        samples = (s for family in text_string_to_metric_families(page) for s in family.samples)
        return {sample.name: sample.value for sample in samples if sample.name in names}


def _closed_shown(connections: int, measured: Measured) -> dict[str, Any]:
    return {
        "connections": connections,
        "requests_per_s": round(measured.per_s, 1),
        "latency_ms": measured.tally.latency_ms(),
        "batch_cost_ratio": round(measured.ratio, 3),
        "texts_per_batch": round(measured.texts_per_batch, 2),
    }


def _costs_shown(costs: Costs) -> dict[str, Any]:
    return {
        "slowdown": round(costs.slowdown, 3),
        "contention": round(costs.contention, 3),
        "loop_ms": round(1000 * costs.loop_s, 3),
        "loop_contention": round(costs.loop_contention, 3),
        "delay_ms": percentiles_ms(costs.delays_s),
    }
