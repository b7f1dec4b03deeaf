"""Dynamic batching: many callers, one worker thread.

The event loop only schedules. A batch runs in the single worker thread while the next one fills;
every caller of a batch gets its result or an error, and a row that fails does not fail the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from prompts.errors import IsoglossError, Unavailable
from serving.isolation import BatchFailed, Outcome, is_out_of_memory, run_isolating
from serving.logs import current_request_id
from serving.queueing import BatchQueue, Entry

logger = logging.getLogger(__name__)

Work = TypeVar("Work")
Done = TypeVar("Done")

_SHOWN_REQUESTS = 8


@dataclass
class Ticket(Generic[Done]):
    """One request's place in line: its results as they come in, and the caller waiting for them."""

    results: list[Done | None]
    done: asyncio.Future[list[Done | None]]
    request_id: str = ""
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = len(self.results)

    def fulfil(self, place: int, result: Done | IsoglossError) -> None:
        """Take one result; the last one, or the first error, wakes the caller."""
        if isinstance(result, IsoglossError):
            self.fail(result)
            return
        self.results[place] = result
        self.missing -= 1
        if self.missing == 0 and not self.done.done():
            self.done.set_result(self.results)

    def fail(self, error: BaseException) -> None:
        """Wake the caller with an error, once."""
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(frozen=True)
class Row(Generic[Work, Done]):
    """One piece of a request's work."""

    work: Work
    cost: int
    ticket: Ticket[Done]
    place: int

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for this row: its caller left or was told of an error."""
        return self.ticket.done.done()


@dataclass(frozen=True)
class BatchStats:
    """What one batch was like, for the metrics."""

    rows: int
    cost: int
    queued_s: float
    """How long its longest waiting row had waited."""
    running_s: float
    failed_runs: int = 0
    """Runs of it, or of parts of it, that failed."""
    out_of_memory: int = 0
    """How many of those failed for want of memory."""


class Batcher(Generic[Work, Done]):
    """Runs `run` over batches of rows from all callers, one batch at a time.

    `run` answers every row with its result, or with the error that concerns that row alone.
    `free_memory` is called before rows that memory did not suffice for are run in smaller batches.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Work]], Sequence[Done | IsoglossError]],
        queue: BatchQueue[Row[Work, Done]],
        *,
        clock: Callable[[], float] = time.perf_counter,
        name: str = "isogloss-batches",
        observe: Callable[[BatchStats], None] = lambda stats: None,
        free_memory: Callable[[], None] = lambda: None,
    ) -> None:
        self._run_rows = partial(run_isolating, run, free_memory=free_memory)
        self._queue = queue
        self._clock = clock
        self._observe = observe
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._changed = asyncio.Event()
        self._coming = 0
        self._loop: asyncio.Task[None] | None = None

    @contextmanager
    def expect(self) -> Iterator[None]:
        """While open, a request is on its way: a batch may wait the deadline for it."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1
            self._changed.set()

    async def submit(self, work: Sequence[tuple[Work, int]], client: str = "") -> list[Done]:
        """Run each piece of work, given with its cost, in order; clients take turns.

        Cancelling it drops what has not been run yet.

        Raises:
            IsoglossError: what the first piece that failed did so with.
        """
        self._start()
        future = asyncio.get_running_loop().create_future()
        ticket: Ticket[Done] = Ticket([None] * len(work), future, current_request_id())
        rows = [Row(each, cost, ticket, place) for place, (each, cost) in enumerate(work)]
        self._queue.add(rows, self._clock(), client)
        self._changed.set()
        return [result for result in await future if result is not None]

    def close(self) -> None:
        """Stop, telling those who wait. Idempotent."""
        if self._loop is not None:
            self._loop.cancel()
            self._loop = None
        while waiting := self._queue.take():
            for entry in waiting:
                entry.item.ticket.fail(_stopping())
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        """Start with the first request: only then is there a loop to run on."""
        if self._loop is None or self._loop.done():
            self._loop = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._until_due()
            if batch := self._queue.take():
                await self._run_batch(batch)

    async def _until_due(self) -> None:
        while True:
            self._changed.clear()
            due_s = self._queue.due_s(self._coming)
            wait_s = None if due_s is None else due_s - self._clock()
            if wait_s is not None and wait_s <= 0:
                return
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _run_batch(self, batch: Sequence[Entry[Row[Work, Done]]]) -> None:
        rows = [entry.item for entry in batch]
        started_s = self._clock()
        try:
            outcome = await asyncio.get_running_loop().run_in_executor(
                self._worker, self._run_rows, [row.work for row in rows]
            )
        except BaseException as error:  # cancelled, or the executor is gone: nobody is left waiting
            for row in rows:
                row.ticket.fail(_stopping())
            if isinstance(error, RuntimeError):
                return
            raise
        for row, result in zip(rows, outcome.results, strict=True):
            row.ticket.fulfil(row.place, result)
        finished_s = self._clock()
        _log_failures(rows, outcome)
        self._adapt(rows, outcome)
        self._observe(
            BatchStats(
                rows=len(rows),
                cost=sum(row.cost for row in rows),
                queued_s=started_s - min(entry.arrived_s for entry in batch),
                running_s=finished_s - started_s,
                failed_runs=len(outcome.failures),
                out_of_memory=sum(map(is_out_of_memory, outcome.failures)),
            )
        )

    def _adapt(self, rows: Sequence[Row[Work, Done]], outcome: Outcome[Done]) -> None:
        """Make the next batches small enough for the memory, and larger again bit by bit."""
        if outcome.too_many_rows is None:
            self._queue.recover()
        else:
            cost = sum(row.cost for row in rows)
            self._queue.shrink(cost * outcome.too_many_rows // len(rows))


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping; try another one")


def _log_failures(rows: Sequence[Row[Work, Done]], outcome: Outcome[Done]) -> None:
    """Say once what went wrong, and which requests were told of it."""
    if not outcome.failures:
        return
    hit = [
        row.ticket.request_id
        for row, result in zip(rows, outcome.results, strict=True)
        if isinstance(result, IsoglossError)
    ]
    logger.error(
        "%d runs of a batch of %d rows failed; %d rows were told so; requests: %s",
        len(outcome.failures),
        len(rows),
        len(hit),
        ", ".join(sorted({each for each in hit if each})[:_SHOWN_REQUESTS]) or "none",
        exc_info=outcome.failures[-1],
    )


__all__ = ["BatchFailed", "BatchStats", "Batcher", "Row", "Ticket"]
