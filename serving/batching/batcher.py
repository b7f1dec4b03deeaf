"""Dynamic batching: many callers on an event loop, one worker thread.

A batch runs in the worker thread while the next one fills; every caller of a batch gets its result
or an error, and a row that fails does not fail the others.

A process has one model's two batchers (planning, scoring) and no other model's: models share cores
by the threads that each replica's matrix products may use (`serving.ray.app` divides them evenly),
and never a worker or a queue.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from isogloss.prompts.errors import IsoglossError, Unavailable
from isogloss.serving.batching.isolation import Outcome, Run, is_out_of_memory, isolate
from isogloss.serving.batching.queueing import BatchQueue

logger = logging.getLogger(__name__)

Work = TypeVar("Work")
Done = TypeVar("Done")
Result = TypeVar("Result")

_SHOWN_REQUESTS = 8


@dataclass(slots=True, eq=False)
class Row(Generic[Work, Done]):
    """One piece of a request's work, from the queue to its result."""

    work: Work
    cost: int
    flow: str
    """The line of its client in which it waits."""
    done: asyncio.Future[Done]
    """For the request, which waits for the results of all its rows."""
    request_id: str
    arrived_s: float = 0.0
    waits: bool = False

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for this row: its caller left or was told of an error."""
        return self.done.done()

    def answer(self, result: Done | IsoglossError) -> None:
        """Give the request this row's result or error, if it still waits for one."""
        if self.done.done():
            return
        if isinstance(result, IsoglossError):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


@dataclass(frozen=True)
class BatchStats(Generic[Work]):
    """What one batch was like, for the metrics."""

    work: Sequence[Work]
    cost: int
    queued_s: float
    """How long its longest waiting row had waited."""
    running_s: float
    failures: Sequence[BaseException] = ()
    """One for each run of it, or of parts of it, that failed."""

    @property
    def rows(self) -> int:
        """How many pieces of work it had."""
        return len(self.work)

    @property
    def failed_runs(self) -> int:
        """How many runs failed."""
        return len(self.failures)

    @property
    def out_of_memory(self) -> int:
        """How many of those failed for want of memory."""
        return sum(map(is_out_of_memory, self.failures))


def run_isolating(
    run: Run[Work, Done],
    rows: Sequence[Work],
    free_memory: Callable[[], None] = lambda: None,
) -> Outcome[Done]:
    """Run the rows together; where that fails, find out which of them can be answered.

    Args:
        run: answers every row with its result, or with the error that concerns it alone.
        rows: of one batch.
        free_memory: called before rows that memory did not suffice for are run again.
    """
    try:
        return Outcome([result for _, result in zip(rows, run(rows), strict=True)])
    # A panic of a library written in Rust is no Exception, and its rows want an answer too.
    except BaseException as error:
        return isolate(run, rows, error, free_memory)


