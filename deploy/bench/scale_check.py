"""The simulation beside a real server: what requests cost is measured, then latencies compared.

`isogloss serve` runs as users run it, with one replica. Three closed loops tell what a request
costs: one connection, where nothing waits, some, and many, where everything is busy at once, which
also tells the server's capacity. Nothing is fitted to the three open loops beside them, at parts of
that, whose requests come at random. All six are run in turn, several times, for a machine is not
equally fast all the time. The simulation is given the very same arrivals and texts, and says how
long answers take.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from isogloss.deploy.bench.http_workload import HttpWorkload
from isogloss.deploy.bench.options import Say
from isogloss.deploy.bench.scale_server import Measured, Server, Traffic
from isogloss.deploy.bench.scale_settings import CHECKED_SHARES, ScaleSettings
from isogloss.deploy.bench.scale_simulation import Content, Costs, Fleet, Outcome
from isogloss.deploy.load.servers import running
from isogloss.deploy.load.settings import serve_command
from isogloss.deploy.load.tally import percentiles_ms
from isogloss.serving.batching.costs import CostTable
from isogloss.serving.batching.kept_costs import KeptCosts, read

CONNECTIONS = (1, 12, 32)
"""Of the closed loops: nothing waits, batches are of several texts, Python hardly rests."""
ROUNDS = 5
SHOWN = ("p50", "p95", "p99")
_PART = 0.4  # of the seconds at each rate, for each closed loop
_SIMULATED = 3000  # requests of a closed loop
_STEPS = 7
_ALTERNATIONS = 3


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
        rates, closed, opened = _loaded(Server(server, traffic, settings), settings, say)
    costs = calibrated(kept.table, traffic.contents, closed)
    shown = {
        "closed": [
            _closed_shown(clients, Measured.together(rounds))
            for clients, rounds in zip(CONNECTIONS, closed, strict=True)
        ],
        "costs": _costs_shown(costs),
        "loads": [
            {"share": share, **compared(rate, rounds, _simulated(costs, traffic, rate, rounds))}
            for share, rate, rounds in zip(CHECKED_SHARES, rates, opened, strict=True)
        ],
    }
    return kept, costs, shown


def _loaded(
    real: Server, settings: ScaleSettings, say: Say
) -> tuple[list[float], list[list[Measured]], list[list[Measured]]]:
    """Rates, the rounds of each number of connections, and those of each rate."""
    seconds = settings.seconds / ROUNDS
    say(f"{CONNECTIONS} connections and {len(CHECKED_SHARES)} rates, in {ROUNDS} rounds ...")
    capacity = real.closed(CONNECTIONS[-1], settings.seconds * _PART).per_s  # warms up, too
    rates = [share * capacity for share in CHECKED_SHARES]
    closed, opened = [list[Measured]() for _ in CONNECTIONS], [list[Measured]() for _ in rates]
    for number in range(ROUNDS):
        for clients, rate, beside, rounds in zip(CONNECTIONS, rates, closed, opened, strict=True):
            beside.append(real.closed(clients, seconds * _PART))
            rounds.append(real.open(rate, poisson(rate, number), seconds))
    return rates, closed, opened


def _simulated(
    costs: Costs, traffic: Traffic, rate: float, rounds: Sequence[Measured]
) -> list[Outcome]:
    """The same requests at the same times."""
    outcomes = []
    for number, measured in enumerate(rounds):
        gaps_s = sent_gaps_s(poisson(rate, number), measured.late_s)
        fleet = Fleet(costs, 1, itertools.cycle(traffic.contents), seed=number)
        outcomes.append(fleet.open_loop(iter(gaps_s), len(gaps_s)))
    return outcomes


def calibrated(
    table: CostTable, contents: Sequence[Content], closed: Sequence[Sequence[Measured]]
) -> Costs:
    """Find what a request costs besides its batch, from closed loops.

    With one connection Python wakes twice for each request, and its processor time is known. How
    much of that waking takes is what makes the simulation answer as many requests a second among
    many connections, where Python hardly rests; what planning in a thread takes, among some.

    Args:
        table: what batches should take.
        contents: the requests', which every loop went round from the first.
        closed: rounds of each of `CONNECTIONS`.
    """
    alone, (some, many) = closed[0], map(Measured.together, closed[1:])
    costs = _lone(table, contents, alone)
    most_s = costs.step_s

    def waking(wake_s: float) -> Costs:
        return replace(costs, step_s=most_s - wake_s, wake_s=wake_s)

    def planning(plan_s: float) -> Costs:
        return replace(costs, plan_s=plan_s)

    def faster(tried: Costs, clients: int, measured: Measured) -> bool:
        came = Fleet(tried, 1, itertools.cycle(contents)).closed_loop(clients, _SIMULATED)
        return came.sent / came.ended_s > measured.per_s

    _, of_some, of_many = CONNECTIONS
    for _ in range(_ALTERNATIONS):
        costs = waking(_bisected(0.0, most_s, lambda it: not faster(waking(it), of_many, many)))
        costs = planning(_bisected(0.0, most_s, lambda it: faster(planning(it), of_some, some)))
    return costs


def _lone(table: CostTable, contents: Sequence[Content], alone: Sequence[Measured]) -> Costs:
    """What a request costs a lone caller, all of Python's part taken to be steps.

    What it takes beyond its batch and Python is delay in the mean; what differs from that is how
    much longer than the table its batch took.
    """
    rounds = Measured.together(alone)
    loop_s = rounds.python_s / len(rounds.took_s)
    batch_s = rounds.batches_s / rounds.batches
    delay_s = max(0.0, float(np.mean(rounds.took_s)) - loop_s - batch_s)
    extras_s = [
        took_s - loop_s - delay_s - table.batch_s(content.tokens)
        for each in alone
        for took_s, content in zip(each.took_s, itertools.cycle(contents), strict=False)
    ]
    return Costs(table, loop_s / 2, 0.0, extras_s, delay_s)


def _bisected(low: float, high: float, too_low: Callable[[float], bool]) -> float:
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return (low + high) / 2


def sent_gaps_s(due: Iterator[float], late_s: Sequence[float]) -> list[float]:
    """From gaps between due requests, and how late each was sent, to gaps between sent ones."""
    due_s = itertools.accumulate(itertools.islice(due, len(late_s)))
    sent_s = [at_s + late for at_s, late in zip(due_s, late_s, strict=True)]
    return [after - before for before, after in itertools.pairwise([0.0, *sent_s])]


def poisson(per_s: float, seed: int) -> Iterator[float]:
    """Seconds between requests that come at random."""
    drawn = random.Random(seed)
    return (drawn.expovariate(per_s) for _ in itertools.count())


def compared(
    per_s: float, rounds: Sequence[Measured], simulated: Sequence[Outcome]
) -> dict[str, Any]:
    """Both sides' percentiles, and how far the simulated are off, in parts of the measured.

    They are medians of the rounds': one in which the machine was busy otherwise does not decide.
    """
    measured = Measured.together(rounds)
    real = [percentiles_ms(each.took_s) for each in rounds]
    ours = [percentiles_ms(each.took_s) for each in simulated]
    batches, seconds = sum(each.batches for each in simulated), sum(e.ended_s for e in simulated)
    return {
        "requests_per_s": round(per_s, 1),
        "requests": len(measured.took_s),
        "sent_late_p99_ms": percentiles_ms(measured.late_s)["p99"],
        "measured_ms": _medians(real),
        "simulated_ms": _medians(ours),
        "off": {
            name: round(each / _medians(real)[name] - 1, 3) for name, each in _medians(ours).items()
        },
        "rounds_ms": [{name: each[name] for name in SHOWN} for each in real],
        **_batches_shown("measured", measured),
        "simulated_texts_per_batch": round(sum(each.texts for each in simulated) / batches, 2),
        "simulated_batch_cost_ratio": round(sum(each.ratios for each in simulated) / batches, 3),
        "worker_busy": round(sum(each.batches_s for each in simulated) / seconds, 3),
        "loop_busy": round(sum(each.loops_s for each in simulated) / seconds, 3),
    }


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(median(each[name] for each in rounds), 2) for name in SHOWN}


def _batches_shown(side: str, measured: Measured) -> dict[str, float]:
    return {
        f"{side}_texts_per_batch": round(measured.texts / measured.batches, 2),
        f"{side}_batch_cost_ratio": round(measured.ratios / measured.batches, 3),
        f"{side}_worker_busy": round(measured.batches_s / measured.seconds, 3),
        f"{side}_loop_busy": round(measured.python_s / measured.seconds, 3),
    }


def _closed_shown(connections: int, measured: Measured) -> dict[str, Any]:
    return {
        "connections": connections,
        "requests_per_s": round(measured.per_s, 1),
        "latency_ms": percentiles_ms(measured.took_s),
        **_batches_shown("measured", measured),
    }


def _costs_shown(costs: Costs) -> dict[str, Any]:
    return {
        "loop_ms": round(2000 * costs.step_s, 3),
        "wake_ms": round(1000 * costs.wake_s, 3),
        "plan_ms": round(1000 * costs.plan_s, 3),
        "delay_ms": round(1000 * costs.delay_s, 3),
        "extra_ms": percentiles_ms(costs.extras_s),
    }
