"""Who serves which generation: what replicas report, and who lags behind.

Imports nothing heavy: the process that holds the board needs no model.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from prometheus_client.metrics_core import Metric

from isogloss.prompts.store.numbering import GenerationId
from isogloss.serving.telemetry.tally import TrialTally

if TYPE_CHECKING:
    from isogloss.serving.registry.registry import Registry
    from isogloss.serving.telemetry.metrics import ServingMetrics

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
    """Why it does not serve the store's newest generation, or what is wrong with the store."""
    metrics: Sequence[Metric] = ()
    trials: Sequence[TrialTally] = ()
    counted: bool = True
    """Whether it holds `metrics` and `trials`; if not, those of the report before still count:
    to collect them takes longer than to swap a prompt."""
    digest: str = ""
    """Of the generation's manifest."""

    @property
    def serves(self) -> GenerationId:
        """The generation."""
        return GenerationId(self.generation, self.digest)

    def __str__(self) -> str:
        problem = f" ({self.problem})" if self.problem else ""
        return f"replica {self.replica} of {self.model} serves {self.serves}{problem}"


@dataclass(frozen=True)
class Wanted:
    """A generation that every replica is to serve, or a later one of the same history.

    A higher number alone does not tell that: a replica may have it of before the store was
    restored. Only the store knows, so whoever waits looks it up there and says so here.
    """

    generation: GenerationId
    later: frozenset[GenerationId] = frozenset()
    strangers: frozenset[GenerationId] = frozenset()
    """Generations with higher numbers that are not later ones of this history."""

    def behind(self, reports: Iterable[ReplicaReport]) -> list[ReplicaReport]:
        """Those that do not serve it, as far as is known."""
        return [each for each in reports if each.serves not in {self.generation, *self.later}]

    def unknown(self, reports: Iterable[ReplicaReport]) -> frozenset[GenerationId]:
        """Generations with higher numbers that nobody has looked up yet."""
        higher = {each.serves for each in reports if each.generation > self.generation.number}
        return frozenset(higher - self.later - self.strangers)


class Board(Protocol):
    """Where replicas report; calls may block for a moment: keep them off the event loop."""

    def report(self, report: ReplicaReport) -> None:
        """Put a replica's newest report up."""

    def leave(self, replica: str) -> None:
        """Take down a replica that stops."""

    def reports(self) -> list[ReplicaReport]:
        """The newest report of every replica that is alive."""

    def wait_for(self, wanted: Wanted, timeout_s: float) -> list[ReplicaReport]:
        """Wait until every replica serves a generation, or serves one to be looked up, or the time
        is over: who is behind."""


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

    def wait_for(self, wanted: Wanted, timeout_s: float) -> list[ReplicaReport]:
        """Wait until every replica serves a generation, or serves one to be looked up, or the time
        is over: who is behind."""

        def over() -> bool:
            alive = self._alive()
            return not wanted.behind(alive) or bool(wanted.unknown(alive))

        with self._changed:
            self._changed.wait_for(over, timeout_s)
            return [replace(each, metrics=(), trials=()) for each in wanted.behind(self._alive())]

    def _alive(self) -> list[ReplicaReport]:
        oldest_s = self._clock() - REPORT_EXPIRES_S
        self._newest = {name: put for name, put in self._newest.items() if put[0] >= oldest_s}
        return [self._newest[name][1] for name in sorted(self._newest)]


class Reporter:
    """Keeps one replica's snapshot as new as the store, and its report on the board."""

    def __init__(
        self, replica: str, model: str, live: Registry, metrics: ServingMetrics, board: Board
    ) -> None:
        self.replica = replica
        self.model = model
        self.board = board
        self._live = live
        self._metrics = metrics
        self._lock = threading.Lock()
        self._reported: tuple[GenerationId, str | None] | None = None
        self._counted_s = -math.inf

    def join(self) -> None:
        """Appear on the board, then catch up: to be called before there are requests.

        In this order either a publisher finds the replica on the board and waits for it, or the
        replica finds what was published.
        """
        self.heartbeat()
        self.poll()

    def poll(self) -> None:
        """Take the store's newest generation, and report it or, now and then, being alive."""
        self._live.refresh()
        self.heartbeat()

    def heartbeat(self) -> None:
        """Report news, or being alive; on its own where the store may keep `poll` waiting."""
        with self._lock:
            due = time.monotonic() - self._counted_s >= REPORT_INTERVAL_S
            if due or self._reported != self._state():
                report = self.report() if due else self._news()
                self.board.report(report)
                self._reported = (report.serves, report.problem)
                if due:
                    self._counted_s = time.monotonic()

    def report(self) -> ReplicaReport:
        """What this replica says about itself now."""
        metrics, trials = self._metrics.snapshot(), self._metrics.trials.snapshot()
        return replace(self._news(), metrics=metrics, trials=trials, counted=True)

    def _news(self) -> ReplicaReport:
        (generation, digest), problem = self._state()
        return ReplicaReport(
            self.replica, self.model, generation, problem, counted=False, digest=digest
        )

    def _state(self) -> tuple[GenerationId, str | None]:
        return self._live.identity, self._live.problem
