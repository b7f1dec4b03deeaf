"""Work on several things at a time whose results come in the order of the things."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def in_order(
    items: Iterable[Item], work: Callable[[Item, threading.Event], Done], most: int
) -> Iterator[Done]:
    """Yield what work makes of items, in threads; no more items are taken than are worked on.

    Where no item can be had, what is made of those before comes first. Work is handed an event that
    is set once nobody waits for it any more: it waits on that, and gives up.
    """
    over = threading.Event()
    waiting: deque[Future[Done]] = deque()
    pool = ThreadPoolExecutor(most, "isogloss-client")
    try:
        for item in _with_fault(items):
            if isinstance(item, _Fault):
                waiting.append(_failed(Future(), item.error))
                break
            waiting.append(pool.submit(work, item, over))
            if len(waiting) == most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        over.set()
        pool.shutdown(wait=False, cancel_futures=True)


async def in_order_async(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Done]], most: int
) -> AsyncGenerator[Done, None]:
    """Yield what work makes of items; as `in_order`, without threads."""
    waiting: deque[asyncio.Future[Done]] = deque()
    try:
        for item in _with_fault(items):
            if isinstance(item, _Fault):
                waiting.append(_failed(asyncio.get_running_loop().create_future(), item.error))
                break
            waiting.append(asyncio.ensure_future(work(item)))
            if len(waiting) == most:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why there are no more items."""

    error: Exception


def _with_fault(items: Iterable[Item]) -> Iterator[Item | _Fault]:
    try:
        yield from items
    except Exception as error:
        yield _Fault(error)


_SomeFuture = TypeVar("_SomeFuture", Future[Any], asyncio.Future[Any])


def _failed(future: _SomeFuture, error: Exception) -> _SomeFuture:
    future.set_exception(error)
    return future
