"""Every request accounted for: answered how, after how long, and what was wrong with it."""

from __future__ import annotations

import bisect
import math
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

NO_ANSWER = 0
"""Stands for a status where there is none."""

WRONG = -1
"""Stands for the status of an answer that is not what was asked for."""

_KEPT_FAILURES = 50  # of each status: a flood of one must not hide another
_SHOWN_CHARACTERS = 400


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent do not exceed; not a number of nothing.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.0
    """
    if not ascending:
        return math.nan
    return ascending[max(0, math.ceil(len(ascending) * percent / 100) - 1)]


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
        chosen = statuses or (200,)
        ascending = sorted(took for each in chosen for took in self.took_s.get(each, ()))
        return {
            name: round(1000 * percentile(ascending, percent), 3)
            for name, percent in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100))
        }

    def since_event_ms(self, events: Sequence[tuple[float, str]]) -> list[dict[str, float]]:
        """Latencies of 200s by whole seconds from the last event before they were asked."""
        times = [at_s for at_s, _ in events]
        by_second: dict[int, list[float]] = {}
        for came_s, took_s in zip(self.came_s.get(200, ()), self.took_s.get(200, ()), strict=True):
            place = bisect.bisect(times, came_s - took_s) - 1
            if place >= 0:
                by_second.setdefault(int(came_s - took_s - times[place]), []).append(took_s)
        return [
            {
                "second": second,
                "requests": len(took),
                "p50_ms": round(1000 * percentile(sorted(took), 50), 1),
                "max_ms": round(1000 * max(took), 1),
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
            shown["sent_late_p99_ms"] = round(1000 * percentile(sorted(self.late_s), 99), 3)
        return shown
