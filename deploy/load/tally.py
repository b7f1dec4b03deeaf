"""Every request accounted for: answered how, after how long, and what was wrong with it."""

from __future__ import annotations

import bisect
import math
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NO_ANSWER = 0
"""Stands for a status where there is none."""

WRONG = -1
"""Stands for the status of an answer that is not what was asked for."""

_KEPT_FAILURES = 50  # of each status: a flood of one must not hide another
_SHOWN_CHARACTERS = 400


def percentiles_ms(seconds: Iterable[float]) -> dict[str, float]:
    """p50, p95, p99 and the longest in milliseconds, each one of the values; NaN of none.

    >>> percentiles_ms([0.001, 0.002, 0.003, 0.004])["p50"]
    2.0
    """
    took_ms = 1000 * np.fromiter(seconds, dtype=float)
    if not took_ms.size:
        return dict.fromkeys(("p50", "p95", "p99", "max"), math.nan)
    ends = np.quantile(took_ms, (0.5, 0.95, 0.99, 1), method="inverted_cdf").round(3).tolist()
    return dict(zip(("p50", "p95", "p99", "max"), ends, strict=True))


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that went wrong, as evidence."""

    at_s: float
    """When its answer came or failed to, since the run began."""
    took_s: float
    status: int
    said: str

    def shown(self, events: Sequence[tuple[float, str]] = ()) -> dict[str, Any]:
        """As JSON, with the last thing that had been done to the server before."""
        shown: dict[str, Any] = {
            "at_s": round(self.at_s, 3),
            "took_ms": round(1000 * self.took_s, 1),
            "status": {NO_ANSWER: "no answer", WRONG: "wrong answer"}.get(self.status, self.status),
            "said": self.said,
        }
        before = [event for event in events if event[0] <= self.at_s]
        if before:
            at_s, what = before[-1]
            shown |= {"after": what, "after_s": round(self.at_s - at_s, 3)}
        return shown


@dataclass(slots=True)
class Tally:
    """What one phase of load came to. Latencies are kept one by one: percentiles are exact."""

    expected: frozenset[int] = frozenset({200})
    """Statuses that are no failure."""
    began_s: float = field(default_factory=time.perf_counter)
    """The zero of all times of a run, as `time.perf_counter` tells it."""
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    took_s: dict[int, array[float]] = field(default_factory=dict)
    """By status, in the order in which answers came,"""
    came_s: dict[int, array[float]] = field(default_factory=dict)
    """and when each of those came."""
    failures: list[Failure] = field(default_factory=list)
    late_s: array[float] = field(default_factory=lambda: array("d"))
    """How much later than due requests of an open loop were sent."""

    def note(self, status: int, took_s: float, said: str = "") -> None:
        """Account for one request that was sent."""
        self.statuses[status] += 1
        at_s = time.perf_counter() - self.began_s
        self.took_s.setdefault(status, array("d")).append(took_s)
        self.came_s.setdefault(status, array("d")).append(at_s)
        if status not in self.expected and self.statuses[status] <= _KEPT_FAILURES:
            self.failures.append(Failure(at_s, took_s, status, said[:_SHOWN_CHARACTERS]))

    @property
    def failed(self) -> int:
        """Requests that were not answered as they should be, or not at all."""
        noted = sum(count for each, count in self.statuses.items() if each not in self.expected)
        return noted + self.unaccounted

    @property
    def unaccounted(self) -> int:
        """Requests sent of which nothing was noted: none, once all loops have ended."""
        return self.sent - self.statuses.total()

    def latency_ms(self, *statuses: int) -> dict[str, float]:
        """Percentiles of the latencies of some statuses; 200 where none is named."""
        return percentiles_ms(
            took for each in statuses or (200,) for took in self.took_s.get(each, ())
        )

    def since_event_ms(self, events: Sequence[tuple[float, str]]) -> list[dict[str, float]]:
        """Latencies of 200s by whole seconds from the last event before they were asked."""
        times = [at_s for at_s, _ in events]
        by_second: dict[int, list[float]] = {}
        for came_s, took_s in zip(self.came_s.get(200, ()), self.took_s.get(200, ()), strict=True):
            before = bisect.bisect(times, came_s - took_s) - 1
            if before >= 0:
                by_second.setdefault(int(came_s - took_s - times[before]), []).append(took_s)
        return [
            {
                "second": second,
                "requests": len(took),
                **{f"{p}_ms": round(percentiles_ms(took)[p], 1) for p in ("p50", "max")},
            }
            for second, took in sorted(by_second.items())
        ]

    def shown(self, events: Sequence[tuple[float, str]] = ()) -> dict[str, Any]:
        """As JSON."""
        names = {NO_ANSWER: "no_answer", WRONG: "wrong"}
        shown = {
            "requests": self.sent,
            "answers": {names.get(each, str(each)): n for each, n in sorted(self.statuses.items())},
            "failed": self.failed,
            "latency_ms": self.latency_ms(),
            "failures": [failure.shown(events) for failure in self.failures],
        }
        if self.late_s:
            shown["sent_late_p99_ms"] = percentiles_ms(self.late_s)["p99"]
        return shown
