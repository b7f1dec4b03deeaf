"""Batching: the pure queue by tables, the asyncio part with a gate instead of sleeps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from isogloss.prompts.errors import InvalidInput, IsoglossError, Unavailable
from isogloss.serving.batching.batcher import Batcher, BatchStats
from isogloss.serving.batching.isolation import BatchFailed
from isogloss.serving.batching.queueing import BatchQueue
from tests.serving.batching.waiting import Waiting
from tests.some import some


def names(queue: BatchQueue[Waiting]) -> list[str]:
    return [item.name for item in queue.take()]


@pytest.mark.parametrize(
    ("costs", "batches"),
    [
        ([], [[]]),
        ([3], [["0"]]),
        ([3, 3, 3], [["0", "1", "2"], []]),
        ([5, 5, 1], [["0", "1"], ["2"], []]),
        ([4, 7, 1], [["0"], ["1", "2"], []]),
        ([99, 1], [["0"], ["1"], []]),  # over the budget on its own: a batch of its own
        ([1, 99, 1], [["0"], ["1"], ["2"], []]),
    ],
)
def test_a_batch_is_first_come_first_served_within_the_budget(
    costs: list[int], batches: list[list[str]]
) -> None:
    queue: BatchQueue[Waiting] = BatchQueue(budget=10, deadline_s=1)
    queue.add([Waiting(str(place), cost) for place, cost in enumerate(costs)], now_s=0)
    assert [names(queue) for _ in batches] == batches
    assert queue.cost == 0


def test_callers_who_left_are_skipped_and_cost_nothing() -> None:
    queue: BatchQueue[Waiting] = BatchQueue(budget=10, deadline_s=1)
    items = [Waiting("a", 5), Waiting("gone", 50, abandoned=True), Waiting("b", 5)]
    queue.add(items, now_s=0)
    assert names(queue) == ["a", "b"]
    assert queue.cost == 0


@pytest.mark.parametrize(
    ("costs", "coming", "due_s"),
    [
        ([], 0, None),
        ([], 3, None),
        ([1], 0, 7.0),  # nobody else is on the way: at once
        ([1], 1, 7.5),  # somebody is: wait for them, but only so long
        ([5, 5], 1, 7.0),  # full: at once
    ],
)
def test_when_a_batch_is_due(costs: list[int], coming: int, due_s: float | None) -> None:
    queue: BatchQueue[Waiting] = BatchQueue(budget=10, deadline_s=0.5)
    queue.add([Waiting("", cost) for cost in costs], now_s=7.0)
    assert queue.due_s(coming) == due_s


class Doubler:
    """Doubles numbers, in batches that it remembers; waits while its gate is closed."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.failure: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self._expected = (0, threading.Event())

    def expect_batches(self, count: int) -> threading.Event:
        """Set once so many batches have been run."""
        self._expected = (count, threading.Event())
        return self._expected[1]

    def __call__(self, rows: Sequence[int]) -> list[int | IsoglossError]:
        self.entered.set()
        assert self.gate.wait(10)
        self.batches.append(list(rows))
        if len(self.batches) == self._expected[0]:
            self._expected[1].set()
        if self.failure is not None:
            raise self.failure
        return [InvalidInput(f"{row} is odd") if row % 2 else 2 * row for row in rows]


def batcher(
    double: Doubler, *, budget: int = 100, stats: list[BatchStats[int]] | None = None
) -> Batcher[int, int]:
    return Batcher(
        double,
        BatchQueue(budget, 0.01),
        observe=(stats if stats is not None else []).append,
    )


async def until_entered(double: Doubler) -> None:
    assert await asyncio.to_thread(double.entered.wait, 10)


async def held(
    batches: Batcher[int, int], double: Doubler, cost: int = 1
) -> asyncio.Task[list[int]]:
    """Close the gate and submit a 2, which waits in a batch of its own until the gate is open."""
    double.gate.clear()
    task = asyncio.create_task(batches.submit([(2, cost)]))
    await until_entered(double)
    return task


async def test_concurrent_requests_share_a_batch_and_keep_their_order() -> None:
    double, stats = Doubler(), list[BatchStats[int]]()
    batches = batcher(double, stats=stats)
    first = await held(batches, double)
    others = [asyncio.create_task(batches.submit([(n, 1), (n + 2, 1)])) for n in (4, 8)]
    await asyncio.sleep(0)
    double.gate.set()
    assert await first == [4]
    assert await asyncio.gather(*others) == [[8, 12], [16, 20]]
    assert double.batches == [[2], [4, 6, 8, 10]]
    assert [(each.rows, each.cost) for each in stats] == [(1, 1), (4, 4)]
    batches.close()


async def test_a_request_larger_than_the_budget_is_answered_in_several_batches() -> None:
    double = Doubler()
    batches = batcher(double, budget=4)
    assert await batches.submit([(2 * n, 2) for n in range(5)]) == [0, 4, 8, 12, 16]
    assert double.batches == [[0, 2], [4, 6], [8]]
    batches.close()


async def test_a_failing_batch_answers_every_caller_and_the_next_batch_runs() -> None:
    double = Doubler()
    double.failure = ValueError("out of luck")
    batches = batcher(double)
    first = await held(batches, double)
    others = [asyncio.create_task(batches.submit([(4, 1)])) for _ in range(3)]
    await asyncio.sleep(0)
    double.gate.set()
    for failed in await asyncio.gather(first, *others, return_exceptions=True):
        assert isinstance(failed, BatchFailed)
        assert "ValueError" in str(failed)
        assert "out of luck" not in str(failed)  # details are for the log
    double.failure = None
    assert await batches.submit([(4, 1)]) == [8]
    batches.close()


