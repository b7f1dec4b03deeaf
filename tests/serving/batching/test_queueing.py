"""Turns between clients, by tables: what is taken when, and at whose cost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.serving.batching.queueing import BatchQueue
from tests.serving.batching.waiting import Waiting


def queue_of(lines: dict[str, list[int]], budget: int) -> BatchQueue[Waiting]:
    """Clients with the costs of their items; an item is called client + place."""
    queue: BatchQueue[Waiting] = BatchQueue(budget=budget, deadline_s=1)
    for now_s, (client, costs) in enumerate(lines.items()):
        items = [Waiting(f"{client}{place}", cost) for place, cost in enumerate(costs)]
        queue.add(items, float(now_s), client)
    return queue


def batches_of(queue: BatchQueue[Waiting]) -> list[str]:
    """All batches until the queue is empty, each as its items' names."""
    batches = []
    while batch := queue.take():
        batches.append(" ".join(item.name for item in batch))
    return batches


@pytest.mark.parametrize(
    ("lines", "batches"),
    [
        ({"a": [1] * 6, "b": [1]}, ["a0 b0 a1 a2", "a3 a4 a5"]),
        ({"a": [1] * 4, "b": [1] * 4}, ["a0 b0 a1 b1", "a2 b2 a3 b3"]),
        ({"a": [1] * 3, "b": [1] * 3, "c": [1]}, ["a0 b0 c0 a1", "b1 a2 b2"]),
        # Turns are of cost, not of items: b's one large item waits while a's small ones add up.
        ({"a": [1] * 5, "b": [3, 3]}, ["a0 a1 a2", "b0 a3", "a4 b1"]),
        # Larger than any batch: a batch of its own, once the others had as much.
        ({"a": [9], "b": [1, 1]}, ["b0 b1", "a0"]),
        ({"a": [9], "b": [9]}, ["a0", "b0"]),
        ({"a": [2, 9, 2]}, ["a0", "a1", "a2"]),
    ],
)
def test_clients_take_turns(lines: dict[str, list[int]], batches: list[str]) -> None:
    queue = queue_of(lines, budget=4)
    assert batches_of(queue) == batches
    assert (queue.cost, len(queue)) == (0, 0)


def test_ten_thousand_texts_of_one_client_do_not_hold_another_one_up() -> None:
    queue = queue_of({"greedy": [50] * 10_000}, budget=4096)
    assert {item.name[:6] for item in queue.take()} == {"greedy"}
    queue.add([Waiting("late", 50)], 99.0, "modest")
    assert "late" in [item.name for item in queue.take()]


def test_a_hundred_clients_get_equal_shares_of_a_batch() -> None:
    queue = queue_of({f"client-{n}-": [10] * 100 for n in range(100)}, budget=4000)
    taken = [item.name.rsplit("-", 1)[0] for _ in range(5) for item in queue.take()]
    counts = {client: taken.count(client) for client in set(taken)}
    assert len(taken) == 2000
    assert len(counts) == 100
    assert max(counts.values()) - min(counts.values()) <= 6  # a turn is 62, or six items


def test_the_oldest_item_of_any_line_sets_the_deadline() -> None:
    queue = queue_of({"a": [1], "b": [1]}, budget=100)
    assert queue.due_s(1) == 1.0  # a's arrived at 0, and the deadline is 1
    queue.take()
    assert queue.due_s(1) is None


def test_what_nobody_waits_for_costs_its_line_no_turn() -> None:
    queue = queue_of({}, budget=4)
    gone = [Waiting(f"gone{n}", 1, abandoned=True) for n in range(50)]
    queue.add([*gone, Waiting("a", 1)], 0, "a")
    queue.add([Waiting("b", 1)], 0, "b")
    assert batches_of(queue) == ["a b"]
    queue.add(gone, 0, "a")
    assert queue.take() == []
    assert queue.cost == 0


