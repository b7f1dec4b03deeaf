"""Turns between clients, by tables: what is taken when, and at whose cost."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from serving.queueing import BatchQueue


@dataclass
class Waiting:
    name: str
    cost: int
    abandoned: bool = False
    flow: str = ""


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
        batches.append(" ".join(entry.item.name for entry in batch))
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
    assert {entry.item.name[:6] for entry in queue.take()} == {"greedy"}
    queue.add([Waiting("late", 50)], 99.0, "modest")
    assert "late" in [entry.item.name for entry in queue.take()]


def test_a_hundred_clients_get_equal_shares_of_a_batch() -> None:
    queue = queue_of({f"client-{n}-": [10] * 100 for n in range(100)}, budget=4000)
    taken = [entry.item.name.rsplit("-", 1)[0] for _ in range(5) for entry in queue.take()]
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
