"""The balancer in front of simulated replicas."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import Generic, TypeVar

Replica = TypeVar("Replica")


class LeastConnections(Generic[Replica]):
    """HAProxy's `leastconn`: where fewest requests are; of several, where none came for longest."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = replicas
        self._turns = itertools.count()
        self._places = {each: (0, next(self._turns), n) for n, each in enumerate(replicas)}
        self._heap = sorted(self._places.values())

    def choose(self) -> Replica:
        """Choose a replica for a request, and count it there."""
        while True:
            place = self._heap[0]
            replica = self._replicas[place[2]]
            if self._places[replica] == place:
                self._move(replica, 1)
                return replica
            heapq.heappop(self._heap)

    def leave(self, replica: Replica) -> None:
        """Count a request there no more."""
        self._move(replica, -1)

    def _move(self, replica: Replica, by: int) -> None:
        requests, _, index = self._places[replica]
        self._places[replica] = place = (requests + by, next(self._turns), index)
        heapq.heappush(self._heap, place)