def test_nobody_saves_turns_up() -> None:
    queue = queue_of({"a": [1, 1]}, budget=4)
    queue.take()
    queue.add([Waiting("b0", 1), Waiting("b1", 1)], 0, "b")
    queue.add([Waiting("a0", 1), Waiting("a1", 1)], 0, "a")
    assert batches_of(queue) == ["b0 a0 b1 a1"]


def test_batches_shrink_with_the_memory_and_grow_again() -> None:
    queue = queue_of({"a": [10] * 100}, budget=80)
    assert len(queue.take()) == 8
    queue.shrink(80)
    assert len(queue.take()) == 4
    queue.shrink(20)  # two of four rows were already too much
    assert len(queue.take()) == 1
    sizes = []
    for _ in range(100):
        queue.recover()
        sizes.append(queue.budget)
    assert sizes == sorted(sizes)
    assert sizes[-1] == 80


def flows_of(lines: dict[str, list[int]], budget: int) -> BatchQueue[Waiting]:
    """As `queue_of`, by client and flow: "a/x" is client a's flow x."""
    queue: BatchQueue[Waiting] = BatchQueue(budget=budget, deadline_s=1)
    for name, costs in lines.items():
        client, flow = name.split("/")
        items = [Waiting(f"{client}{flow}{n}", cost, flow=flow) for n, cost in enumerate(costs)]
        queue.add(items, 0.0, client)
    return queue


@pytest.mark.parametrize(
    ("lines", "batches"),
    [
        # Within a client its flows take turns ...
        ({"a/x": [1] * 6, "a/y": [1]}, ["ax0 ay0 ax1 ax2", "ax3 ax4 ax5"]),
        ({"a/x": [1] * 4, "a/y": [1] * 4}, ["ax0 ay0 ax1 ay1", "ax2 ay2 ax3 ay3"]),
        # ... but clients first: two flows earn a client no more than one.
        (
            {"a/x": [1] * 4, "a/y": [1] * 4, "b/x": [1] * 4},
            ["ax0 bx0 ay0 bx1", "ax1 bx2 ay1 bx3", "ax2 ay2 ax3 ay3"],
        ),
        # A row of long texts lets short ones pass: as much time goes to either.
        ({"a/long": [6, 6, 6], "a/short": [1] * 9}, [
            "ashort0 ashort1 ashort2 ashort3",
            "ashort4", "along0", "ashort5 ashort6 ashort7 ashort8", "along1", "along2",
        ]),
    ],
)  # fmt: skip
def test_flows_take_turns_in_what_is_their_clients(
    lines: dict[str, list[int]], batches: list[str]
) -> None:
    queue = flows_of(lines, budget=4)
    assert batches_of(queue) == batches
    assert (queue.cost, len(queue)) == (0, 0)


def test_a_flood_under_one_prompt_does_not_hold_up_another() -> None:
    queue = flows_of({"a/canary": [50] * 10_000}, budget=4096)
    queue.take()
    queue.add([Waiting("late", 50, flow="stable")], 99.0, "a")
    assert "late" in [item.name for item in queue.take()]


def test_a_short_text_waits_for_one_long_one_at_most() -> None:
    queue = flows_of({"a/long": [4000] * 100}, budget=4096)
    queue.take()
    queue.add([Waiting("short", 50, flow="short")], 0.0, "a")
    soon = [item.name for _ in range(2) for item in queue.take()]
    assert "short" in soon


@pytest.mark.parametrize(
    ("coming", "patience_s", "due_s"),
    [
        (0, 0.2, 7.0),  # nobody comes
        (1, 0.0, 7.0),  # it does not pay
        (1, 0.2, 7.2),
        (1, 9.0, 7.5),  # the deadline bounds it
    ],
)
def test_a_batch_waits_as_long_as_it_pays(coming: int, patience_s: float, due_s: float) -> None:
    asked: list[tuple[int, int, int]] = []

    def patience(cost: int, items: int, coming: int) -> float:
        asked.append((cost, items, coming))
        return patience_s

    queue: BatchQueue[Waiting] = BatchQueue(100, 0.5, patience)
    queue.add([Waiting("a", 5), Waiting("b", 6)], 7.0)
    assert queue.due_s(coming) == due_s
    assert asked == [(11, 2, 1)] * bool(coming)


