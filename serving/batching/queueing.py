"""What goes into the next batch, and when: pure, with the clock handed in.

Items of all requests, languages and prompts wait, each client's apart, and within a client each
flow's (a prompt's, a long text's) in a line of its own. Batches are filled by deficit round robin
(Shreedhar and Varghese, 1995) on two levels: clients take turns, and each client's flows take turns
in what is its. A turn earns the same credit whoever has it, so that one client's thousands of texts
hold another's single text up by a turn and not by thousands, and a flood under one prompt holds up
the same client's other prompts no longer.

Items are not sorted by length to fill batches: the engine packs texts without padding, and batches
of like lengths ran no faster than mixed ones (measured: 195 ms for four sorted batches of 16 texts
of 10 to 320 tokens, 187 ms for the same texts as they came; pocket-bloom, 2 cores). Long texts
matter by the time they take only: that is their cost, and one that exceeds the budget runs alone.

A batch is cut as soon as it is full, nothing more is on its way, or its oldest item has waited as
long as it pays, whichever is first: a lone caller never waits for company that is not coming.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

_TURNS_OF_A_BATCH = 64
"""A turn's credit is this part of a batch: small, so that many lines share one batch."""


class Waits(Protocol):
    """What the queue must know of something that waits."""

    @property
    def cost(self) -> int:
        """Its share of the budget, in the queue's unit."""

    @property
    def flow(self) -> str:
        """Which of its client's lines it waits in."""

    @property
    def abandoned(self) -> bool:
        """Whether its caller has left."""

    arrived_s: float
    """When it was added, in seconds of the caller's clock; the queue sets it."""
    waits: bool
    """Until it is taken, or dropped for nobody waits for it; the queue sets it."""


Item = TypeVar("Item", bound=Waits)


@dataclass
class Held:
    """What waits in all lines together."""

    items: int = 0
    cost: int = 0

    def change(self, sign: int, cost: int) -> None:
        """Count an item in (1) or out (-1)."""
        self.items += sign
        self.cost += sign * cost


class Line(Generic[Item]):
    """What one flow of a client has waiting, and how much of it may still be taken this turn."""

    def __init__(self, credit: int, held: Held) -> None:
        self.credit = credit
        self.items: deque[Item] = deque()
        self._held = held

    @property
    def empty(self) -> bool:
        """Whether nothing is left."""
        return not self.items

    def first(self) -> Item | None:
        """Its next item; those that nobody waits for are dropped on the way, at no cost to it."""
        while self.items and self.items[0].abandoned:
            self.pop()
        return self.items[0] if self.items else None

    def pop(self) -> Item:
        """Take the next item out."""
        item = self.items.popleft()
        item.waits = False
        self._held.change(-1, item.cost)
        return item


class Ring(Generic[Item]):
    """Members that take turns: a client's lines, or all clients' rings."""

    def __init__(self, turn: int, credit: int = 0) -> None:
        self.credit = credit
        self._turn = turn
        self._members: deque[tuple[str, Line[Item] | Ring[Item]]] = deque()  # the first's turn
        self._by_name: dict[str, Line[Item] | Ring[Item]] = {}

    @property
    def empty(self) -> bool:
        """Whether nobody takes part."""
        return not self._members

    def member(
        self, name: str, new: Callable[[], Line[Item] | Ring[Item]]
    ) -> Line[Item] | Ring[Item]:
        """Find a member; a new one has its turn after all others."""
        if name not in self._by_name:
            self._by_name[name] = new()
            self._members.append((name, self._by_name[name]))
        return self._by_name[name]

    def first(self) -> Item | None:
        """The item whose turn it is: its member's credit suffices. Asking again changes nothing."""
        passed = 0  # turns in a row that took nothing
        while self._members:
            member = self._members[0][1]
            item = member.first()
            if item is None:
                self._close()
            elif item.cost <= member.credit:
                return item
            else:
                self._pass_on(passed)
                passed += 1
        return None

    def pop(self) -> Item:
        """Take out what `first` found, at its member's expense."""
        member = self._members[0][1]
        item = member.pop()
        member.credit -= item.cost
        if member.empty:
            self._close()
        return item

    def _pass_on(self, passed: int) -> None:
        """End a turn. Where all members lack credit, all earn as many turns as one needs."""
        if passed and passed % len(self._members) == 0:
            lacks = [
                item.cost - each.credit
                for _, each in self._members
                if (item := each.first()) is not None
            ]
            turns = max(1, math.ceil(min(lacks) / self._turn))
            for _, each in self._members:
                each.credit += (turns - 1) * self._turn
        self._members[0][1].credit += self._turn
        self._members.rotate(-1)

    def _close(self) -> None:
        """Forget the first member, which is empty, and its credit: nobody saves turns up."""
        del self._by_name[self._members.popleft()[0]]


