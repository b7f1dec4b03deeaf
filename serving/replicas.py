"""Who serves which generation: what replicas report, and who lags behind.

Imports nothing heavy: the process that holds the board needs no model.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from prometheus_client.metrics_core import Metric

from serving.trials.tally import TrialTally

if TYPE_CHECKING:
    from serving.live import LiveBank
    from serving.metrics import ServingMetrics

REPORT_INTERVAL_S = 1.0
"""A replica reports on every change, and at least this often."""
REPORT_EXPIRES_S = 5.0
"""A replica that has not reported for this long is taken for dead."""


@dataclass(frozen=True)
class ReplicaReport:
    """What one replica of one model says about itself."""

    replica: str
    model: str
    generation: int
    problem: str | None
    """Why it does not serve the store's newest generation, where it cannot."""
    metrics: Sequence[Metric] = ()
    trials: Sequence[TrialTally] = ()
    counted: bool = True
    """Whether it holds `metrics` and `trials`; if not, those of the report before still count:
    to collect them takes longer than to swap a prompt."""


class Board(Protocol):
    """Where replicas report; calls may block for a moment: keep them off the event loop."""

    def report(self, report: ReplicaReport) -> None:
        """Put a replica's newest report up."""

    def leave(self, replica: str) -> None:
        """Take down a replica that stops."""

    def reports(self) -> list[ReplicaReport]:
        """The newest report of every replica that is alive."""

    def wait_for(self, generation: int, timeout_s: float) -> list[str]:
        """Wait until every replica serves a generation, or the time is over: who does not."""


class LocalBoard:
    """The board itself. In one process it is used as it is; across processes inside an actor."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()  # guards what follows
        self._newest: dict[str, tuple[float, ReplicaReport]] = {}

    def report(self, report: ReplicaReport) -> None:
        """Put a replica's newest report up."""
        with self._changed:
            if not report.counted and (before := self._newest.get(report.replica)):
                report = replace(report, metrics=before[1].metrics, trials=before[1].trials)
            self._newest[report.replica] = (self._clock(), report)
            self._changed.notify_all()

    def leave(self, replica: str) -> None:
        """Take down a replica that stops."""
        with self._changed:
            self._newest.pop(replica, None)
            self._changed.notify_all()

    def reports(self) -> list[ReplicaReport]:
        """The newest report of every replica that is alive, by name."""
        with self._changed:
            return self._alive()

    def wait_for(self, generation: int, timeout_s: float) -> list[str]:
        """Wait until every replica serves a generation, or the time is over: who does not."""
        with self._changed:
            self._changed.wait_for(lambda: not lagging(self._alive(), generation), timeout_s)
            return lagging(self._alive(), generation)

    def _alive(self) -> list[ReplicaReport]:
        oldest_s = self._clock() - REPORT_EXPIRES_S
        self._newest = {name: put for name, put in self._newest.items() if put[0] >= oldest_s}
        return [self._newest[name][1] for name in sorted(self._newest)]


def lagging(reports: Sequence[ReplicaReport], generation: int) -> list[str]:
    """Describe each replica that does not serve `generation` or a newer one yet."""
    return [
        f"replica {report.replica} of {report.model} serves generation {report.generation}"
        + (f" ({report.problem})" if report.problem else "")
        for report in reports
        if report.generation < generation
    ]


class Lookout:
    """Keeps one replica's bank as new as the store, and its report on the board."""

    def __init__(
        self, replica: str, model: str, live: LiveBank, metrics: ServingMetrics, board: Board
    ) -> None:
        self.replica = replica
        self.model = model
        self.board = board
        self._live = live
        self._metrics = metrics
        self._lock = threading.Lock()
        self._reported: tuple[int, str | None] | None = None
        self._counted_s = -math.inf

    def join(self) -> None:
        """Appear on the board, then catch up: to be called before there are requests.

        In this order either a publisher finds the replica on the board and waits for it, or the
        replica finds what was published.
        """
        self.beat()
        self.look()

    def look(self) -> None:
        """Take the store's newest generation, and report it or, now and then, being alive."""
        self._live.refresh()
        self.beat()

    def beat(self) -> None:
        """Report news, or being alive; on its own where the store may keep `look` waiting."""
        with self._lock:
            due = time.monotonic() - self._counted_s >= REPORT_INTERVAL_S
            if due or self._reported != self._state():
                report = self.report() if due else self._news()
                self.board.report(report)
                self._reported = (report.generation, report.problem)
                if due:
                    self._counted_s = time.monotonic()

    def report(self) -> ReplicaReport:
        """What this replica says about itself now."""
        metrics, trials = self._metrics.snapshot(), self._metrics.trials.snapshot()
        return replace(self._news(), metrics=metrics, trials=trials, counted=True)

    def _news(self) -> ReplicaReport:
        generation, problem = self._state()
        return ReplicaReport(self.replica, self.model, generation, problem, counted=False)

    def _state(self) -> tuple[int, str | None]:
        return self._live.generation, self._live.problem
