"""Calls that may hang: bounded, shared, and never waited for longer than somebody wants to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from isogloss.prompts.errors import StoreError
from isogloss.serving.registry.loader import Recent
from isogloss.serving.registry.store_calls import StoreCalls, StoreSilent


class Hanging:
    """Functions that return their name once the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered: list[str] = []
        self._entering = threading.Condition()

    def __call__(self, name: str) -> Callable[[], str]:
        def function() -> str:
            with self._entering:
                self.entered.append(name)
                self._entering.notify_all()
            assert self.gate.wait(60)
            return name

        return function

    def wait_for(self, calls: int) -> None:
        with self._entering:
            assert self._entering.wait_for(lambda: len(self.entered) >= calls, 60)


def run(scenario: Callable[[Hanging], Awaitable[None]]) -> None:
    async def bounded() -> None:
        hanging = Hanging()
        try:
            async with asyncio.timeout(60):
                await scenario(hanging)
        finally:
            hanging.gate.set()

    asyncio.run(bounded())


async def hold(calls: StoreCalls, hanging: Hanging, *names: str) -> list[asyncio.Task[str]]:
    """Ask for each name, and let the tasks begin."""
    tasks = [asyncio.create_task(calls.call(each, hanging(each), None)) for each in names]
    await asyncio.sleep(0)
    return tasks


def test_equal_calls_are_made_once() -> None:
    async def scenario(hanging: Hanging) -> None:
        calls = StoreCalls("test")
        tasks = await hold(calls, hanging, *["same"] * 10)
        hanging.gate.set()
        assert await asyncio.gather(*tasks) == ["same"] * 10
        assert hanging.entered == ["same"]
        assert await calls.call("same", hanging("same"), None) == "same"  # and then anew
        assert hanging.entered == ["same"] * 2

    run(scenario)


def test_nobody_waits_longer_than_they_want_to_nor_ends_it_for_others() -> None:
    async def scenario(hanging: Hanging) -> None:
        calls = StoreCalls("test")
        (patient,) = await hold(calls, hanging, "slow")
        with pytest.raises(StoreSilent, match=r"has not answered within 0\.0 s"):
            await calls.call("slow", hanging("slow"), 0.001)
        gone = asyncio.create_task(calls.call("slow", hanging("slow"), None))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        hanging.gate.set()
        assert await patient == "slow"

    run(scenario)


def test_few_threads_hang_and_few_calls_wait() -> None:
    async def scenario(hanging: Hanging) -> None:
        calls = StoreCalls("hangs", most_threads=2, most_calls=5)
        tasks = await hold(calls, hanging, *"abcde")
        with pytest.raises(StoreSilent, match="has not answered 5 earlier questions"):
            await calls.call("f", hanging("f"), None)
        hanging.wait_for(2)
        assert [t.name for t in threading.enumerate()].count("hangs") == 2
        assert all(t.daemon for t in threading.enumerate() if t.name == "hangs")
        hanging.gate.set()
        assert await asyncio.gather(*tasks) == list("abcde")
        assert await calls.call("f", hanging("f"), None) == "f"

    run(scenario)


def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    async def scenario(hanging: Hanging) -> None:
        calls = StoreCalls("test", most_threads=1, most_calls=2)
        (first,) = await hold(calls, hanging, "first")
        for _ in range(3):  # each would be one too many if those before still waited
            with pytest.raises(StoreSilent):
                await calls.call("dropped", hanging("dropped"), 0.001)
        hanging.gate.set()
        assert await first == "first"
        assert await calls.call("last", hanging("last"), None) == "last"
        assert hanging.entered == ["first", "last"]

    run(scenario)


def test_a_failure_is_told_and_not_kept() -> None:
    async def scenario(hanging: Hanging) -> None:
        calls, failures = StoreCalls("test"), [StoreError("away"), TimeoutError("its own")]

        def fail() -> str:
            if failures:
                raise failures.pop()
            return "back"

        with pytest.raises(TimeoutError, match="its own"):
            await calls.call("same", fail, 60)
        with pytest.raises(StoreError, match="away"):
            await calls.call("same", fail, 60)
        assert await calls.call("same", fail, 60) == "back"

    run(scenario)


def test_threads_end_with_their_work() -> None:
    async def scenario(hanging: Hanging) -> None:
        calls = StoreCalls("short-lived")
        hanging.gate.set()
        for name in "abc":
            await calls.call(name, hanging(name), None)
        while any(t.name == "short-lived" for t in threading.enumerate()):
            await asyncio.sleep(0)

    run(scenario)


def test_the_last_few_are_kept() -> None:
    recent: Recent[int] = Recent(2)
    recent.put("a", 1, 0)
    recent.put("b", 2, 0)
    assert recent.get("a") == 1
    recent.put("c", 3, 0)  # b was asked for longest ago
    assert [recent.get(name) for name in "abc"] == [1, None, 3]


def test_what_was_begun_before_all_was_cleared_does_not_come_back() -> None:
    recent: Recent[int] = Recent(2)
    before = recent.cleared
    recent.put("a", 1, before)
    recent.clear()
    recent.put("b", 2, before)
    assert [recent.get(name) for name in "ab"] == [None, None]
    recent.put("b", 2, recent.cleared)
    assert recent.get("b") == 2
