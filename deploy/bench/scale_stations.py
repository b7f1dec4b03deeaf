"""Simulated time, and the two that work in it: a replica's Python, and the model beside it."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from functools import partial

Then = Callable[[], None]


class Clock:
    """Simulated time, and what is to happen."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Then]] = []
        self._order = itertools.count()

    def at(self, when_s: float, happens: Then) -> None:
        """Have something happen; of two at the same time, the one that was asked for first."""
        heapq.heappush(self._events, (when_s, next(self._order), happens))

    def run(self) -> None:
        """Let everything happen, in order."""
        while self._events:
            self.now_s, _, happens = heapq.heappop(self._events)
            happens()


class Worker:
    """Works on one batch at a time, and stands still while it is held."""

    def __init__(self, clock: Clock) -> None:
        self.busy = False
        self.began_s = 0.0
        self._clock = clock
        self._held = False
        self._then: Then = lambda: None
        self._left_s = self._since_s = 0.0  # of the work, as of then
        self._plan = 0  # of several planned ends the last one holds

    def start(self, seconds: float, then: Then) -> None:
        """Work for so long, not counting how long it is held; then something happens."""
        self.busy, self._left_s, self._then = True, seconds, then
        self.began_s = self._clock.now_s
        if not self._held:
            self._go_on()

    def hold(self) -> None:
        """Stand still from now on."""
        self._held = True
        self._plan += 1
        self._left_s -= self._clock.now_s - self._since_s

    def release(self) -> None:
        """Go on, if there is something to do."""
        self._held = False
        if self.busy:
            self._go_on()

    def _go_on(self) -> None:
        self._plan += 1
        self._since_s = self._clock.now_s
        self._clock.at(self._since_s + max(0.0, self._left_s), partial(self._end, self._plan))

    def _end(self, plan: int) -> None:
        if plan == self._plan:
            self.busy = False
            self._then()


class Loop:
    """A replica's Python: it does one thing after the other, and holds the worker meanwhile.

    It rests while there is nothing to do. To wake takes time: a thread must get a core and the
    interpreter again, and finds its caches cold.
    """

    def __init__(self, clock: Clock, wake_s: float, worker: Worker) -> None:
        self.busy_s = 0.0
        """In all."""
        self._clock, self._wake_s, self._worker = clock, wake_s, worker
        self._steps: deque[tuple[float, Then]] = deque()
        self._resting = True

    def do(self, seconds: float, then: Then) -> None:
        """Do something that takes so long after all that it was asked for; then it is done."""
        self._steps.append((seconds, then))
        if self._resting:
            self._resting = False
            self._worker.hold()
            self._next(self._wake_s)

    def _next(self, wake_s: float = 0.0) -> None:
        if not self._steps:
            self._resting = True
            self._worker.release()
            return
        seconds, then = self._steps.popleft()
        self.busy_s += wake_s + seconds
        self._clock.at(self._clock.now_s + wake_s + seconds, partial(self._end, then))

    def _end(self, then: Then) -> None:
        then()
        self._next()
