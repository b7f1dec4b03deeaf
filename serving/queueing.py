"""What goes into the next batch, and when: pure, with the clock handed in.

Items of all requests, languages and prompts wait in one line. A batch is cut as soon as it is
full, nothing more is on its way, or its oldest item has waited the deadline, whichever is first:
a lone caller never waits for company that is not coming.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from prompts.errors import Overloaded


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


class BatchQueue(Generic[Item]):
    """First come, first served, up to a budget.

    Args:
        budget: what one batch may cost.
        deadline_s: how long a batch may wait for items that are known to come.
        limit: what may wait in total before newcomers are refused.
        unit: what costs are counted in, for messages.
    """

    def __init__(self, budget: int, deadline_s: float, limit: int, unit: str = "tokens") -> None:
        self._budget = budget
        self._deadline_s = deadline_s
        self._limit = limit
        self._unit = unit
        self._entries: deque[Entry[Item]] = deque()
        self.cost = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, items: Sequence[Item], now_s: float) -> None:
        """Append all items or none.

        An empty queue takes any request, so that none is too large to ever be answered.

        Raises:
            Overloaded: more would wait than the limit.
        """
        cost = sum(item.cost for item in items)
        self.check_room(cost)
        self._entries.extend(Entry(item, now_s) for item in items)
        self.cost += cost

    def check_room(self, cost: int = 0) -> None:
        """Raise Overloaded where items of this cost would be refused."""
        if self._entries and self.cost + cost > self._limit:
            raise Overloaded(
                f"the queue is full: {self.cost} {self._unit} are waiting and the limit is "
                f"{self._limit}; try again in a moment, or send fewer inputs"
            )

    def due_s(self, coming: int) -> float | None:
        """When the next batch is to be cut; None while nothing waits.

        Args:
            coming: requests known to be on their way.
        """
        if not self._entries:
            return None
        arrived_s = self._entries[0].arrived_s
        if coming == 0 or self.cost >= self._budget:
            return arrived_s
        return arrived_s + self._deadline_s

    def take(self) -> list[Entry[Item]]:
        """Remove and return the next batch: within the budget, but never empty-handed.

        Items whose caller has left are dropped on the way.
        """
        batch: list[Entry[Item]] = []
        spent = 0
        while self._entries:
            item = self._entries[0].item
            if batch and not item.abandoned and spent + item.cost > self._budget:
                break
            entry = self._entries.popleft()
            self.cost -= item.cost
            if not item.abandoned:
                batch.append(entry)
                spent += item.cost
        return batch