class Batcher(Generic[Work, Done]):
    """Runs `run` over batches of rows from all callers, one batch at a time.

    The worker thread cuts its next batch itself as soon as it is free; answers are handed out on
    the event loop meanwhile. Where the queue is never empty, nothing but taking a lock stands
    between two batches.

    `run` answers every row with its result, or with the error that concerns that row alone.
    `flow_of` names the line of its client in which a row waits. `free_memory` is called before rows
    that memory did not suffice for are run in smaller batches.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Work]], Sequence[Done | IsoglossError]],
        queue: BatchQueue[Row[Work, Done]],
        *,
        clock: Callable[[], float] = time.perf_counter,
        name: str = "isogloss-batches",
        flow_of: Callable[[Work], str] = lambda work: "",
        observe: Callable[[BatchStats[Work]], None] = lambda stats: None,
        free_memory: Callable[[], None] = lambda: None,
    ) -> None:
        self._run_rows = partial(run_isolating, run, free_memory=free_memory)
        self._queue = queue
        self._clock = clock
        self._flow_of = flow_of
        self._observe = observe
        self._name = name
        self._changed = threading.Condition()  # guards all below, and the queue
        self._coming = 0
        self._closed = False
        self._running: Sequence[Row[Work, Done]] = ()
        self._errands: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._worker: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def expect(self) -> Iterator[None]:
        """While open, a request is on its way: a batch may wait the deadline for it."""
        with self._changed:
            self._coming += 1
        try:
            yield
        finally:
            with self._changed:
                self._coming -= 1
                if len(self._queue):  # else there is nothing to wake the worker for
                    self._changed.notify()

    async def submit(
        self, work: Sequence[tuple[Work, int]], client: str = "", request_id: str = ""
    ) -> list[Done]:
        """Run each piece of work, given with its cost, in order; clients take turns.

        Cancelling it drops what has not been run yet.

        Raises:
            IsoglossError: what the first piece that failed did so with.
        """
        loop = asyncio.get_running_loop()
        rows: list[Row[Work, Done]] = [
            Row(each, cost, self._flow_of(each), loop.create_future(), request_id)
            for each, cost in work
        ]
        with self._changed:
            self._start()
            self._loop = loop
            self._queue.add(rows, self._clock(), client)
            self._changed.notify()
        try:
            if len(rows) == 1:  # as quick as a future is
                return [await rows[0].done]
            return await asyncio.gather(*(row.done for row in rows))
        finally:  # after an error nobody waits for the others
            for row in rows:
                row.done.cancel()

    def run_here(self, work: Work, cost: int, request_id: str = "") -> Done:
        """Run one piece of work in the calling thread: for a lone one that is over in no time.

        Raises:
            IsoglossError: what it failed with.
        """
        started_s = self._clock()
        outcome = self._run_rows([work])
        self._observe(BatchStats([work], cost, 0.0, self._clock() - started_s, outcome.failures))
        _log_failures([request_id], outcome)
        (result,) = outcome.results
        if isinstance(result, IsoglossError):
            raise result
        return result

    def call(self, function: Callable[[], Result]) -> Result:
        """Run something in the worker thread between two batches, and wait for it.

        What is to make batches quick must happen in their thread: OpenMP gives every thread that
        computes helpers of its own, and once there are more of them than cores, all of them go to
        sleep after every operation (2.4 ms instead of 5.8 for a text on two cores).
        """
        answer: Future[Result] = Future()
        with self._changed:
            self._start()
            self._errands.append((answer, function))
            self._changed.notify()
        return answer.result()

    def close(self) -> None:
        """Stop, telling those who wait. Idempotent; to be called on their event loop."""
        with self._changed:
            self._closed = True
            waiting = list(self._running)
            while batch := self._queue.take():
                waiting += batch
            errands = list(self._errands)
            self._errands.clear()
            self._changed.notify()
        for row in waiting:
            row.answer(_stopping())
        for answer, _ in errands:
            answer.set_exception(_stopping())

    def _start(self) -> None:
        """Start with the first work."""
        if self._closed:
            raise _stopping()
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._worker.start()

    def _work(self) -> None:
        while self._wait():
            self._run_errand()
            self._run_next()

    def _run_errand(self) -> None:
        """Do the next errand if there is one; nothing of it is kept afterwards."""
        with self._changed:
            errand = self._errands.popleft() if self._errands else None
        if errand is not None:
            _fulfil(*errand)

    def _run_next(self) -> None:
        """Run a batch if one is due; nothing of it, such as its prompts, is kept afterwards."""
        if batch := self._take():
            started_s = self._clock()
            outcome = self._run_rows([row.work for row in batch])
            self._hand_out(batch, outcome, started_s, self._clock())
            with self._changed:
                self._running = ()

    def _wait(self) -> bool:
        """Until there is something to do; False once closed."""
        with self._changed:
            while not self._closed and not self._errands:
                due_s = self._queue.due_s(self._coming)
                wait_s = None if due_s is None else due_s - self._clock()
                if wait_s is not None and wait_s <= 0:
                    break
                self._changed.wait(wait_s)
            return not self._closed

    def _take(self) -> Sequence[Row[Work, Done]]:
        """Cut a batch if one is due."""
        with self._changed:
            due = () if self._closed else self._queue.take_due(self._clock(), self._coming)
            self._running = due
            return self._running

    def _hand_out(
        self,
        batch: Sequence[Row[Work, Done]],
        outcome: Outcome[Done],
        started_s: float,
        finished_s: float,
    ) -> None:
        """Have the event loop tell the callers, and go on."""
        cost = sum(row.cost for row in batch)
        with self._changed:
            self._adapt(len(batch), cost, outcome)
            loop = self._loop
        queued_s = started_s - min(row.arrived_s for row in batch)
        work, running_s = [row.work for row in batch], finished_s - started_s
        stats = BatchStats(work, cost, queued_s, running_s, outcome.failures)
        assert loop is not None
        # A closed loop has nobody left to tell.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._tell, batch, outcome, stats)

    def _tell(
        self, rows: Sequence[Row[Work, Done]], outcome: Outcome[Done], stats: BatchStats[Work]
    ) -> None:
        for row, result in zip(rows, outcome.results, strict=True):
            row.answer(result)
        _log_failures([row.request_id for row in rows], outcome)
        self._observe(stats)

    def _adapt(self, rows: int, cost: int, outcome: Outcome[Done]) -> None:
        """Make the next batches small enough for the memory, and larger again bit by bit."""
        if outcome.too_many_rows is None:
            self._queue.recover()
        else:
            self._queue.shrink(cost * outcome.too_many_rows // rows)


def _fulfil(answer: Future[Result], function: Callable[[], Result]) -> None:
    try:
        answer.set_result(function())
    except BaseException as error:  # whoever waits must be told, whatever it is
        answer.set_exception(error)


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping; try another one")


def _log_failures(request_ids: Sequence[str], outcome: Outcome[Done]) -> None:
    """Say once what went wrong, and which requests (one of each row) were told of it."""
    if not outcome.failures:
        return
    hit = [
        request_id
        for request_id, result in zip(request_ids, outcome.results, strict=True)
        if isinstance(result, IsoglossError)
    ]
    logger.error(
        "%d runs of a batch of %d rows failed; %d rows were told so; requests: %s",
        len(outcome.failures),
        len(request_ids),
        len(hit),
        ", ".join(sorted({each for each in hit if each})[:_SHOWN_REQUESTS]) or "none",
        exc_info=outcome.failures[-1],
    )
