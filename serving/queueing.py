"""What goes into the next batch, and when: pure, with the clock handed in.

Items of all requests, languages and prompts wait, each client's in a line of its own. Batches are
filled by deficit round robin (Shreedhar and Varghese, 1995): lines take turns, and each turn earns
a line the same credit, so that one client's thousands of texts hold another's single text up by a
turn and not by thousands. A batch is cut as soon as it is full, nothing more is on its way, or its
oldest item has waited the deadline, whichever is first: a lone caller never waits for company that
is not coming.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

_TURNS_OF_A_BATCH = 64
"""A turn's credit is this part of a batch: small, so that many lines share one batch."""


class Waits(Protocol):
    """What the queue must know of something that waits."""

    @property
    def cost(self) -> int:
        """Its share of the budget, in the queue's unit."""

    @property
    def abandoned(self) -> bool:
        """Whether its caller has left."""


Item = TypeVar("Item", bound=Waits)


@dataclass(frozen=True)
class Entry(Generic[Item]):
    """One waiting item and when it arrived, in seconds of the caller's clock."""

    item: Item
    arrived_s: float


@dataclass
class Line(Generic[Item]):
    """What one client has waiting, and how much of it may still be taken this turn."""

    client: str
    credit: int
    entries: deque[Entry[Item]] = field(default_factory=deque)

    @property
    def lacks(self) -> int:
        """The credit that its next item wants beyond what it has."""
        return self.entries[0].item.cost - self.credit


class BatchQueue(Generic[Item]):
    """Takes turns between clients; first come, first served within one.

    What may wait at all is not its business: `serving.admission` decides before work is queued.

    Args:
        budget: what one batch may cost.
        deadline_s: how long a batch may wait for items that are known to come.
    """

    def __init__(self, budget: int, deadline_s: float) -> None:
        self.budget = budget
        self._full_budget = budget
        self._deadline_s = deadline_s
        self._lines: deque[Line[Item]] = deque()  # the first one's turn it is
        self._by_client: dict[str, Line[Item]] = {}
        self.cost = 0

    def __len__(self) -> int:
        return sum(len(line.entries) for line in self._lines)

    def add(self, items: Sequence[Item], now_s: float, client: str = "") -> None:
        """Append to a client's line; a new line has its turn after all others."""
        if not items:
            return
        if client not in self._by_client:
            self._by_client[client] = Line(client, self._turn)
            self._lines.append(self._by_client[client])
        self._by_client[client].entries.extend(Entry(item, now_s) for item in items)
        self.cost += sum(item.cost for item in items)

    def due_s(self, coming: int) -> float | None:
        """When the next batch is to be cut; None while nothing waits.

        Args:
            coming: requests known to be on their way.
        """
        if not self._lines:
            return None
        if coming == 0 or self.cost >= self.budget:
            return self._lines[0].entries[0].arrived_s  # now: whichever arrived, did so before
        return min(line.entries[0].arrived_s for line in self._lines) + self._deadline_s

    def take(self) -> list[Entry[Item]]:
        """Remove and return the next batch: within the budget, but never empty-handed.

        Items whose caller has left are dropped on the way, at no cost to their line.
        """
        batch: list[Entry[Item]] = []
        room = self.budget
        passed = 0  # turns in a row that took nothing
        while self._lines:
            line = self._lines[0]
            if not self._drop_abandoned(line):
                continue
            if line.lacks > 0:
                self._pass_on(line, passed)
                passed += 1
                continue
            if batch and line.entries[0].item.cost > room:
                break
            batch.append(self._pop(line))
            room -= batch[-1].item.cost
            passed = 0
        return batch

    def shrink(self, cost: int) -> None:
        """Make batches cost half of what turned out to be too much for the memory."""
        self.budget = max(1, min(self.budget, cost) // 2)

    def recover(self) -> None:
        """Let batches grow again, by a little, up to what they were meant to be."""
        self.budget = min(self._full_budget, self.budget + max(1, self.budget // 64))

    @property
    def _turn(self) -> int:
        return max(1, self._full_budget // _TURNS_OF_A_BATCH)

    def _pass_on(self, line: Line[Item], passed: int) -> None:
        """End a line's turn. Where all lines lack credit, all earn as many turns as one needs."""
        turns = 1
        if passed and passed % len(self._lines) == 0:
            lacks = [each.lacks for each in self._lines if each.entries]
            turns = max(1, math.ceil(min(lacks) / self._turn))
            for each in self._lines:
                each.credit += (turns - 1) * self._turn
        line.credit += self._turn
        self._lines.rotate(-1)

    def _pop(self, line: Line[Item]) -> Entry[Item]:
        entry = line.entries.popleft()
        self.cost -= entry.item.cost
        line.credit -= entry.item.cost
        if not line.entries:
            self._close()
        return entry

    def _drop_abandoned(self, line: Line[Item]) -> bool:
        """Whether anything is left in the line without what nobody waits for."""
        while line.entries and line.entries[0].item.abandoned:
            self.cost -= line.entries.popleft().item.cost
        if not line.entries:
            self._close()
        return bool(line.entries)

    def _close(self) -> None:
        """Forget the first line, which is empty, and its credit: nobody saves turns up."""
        del self._by_client[self._lines.popleft().client]