async def test_one_row_fails_alone() -> None:
    double = Doubler()
    batches = batcher(double)
    first = await held(batches, double)
    odd = asyncio.create_task(batches.submit([(3, 1)]))
    even = asyncio.create_task(batches.submit([(4, 1)]))
    await asyncio.sleep(0)
    double.gate.set()
    with pytest.raises(InvalidInput, match="3 is odd"):
        await odd
    assert (await first, await even) == ([4], [8])
    assert double.batches == [[2], [3, 4]]
    batches.close()


async def test_work_whose_caller_left_never_runs() -> None:
    double = Doubler()
    batches = batcher(double)
    first = await held(batches, double)
    gone = asyncio.create_task(batches.submit([(4, 1)]))
    stays = asyncio.create_task(batches.submit([(6, 1)]))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    double.gate.set()
    assert (await first, await stays) == ([4], [12])
    assert double.batches == [[2], [6]]
    batches.close()


async def test_a_batch_waits_for_requests_on_their_way_but_not_beyond_the_deadline() -> None:
    double = Doubler()
    batches: Batcher[int, int] = Batcher(double, BatchQueue(100, 60.0))
    with batches.expect():
        first = asyncio.create_task(batches.submit([(2, 1)]))
        await asyncio.sleep(0)
        second = asyncio.create_task(batches.submit([(4, 1)]))
        await asyncio.sleep(0)
        assert double.batches == []
    assert [await first, await second] == [[4], [8]]
    assert double.batches == [[2, 4]]  # together, and long before the deadline
    batches.close()
    hurried = batcher(double)
    with hurried.expect():  # never arrives
        assert await hurried.submit([(6, 1)]) == [12]
    hurried.close()


async def test_closing_tells_those_who_wait() -> None:
    double = Doubler()
    batches = batcher(double)
    tasks = [await held(batches, double)]
    tasks.append(asyncio.create_task(batches.submit([(4, 1)])))
    await asyncio.sleep(0)
    batches.close()
    double.gate.set()
    for refused in some(await asyncio.gather(*tasks, return_exceptions=True)):
        assert isinstance(refused, Unavailable)


async def test_the_worker_goes_on_while_the_loop_is_busy_with_answers() -> None:
    double = Doubler()
    batches = batcher(double, budget=2)
    first = await held(batches, double, cost=2)
    others = [asyncio.create_task(batches.submit([(n, 2)])) for n in (4, 6)]
    await asyncio.sleep(0)
    last = double.expect_batches(3)
    double.gate.set()
    assert last.wait(10)  # the loop does nothing meanwhile: nobody has been answered yet
    assert not first.done()
    assert await asyncio.gather(first, *others) == [[4], [8], [12]]
    assert double.batches == [[2], [4], [6]]
    batches.close()


async def test_flows_of_one_client_take_turns() -> None:
    double = Doubler()
    batches: Batcher[int, int] = Batcher(
        double, BatchQueue(4, 0.0), flow_of=lambda number: "large" if number > 99 else "small"
    )
    first = await held(batches, double)
    flood = asyncio.create_task(batches.submit([(100 + 2 * n, 1) for n in range(6)]))
    await asyncio.sleep(0)
    late = asyncio.create_task(batches.submit([(4, 1)]))
    await asyncio.sleep(0)
    double.gate.set()
    await asyncio.gather(first, flood, late)
    assert double.batches == [[2], [100, 4, 102, 104], [106, 108, 110]]
    batches.close()


def test_lone_work_may_be_run_on_the_spot() -> None:
    stats: list[BatchStats[int]] = []
    batches = batcher(Doubler(), stats=stats)
    assert batches.run_here(4, 7) == 8
    assert [(each.work, each.cost, each.queued_s) for each in stats] == [([4], 7, 0.0)]
    with pytest.raises(InvalidInput, match="3 is odd"):
        batches.run_here(3, 1)
    failing = Doubler()
    failing.failure = ValueError("out of luck")
    with pytest.raises(BatchFailed, match="ValueError"):
        batcher(failing).run_here(4, 1)


async def test_a_closed_batcher_says_so() -> None:
    batches = batcher(Doubler())
    assert await batches.submit([(2, 1)]) == [4]
    batches.close()
    batches.close()
    with pytest.raises(Unavailable):
        await batches.submit([(2, 1)])


async def test_errands_run_in_the_thread_of_the_batches() -> None:
    threads: list[str] = []

    def remember(rows: Sequence[int]) -> list[int | IsoglossError]:
        threads.append(threading.current_thread().name)
        return list(rows)

    batches: Batcher[int, int] = Batcher(remember, BatchQueue(10, 0.0), name="batches")
    assert batches.call(lambda: remember([7])) == [7]
    assert await batches.submit([(2, 1)]) == [2]
    assert threads == ["batches", "batches"]
    with pytest.raises(ZeroDivisionError):
        batches.call(lambda: 1 // 0)
    assert await batches.submit([(3, 1)]) == [3]
    batches.close()


async def test_who_waits_for_an_errand_is_told_when_it_will_not_be_done() -> None:
    double = Doubler()
    batches = batcher(double)
    first = await held(batches, double)
    errand = asyncio.create_task(asyncio.to_thread(batches.call, lambda: "done"))
    while not batches._errands:
        await asyncio.sleep(0.001)
    batches.close()
    with pytest.raises(Unavailable, match="stopping"):
        await errand
    with pytest.raises(Unavailable, match="stopping"):
        await first
    double.gate.set()
