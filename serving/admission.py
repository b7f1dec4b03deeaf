"""Who is let in: pure, with no clock of its own.

A request is admitted whole or not at all, before any work is done on it, and what it holds is
counted until it is answered: its texts (items), their tokens (a guess until they are known) and,
until it is planned, their characters. Room is shared by dynamic thresholds (Choudhury and Hahne,
1998): a client may hold a multiple of what is left free, so that one client never fills the room
and there is always some for whoever comes next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prompts.errors import Overloaded, Unavailable

SHARE = 4
"""A client may hold this many times what is left free: alone 4/5 of the room, two of them 4/9."""
EXPECTED_SHARE = 0.4
"""Of its time that a request may be expected to take. Who comes next, and how much of the processor
is left to the model then, is not known; and work that ends too late is work for nothing."""
LONGEST_RETRY_S = 60
_WEIGHT_KEPT = 0.9


class QueueFull(Overloaded):
    """There is no room for the request; it is worth another try after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: int = 1, reason: str = "") -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.reason = reason


class Stopping(Unavailable):
    """This replica finishes what it has and takes nothing more."""


@dataclass(frozen=True)
class Load:
    """What a request holds, or how much may be held."""

    items: int = 0
    tokens: int = 0
    characters: int = 0

    def __add__(self, other: Load) -> Load:
        return Load(
            self.items + other.items,
            self.tokens + other.tokens,
            self.characters + other.characters,
        )

    def __sub__(self, other: Load) -> Load:
        return Load(
            self.items - other.items,
            self.tokens - other.tokens,
            self.characters - other.characters,
        )


@dataclass
class Ratio:
    """A ratio of two measured amounts in which the newest count most; None before the first."""

    value: float | None = None
    _above: float = field(default=0.0, repr=False)
    _below: float = field(default=0.0, repr=False)

    def observe(self, above: float, below: float) -> None:
        """Take one measurement in; one of nothing is none."""
        if above <= 0 or below <= 0:
            return
        self._above = _WEIGHT_KEPT * self._above + above
        self._below = _WEIGHT_KEPT * self._below + below
        self.value = self._above / self._below


class Place:
    """What one admitted request holds."""

    def __init__(self, load: Load) -> None:
        self.load = load


class Admission:
    """The ledger of one model's admitted, unanswered requests.

    Args:
        limit: what may be held in total.
    """

    def __init__(self, limit: Load) -> None:
        self._limit = limit
        self._clients: dict[str, Load] = {}
        self.held = Load()
        self.requests = 0
        self.stopping = False
        self.tokens_per_s = Ratio()
        """How fast the model works while it works."""

    @property
    def clients(self) -> int:
        """How many clients hold anything."""
        return len(self._clients)

    @contextmanager
    def admit(self, client: str, load: Load, timeout_s: float | None = None) -> Iterator[Place]:
        """Hold room for a request while open.

        Raises:
            QueueFull: there is no room, or it could not be answered within its time.
            Stopping: this replica takes nothing more.
        """
        self._check(client, load, timeout_s)
        place = Place(load)
        self._change(client, load, 1)
        try:
            yield place
        finally:
            self._change(client, Load() - place.load, -1)

    def settle(self, client: str, place: Place, load: Load) -> None:
        """Replace what a request was guessed to hold by what it holds."""
        self._change(client, load - place.load, 0)
        place.load = load

    def wait_s(self, client: str, tokens: int) -> float | None:
        """How long a client's tokens would wait behind others', turn by turn; None: not known.

        While clients take turns, each of the others goes first with no more than this one has.
        """
        rate = self.tokens_per_s.value
        if rate is None:
            return None
        own = tokens + self._clients.get(client, Load()).tokens
        others = sum(min(own, it.tokens) for name, it in self._clients.items() if name != client)
        return (own + others) / rate

    def _check(self, client: str, load: Load, timeout_s: float | None) -> None:
        if self.stopping:
            raise Stopping("this replica is stopping; try again, another one will answer")
        if not self.requests:
            return  # an empty queue takes any request: none is too large to ever be answered
        own = self._clients.get(client, Load()) + load
        free = self._limit - self.held - load
        for unit in ("items", "tokens", "characters"):
            missing = getattr(own, unit) - SHARE * getattr(free, unit)
            if getattr(load, unit) and missing > 0:
                raise self._full(unit, client, missing)
        wait_s = self.wait_s(client, load.tokens)
        if timeout_s is not None and wait_s is not None and wait_s > EXPECTED_SHARE * timeout_s:
            raise self._too_slow(wait_s, timeout_s)

    def _full(self, unit: str, client: str, missing: int) -> QueueFull:
        held, limit = getattr(self.held, unit), getattr(self._limit, unit)
        own = getattr(self._clients.get(client, Load()), unit)
        return QueueFull(
            f"the queue is full: {held} {unit} are waiting, {own} of them yours, and the limit is "
            f"{limit}, shared by all clients; try again in a moment, or send fewer inputs",
            self._retry_after_s(missing / SHARE * (self.held.tokens / max(1, held))),
            unit,
        )

    def _too_slow(self, wait_s: float, timeout_s: float) -> QueueFull:
        rate = self.tokens_per_s.value or 1.0
        return QueueFull(
            f"the queue is too long: an answer would take about {wait_s:.1f} s, too near to the "
            f"{timeout_s:.1f} s that this request has (x-request-timeout-ms); try again later, or "
            "allow more time",
            self._retry_after_s((wait_s - EXPECTED_SHARE * timeout_s) * rate),
            "deadline",
        )

    def _retry_after_s(self, tokens: float) -> int:
        """Whole seconds until this many tokens will have been worked off."""
        rate = self.tokens_per_s.value
        if rate is None:
            return 1
        return min(LONGEST_RETRY_S, max(1, math.ceil(tokens / rate)))

    def _change(self, client: str, load: Load, requests: int) -> None:
        self.held += load
        self.requests += requests
        left = self._clients.get(client, Load()) + load
        self._clients[client] = left
        if left == Load():
            del self._clients[client]
