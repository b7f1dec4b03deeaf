"""What a replica counts of its trials: numbers that add up, and how the metrics page shows them.

A trial's numbers begin with it and go with it, so that a candidate that is tried a second time does
not answer for the first. Imports nothing heavy: these numbers travel through the replicas' board,
which needs no model.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_DECADES = (0.001, 0.01, 0.1, 1.0, 10.0)
BOUNDS_S = tuple(round(step * at, 6) for at in _DECADES for step in (1, 1.5, 2, 3, 5, 7))
"""Upper ends of the latencies' buckets: none is more than half as long again as the one before,
or, once in a decade, two thirds."""
_LE = (*map(str, BOUNDS_S), "+Inf")
_TRIAL = ("candidate", "kind", "clade")
_COUNTED = {
    "texts": "Texts on trial: answered by a candidate, or scored by it as well.",
    "compared": "Texts scored under both the candidate and the routed prompt.",
    "agreed": "Texts compared to which both give the same label.",
    "failures": "Texts that a candidate could not be scored on.",
    "variation": "Total variation distances of both prompts' scores, summed over texts compared.",
}


class TrialKey(NamedTuple):
    """One trial: the same candidate may have another one later."""

    candidate: str
    kind: str
    started_at: datetime


@dataclass
class Latency:
    """How long texts took from admission to answer, in seconds."""

    count: int = 0
    sum_s: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * len(_LE))

    def observe(self, seconds: float) -> None:
        """Count one text."""
        self.count += 1
        self.sum_s += seconds
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1

    def __add__(self, other: Latency) -> Latency:
        """Both together."""
        buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        return Latency(self.count + other.count, self.sum_s + other.sum_s, buckets)

    @property
    def mean_s(self) -> float | None:
        """None: nothing was counted."""
        return self.sum_s / self.count if self.count else None

    def quantile_s(self, quantile: float) -> float | None:
        """Estimate one, as Prometheus does: evenly spread within a bucket. None: no texts."""
        if not self.count:
            return None
        rank, below = quantile * self.count, 0
        for place, own in enumerate(self.buckets[:-1]):
            if own and below + own >= rank:
                lower = BOUNDS_S[place - 1] if place else 0.0
                return lower + (BOUNDS_S[place] - lower) * (rank - below) / own
            below += own
        return BOUNDS_S[-1]


@dataclass
class Tally:
    """One trial on one clade's texts."""

    texts: int = 0  # on trial
    compared: int = 0  # with both prompts' scores
    failures: int = 0  # texts that the candidate could not be scored on
    agreed: int = 0
    score_shift: float = 0.0  # sum: candidate's best score less the routed prompt's
    variation: float = 0.0  # sum: half the absolute differences of the labels' scores
    on_trial: Latency = field(default_factory=Latency)
    off_trial: Latency = field(default_factory=Latency)  # the clade's other texts meanwhile

    def compare(self, routed: Mapping[str, float], candidate: Mapping[str, float]) -> None:
        """Count one text's scores, label by label, under both prompts."""
        self.compared += 1
        self.agreed += max(routed, key=routed.__getitem__) == max(
            candidate, key=candidate.__getitem__
        )
        self.score_shift += max(candidate.values()) - max(routed.values())
        self.variation += sum(abs(candidate[label] - routed[label]) for label in routed) / 2

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Tally)))

    @property
    def judged(self) -> int:
        """Texts that tell something about the candidate: compared, or failed on."""
        return self.compared + self.failures

    @property
    def agreement(self) -> float | None:
        """Share of these with the same label; where the candidate fails it does not agree."""
        return self.agreed / self.judged if self.judged else None

    @property
    def mean_score_shift(self) -> float | None:
        """Of the texts compared."""
        return self.score_shift / self.compared if self.compared else None

    @property
    def mean_variation(self) -> float | None:
        """Total variation distance of the texts compared."""
        return self.variation / self.compared if self.compared else None

    @property
    def latency_ratio(self) -> float | None:
        """Mean on trial over mean off it."""
        on, off = self.on_trial.mean_s, self.off_trial.mean_s
        return on / off if on is not None and off else None


@dataclass(frozen=True)
class TrialTally:
    """What one replica knows of one trial."""

    key: TrialKey
    clades: Mapping[str, Tally]
    problem: str | None = None
    """Why it does not run there, or cannot be ended."""


class TrialTallies(Collector):
    """The numbers of one replica's trials. Any thread may count and read."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[TrialKey, dict[str, Tally]] = {}
        self._problems: dict[TrialKey, str] = {}
        registry.register(self)

    def keep(self, trials: Mapping[TrialKey, str | None]) -> None:
        """Go on with these trials, each with what keeps it from running; forget all others."""
        with self._lock:
            self._tallies = {key: self._tallies.get(key, {}) for key in trials}
            self._problems = {key: problem for key, problem in trials.items() if problem}

    def report(self, key: TrialKey, problem: str) -> None:
        """Say what is wrong with a trial that goes on."""
        with self._lock:
            if key in self._tallies:
                self._problems[key] = problem

    @contextmanager
    def counting(self, key: TrialKey, clade: str) -> Iterator[Tally]:
        """Hold a trial's tally to count in; one that is over goes nowhere."""
        with self._lock:
            yield self._tallies.get(key, {}).setdefault(clade, Tally())

    def snapshot(self) -> tuple[TrialTally, ...]:
        """All of them, as values that may travel."""
        with self._lock:
            return tuple(
                TrialTally(
                    key,
                    {clade: tally + Tally() for clade, tally in own.items()},
                    self._problems.get(key),
                )
                for key, own in self._tallies.items()
            )

    def describe(self) -> list[Metric]:
        """The families, without samples."""
        return list(_Families().all())

    def collect(self) -> list[Metric]:
        """The families and their samples."""
        families = _Families()
        for own in self.snapshot():
            families.problem.add_metric(own.key[:2], float(own.problem is not None))
            for clade, tally in own.clades.items():
                families.add((*own.key[:2], clade), tally)
        return list(families.all())


class _Families:
    """One page's worth of metrics."""

    def __init__(self) -> None:
        self.counters = {
            name: CounterMetricFamily(f"isogloss_trial_{name}", about, labels=_TRIAL)
            for name, about in _COUNTED.items()
        }
        self.shift = GaugeMetricFamily(
            "isogloss_trial_score_shift",
            "Sum of the candidate's best scores less the routed prompt's, of texts compared.",
            labels=_TRIAL,
        )
        self.seconds = HistogramMetricFamily(
            "isogloss_trial_seconds",
            "Time from admission to answer of a clade's texts, on trial and off it meanwhile.",
            labels=(*_TRIAL, "side"),
        )
        self.problem = GaugeMetricFamily(
            "isogloss_trial_problem",
            "1 where a trial does not run on all its clades or cannot be ended, else 0.",
            labels=_TRIAL[:2],
        )

    def add(self, labels: tuple[str, ...], tally: Tally) -> None:
        for name, family in self.counters.items():
            family.add_metric(labels, getattr(tally, name))
        self.shift.add_metric(labels, tally.score_shift)
        for side, latency in (("on", tally.on_trial), ("off", tally.off_trial)):
            buckets = list(zip(_LE, accumulate(latency.buckets), strict=True))
            self.seconds.add_metric((*labels, side), buckets, latency.sum_s)

    def all(self) -> Iterator[Metric]:
        yield from self.counters.values()
        yield from (self.shift, self.seconds, self.problem)