def test_the_deadline_is_that_of_the_oldest_that_still_waits() -> None:
    queue: BatchQueue[Waiting] = BatchQueue(10, 0.5)
    queue.add([Waiting("a", 10), Waiting("b", 5)], 1.0)
    queue.add([Waiting("c", 1)], 2.0)
    assert [item.name for item in queue.take()] == ["a"]
    assert queue.due_s(1) == 1.5
    assert [item.name for item in queue.take()] == ["b", "c"]
    assert queue.due_s(1) is None


def test_a_batch_is_taken_once_it_is_due() -> None:
    queue: BatchQueue[Waiting] = BatchQueue(10, 0.5)
    assert queue.take_due(9.0, 0) == []
    queue.add([Waiting("a", 1)], 1.0)
    assert queue.take_due(1.25, 1) == []
    assert [item.name for item in queue.take_due(1.5, 1)] == ["a"]


CLIENTS, FLOWS, BUDGET = 3, 2, 640
QUANTUM = BUDGET // 64

costs = st.integers(1, 60) | st.integers(1, 2 * BUDGET)
arrivals = st.lists(
    st.tuples(st.integers(0, CLIENTS - 1), st.integers(0, FLOWS - 1), costs), max_size=12
)


def most_batches(ahead: int, largest: int) -> int:
    """How many batches an item may wait for, with what its flow had to be served up to it.

    Serving `ahead` takes a member ceil(ahead / quantum) + 1 of its ring's rounds, and in a round
    each other member is served at most a quantum and what it had left, less than one item. Any two
    batches in a row cost more than the budget, or the second's first item had been in the first.
    """
    served = ahead
    for members in (FLOWS, CLIENTS):
        rounds = math.ceil(served / QUANTUM) + 1
        served += (members - 1) * rounds * (QUANTUM + largest)
    return 2 * math.ceil(served / BUDGET) + 1


@given(st.lists(arrivals, min_size=1, max_size=15), st.integers(0, 5000))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_nobody_waits_for_more_than_so_many_batches(
    steps: list[list[tuple[int, int, int]]], flood: int
) -> None:
    queue: BatchQueue[Waiting] = BatchQueue(BUDGET, 1.0)
    queue.add([Waiting("flood", 20, flow="0") for _ in range(flood)], 0.0, "0")
    largest = max([20, *(cost for step in steps for *_, cost in step)])
    waiting: dict[str, tuple[int, int]] = {}  # name -> batch it came before, the last it may be in
    lines: dict[tuple[int, int], int] = {(0, 0): 20 * flood}  # cost of what waits in each
    taken = 0
    while steps or len(queue):
        for client, flow, cost in steps.pop(0) if steps else []:
            lines[client, flow] = lines.get((client, flow), 0) + cost
            name = f"{client} {flow} {len(waiting)}"
            waiting[name] = (taken, taken + most_batches(lines[client, flow], largest))
            queue.add([Waiting(name, cost, flow=str(flow))], 0.0, str(client))
        batch = queue.take()
        assert len(batch) == 1 or sum(item.cost for item in batch) <= BUDGET
        taken += 1
        for item in batch:
            client, flow = (0, 0) if item.name == "flood" else map(int, item.name.split()[:2])
            lines[client, flow] -= item.cost
            if item.name != "flood":
                assert taken <= waiting[item.name][1], waiting[item.name]
    assert (len(queue), queue.cost) == (0, 0)


def test_the_bound_on_waiting_says_something() -> None:
    # A text of 20 in a line of its own, behind any flood: at once, not after 5,000 texts' batches.
    assert most_batches(20, largest=60) < 5000 * 20 // BUDGET