class BatchQueue(Generic[Item]):
    """Takes turns between clients, and between a client's flows; first come, first served in one.

    What may wait at all is not its business: `serving.pipeline.admission` decides before work is
    queued.

    Args:
        budget: what one batch may cost.
        deadline_s: how long a batch may wait for items that are known to come.
        patience_s: how long it pays to wait, by what waits (cost, items) and by how many items are
            known to come; the deadline bounds it. Without it, the deadline is always waited for.
    """

    def __init__(
        self,
        budget: int,
        deadline_s: float,
        patience_s: Callable[[int, int, int], float] | None = None,
    ) -> None:
        self._deadline_s = deadline_s
        self._patience_s = patience_s
        self._held = Held()
        self._arrivals: deque[Item] = deque()
        self.resize(budget)

    def __len__(self) -> int:
        return self._held.items

    @property
    def cost(self) -> int:
        """Of all that waits."""
        return self._held.cost

    def resize(
        self, budget: int, patience_s: Callable[[int, int, int], float] | None = None
    ) -> None:
        """Set the budget anew, for items priced anew: to be called while nothing waits."""
        self.budget = self._full_budget = budget
        self._patience_s = patience_s or self._patience_s
        self._turn = max(1, budget // _TURNS_OF_A_BATCH)
        self._clients: Ring[Item] = Ring(self._turn)

    def add(self, items: Sequence[Item], now_s: float, client: str = "") -> None:
        """Append to a client's lines; a new client or flow has its turn after all others."""
        for item in items:
            ring = self._clients.member(client, lambda: Ring(self._turn, self._turn))
            assert isinstance(ring, Ring)
            line = ring.member(item.flow, lambda: Line(self._turn, self._held))
            assert isinstance(line, Line)
            item.arrived_s, item.waits = now_s, True
            line.items.append(item)
            self._arrivals.append(item)
            self._held.change(1, item.cost)

    def due_s(self, coming: int) -> float | None:
        """When the next batch is to be cut; None while nothing waits.

        Args:
            coming: requests known to be on their way.
        """
        while self._arrivals and not self._arrivals[0].waits:
            self._arrivals.popleft()
        if not self._arrivals:
            return None
        oldest_s = self._arrivals[0].arrived_s
        if coming == 0 or self.cost >= self.budget:
            return oldest_s  # now: it has arrived
        if self._patience_s is None:
            return oldest_s + self._deadline_s
        pays_s = self._patience_s(self.cost, len(self), coming)
        return oldest_s + min(self._deadline_s, pays_s)

    def take_due(self, now_s: float, coming: int) -> list[Item]:
        """Take the next batch if it is to be cut by now; else nothing."""
        due_s = self.due_s(coming)
        return self.take() if due_s is not None and due_s <= now_s else []

    def take(self) -> list[Item]:
        """Remove and return the next batch: within the budget, but never empty-handed.

        Items whose caller has left are dropped on the way, at no cost to their line.
        """
        batch: list[Item] = []
        room = self.budget
        while (item := self._clients.first()) is not None:
            if batch and item.cost > room:
                break
            batch.append(self._clients.pop())
            room -= item.cost
        return batch

    def shrink(self, cost: int) -> None:
        """Make batches cost half of what turned out to be too much for the memory."""
        self.budget = max(1, min(self.budget, cost) // 2)

    def recover(self) -> None:
        """Let batches grow again, by a little, up to what they were meant to be."""
        self.budget = min(self._full_budget, self.budget + max(1, self.budget // 64))
