"""Simulated time, and what works in it: one thing at a time, disturbed by a neighbour."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from functools import partial


class Clock:
    """Simulated time, and what is to happen."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when_s: float, happens: Callable[[], None]) -> None:
        """Have something happen; of two at the same time, the one that was asked for first."""
        heapq.heappush(self._events, (when_s, next(self._order), happens))

    def run(self) -> None:
        """Let everything happen, in order."""
        while self._events:
            self.now_s, _, happens = heapq.heappop(self._events)
            happens()


class Station:
    """Works on one thing at a time, more slowly while its neighbour works too."""

    def __init__(self, clock: Clock, contention: float) -> None:
        self.neighbour = self
        """Another one, once it is known."""
        self.busy = False
        self.began_s = 0.0
        self._clock, self._slower = clock, 1 + contention
        self._then: Callable[[], None] = lambda: None
        self._left_s = self._since_s = 0.0  # of the work, as of then
        self._pace = 1.0  # seconds for one of work
        self._plan = 0  # of several planned ends the last one holds

    def start(self, seconds: float, then: Callable[[], None]) -> None:
        """Work for so long if undisturbed; then something happens."""
        self.busy, self._left_s, self._then = True, seconds, then
        self.began_s = self._since_s = self._clock.now_s
        self._go_on()
        self.neighbour.notice()

    def notice(self) -> None:
        """The neighbour began, or ended."""
        if self.busy and self._slower > 1:
            self._left_s -= (self._clock.now_s - self._since_s) / self._pace
            self._since_s = self._clock.now_s
            self._go_on()

    def _go_on(self) -> None:
        self._plan += 1
        self._pace = self._slower if self.neighbour.busy and self.neighbour is not self else 1.0
        ends_s = self._since_s + max(0.0, self._left_s) * self._pace
        self._clock.at(ends_s, partial(self._end, self._plan))

    def _end(self, plan: int) -> None:
        if plan == self._plan:
            self.busy = False
            self.neighbour.notice()
            self._then()
