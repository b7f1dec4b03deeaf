"""Calls of a store that may hang, kept away from whatever must go on meanwhile.

A file system that is away does not answer, and a thread that asks it does not come back. So the
store is never asked on the event loop, in a thread that others need, or for longer than somebody
waits: only here, by a few threads of its own, and by each for one thing once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from isogloss.prompts.errors import Unavailable

Result = TypeVar("Result")

MOST_THREADS = 4
MOST_CALLS = 64
"""Of different things at a time; further ones are refused, for they would wait in vain."""


class StoreSilent(Unavailable):
    """The store has not answered in time."""


@dataclass(eq=False)
class _Call:
    key: Hashable
    function: Callable[[], Any]
    answer: Future[Any]
    waiting: int = 0
    """How many want its answer."""


class StoreCalls:
    """Runs functions that may block for ever, and lets nobody wait longer than they want to.

    Args:
        name: of the threads. There are none while there is nothing to do, and they keep no process
            from ending.
        most_threads: at a time, so many may be stuck.
        most_calls: at a time, running and waiting.
    """

    def __init__(
        self, name: str, most_threads: int = MOST_THREADS, most_calls: int = MOST_CALLS
    ) -> None:
        self._name = name
        self._most_threads = most_threads
        self._most_calls = most_calls
        self._lock = threading.Lock()  # guards what follows
        self._calls: dict[Hashable, _Call] = {}
        self._queue: deque[_Call] = deque()
        self._threads = 0

    async def call(
        self, key: Hashable, function: Callable[[], Result], timeout_s: float | None
    ) -> Result:
        """Run a function in another thread, or wait for the one that runs under the same key.

        One that has been begun goes on when nobody waits for it any more; one that has not is
        dropped.

        Raises:
            StoreSilent: it has not returned in time, or too many others have not.
        """
        call = self._join(key, function)
        answer = asyncio.wrap_future(call.answer)
        answer.add_done_callback(_note_failure)
        timeout = asyncio.timeout(timeout_s)
        try:
            async with timeout:
                return cast(Result, await asyncio.shield(answer))
        except TimeoutError:
            if not timeout.expired():  # the function's own
                raise
            raise _silent(timeout_s or 0.0) from None
        finally:
            self._leave(call)

    def _join(self, key: Hashable, function: Callable[[], Any]) -> _Call:
        with self._lock:
            call = self._calls.get(key)
            if call is None:
                if len(self._calls) >= self._most_calls:
                    raise _crowded(len(self._calls))
                call = self._calls[key] = _Call(key, function, Future())
                self._queue.append(call)
                self._start_thread()
            call.waiting += 1
            return call

    def _leave(self, call: _Call) -> None:
        with self._lock:
            call.waiting -= 1
            if not call.waiting and call in self._queue:
                self._queue.remove(call)
                self._forget(call)

    def _start_thread(self) -> None:
        if self._threads < self._most_threads:
            self._threads += 1
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        """Run what waits, and end: a thread that stays keeps helpers of its own (see `Batcher`)."""
        while (call := self._next()) is not None:
            result, problem = None, None
            try:
                result = call.function()
            except BaseException as error:  # whoever waits must be told, whatever it is
                problem = error
            with self._lock:  # before anybody is told: whoever asks then asks anew
                self._forget(call)
            if problem is None:
                call.answer.set_result(result)
            else:
                call.answer.set_exception(problem)

    def _next(self) -> _Call | None:
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            self._threads -= 1
            return None

    def _forget(self, call: _Call) -> None:
        if self._calls.get(call.key) is call:
            del self._calls[call.key]


def _note_failure(answer: asyncio.Future[Any]) -> None:
    """A failure that nobody waited for is no news: whoever asks next is told."""
    if not answer.cancelled():
        answer.exception()


def _silent(waited_s: float) -> StoreSilent:
    return StoreSilent(
        f"the prompt store has not answered within {waited_s:.1f} s; try again in a moment, and if "
        "it stays so look at its disk or network"
    )


def _crowded(calls: int) -> StoreSilent:
    return StoreSilent(
        f"the prompt store has not answered {calls} earlier questions yet; try again in a moment, "
        "and if it stays so look at its disk or network"
    )
