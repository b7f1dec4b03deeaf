"""The last few of something that is costly to get, by name."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class Recent(Generic[Kept]):
    """Keeps what was put or asked for last; may be used from any thread.

    Unlike `functools.lru_cache` it can be asked whether it has something, so that nobody waits in
    a queue for what is there, and what was got before it was cleared does not come back into it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self.cleared = 0
        """How often; to be noted before something is got, and given back with it."""

    def get(self, name: str) -> Kept | None:
        """Return what is kept under a name."""
        with self._lock:
            if name not in self._kept:
                return None
            self._kept.move_to_end(name)
            return self._kept[name]

    def put(self, name: str, value: Kept, cleared: int) -> None:
        """Keep something, unless all was cleared since it was begun with."""
        with self._lock:
            if cleared == self.cleared:
                self._kept[name] = value
                self._kept.move_to_end(name)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)

    def clear(self) -> None:
        """Keep nothing of what was put, or is being got."""
        with self._lock:
            self._kept.clear()
            self.cleared += 1
