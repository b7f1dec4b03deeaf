"""Who is let in: pure, with the times handed in.

A request is admitted whole or not at all, before any work is done on it, and what it holds is
counted until it is answered: its texts (items), their tokens (a guess until they are known) and,
until it is planned, their characters. Each unit's room is shared by three rules; a request is let
in where one of them allows it in every unit:

- Share. By dynamic thresholds (Choudhury and Hahne, 1998) a client may hold a multiple of what is
  left free, so that one client never fills the room.
- Whole. Where at most a fifth of the room is taken, nobody is above their share, and the client
  holds nothing, it may take any: no request is too large to ever be answered.
- Little. A client that holds next to nothing is let in however full it is, while there are no more
  clients than a crowd.

What somebody holds above their share, as a whole request may and one whose tokens were guessed too
low, is theirs alone: it counts against their own next request, and is not counted against others.
So, of each unit with limit L:

1. One client is counted with at most 4/5 L, for what is counted is within four times what is free
   when it is counted, or little. The others always have what is left.
2. At most 2 L are counted. Shares end at L: they need something free. Above L only little is let
   in, after which a client holds no more than L / crowd, and no more clients than a crowd do.
3. What is held is what is counted, one whole request, and what was guessed too low, of tokens
   alone: never more of them than the model reads of the items, which are never guessed.
4. Beside fewer clients than a crowd, one that holds nothing is let in with little, whatever came
   before: that is the third rule, and it asks nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from isogloss.prompts.errors import Overloaded, Unavailable

SHARE = 4
"""A client may hold this many times what is left free: alone 4/5 of the room, two of them 4/9."""
CROWD = 128
"""So many clients may hold this part of the limit each, or one unit, however full it is."""
UNITS = ("items", "tokens", "characters")
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


class Load(NamedTuple):
    """What a request holds, or how much may be held."""

    items: int = 0
    tokens: int = 0
    characters: int = 0

    def __add__(self, other: Load) -> Load:  # type: ignore[override]
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


class Admitted:
    """What one admitted request holds, and what of it is counted against others."""

    def __init__(self, load: Load, counted: Load) -> None:
        self.load = load
        self.counted = counted


class Admission:
    """The ledger of one model's admitted, unanswered requests.

    Args:
        limit: what may be held in total.
    """

    def __init__(self, limit: Load) -> None:
        self._limit = limit
        self._clients: dict[str, Load] = {}
        self._counted = Load()
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
    def admit(self, client: str, load: Load, timeout_s: float | None = None) -> Iterator[Admitted]:
        """Hold room for a request while open.

        Raises:
            QueueFull: there is no room, or it could not be answered within its time.
            Stopping: this replica takes nothing more.
        """
        self._check(client, load, timeout_s)
        admitted = Admitted(Load(), Load())
        self.requests += 1
        try:
            self.settle(client, admitted, load)
            yield admitted
        finally:
            self._hold(client, admitted, Load(), Load())
            self.requests -= 1

    def settle(self, client: str, admitted: Admitted, load: Load) -> None:
        """Replace what a request was guessed to hold by what it holds.

        More than was guessed is counted as far as it would have been let in.
        """
        others, counted = self._load_of(client) - admitted.load, self._counted - admitted.counted
        settled = {
            unit: min(
                getattr(load, unit),
                max(getattr(admitted.counted, unit), self._room(unit, client, others, counted)),
            )
            for unit in UNITS
        }
        self._hold(client, admitted, load, Load(**settled))

    def wait_s(self, client: str, tokens: int) -> float | None:
        """How long a client's tokens would wait behind others', turn by turn; None: not known.

        While clients take turns, each of the others goes first with no more than this one has.
        """
        rate = self.tokens_per_s.value
        if rate is None:
            return None
        mine = tokens + self._load_of(client).tokens
        others = sum(min(mine, it.tokens) for name, it in self._clients.items() if name != client)
        return (mine + others) / rate

    def _check(self, client: str, load: Load, timeout_s: float | None) -> None:
        if self.stopping:
            raise Stopping("this replica is stopping; try again, another one will answer")
        held = self._load_of(client)
        for unit in UNITS:
            asked, room = getattr(load, unit), self._room(unit, client, held, self._counted)
            if asked > room and not self._whole(unit, held):
                raise self._full(unit, client, asked)
        if not self.requests:
            return  # whoever is alone waits for nobody
        wait_s = self.wait_s(client, load.tokens)
        if timeout_s is not None and wait_s is not None and wait_s > EXPECTED_SHARE * timeout_s:
            raise self._too_slow(wait_s, timeout_s)

    def _room(self, unit: str, client: str, held: Load, counted: Load) -> int:
        """How much more of a unit a client may hold, by its share or as it is little."""
        limit: int = getattr(self._limit, unit)
        mine: int = getattr(held, unit)
        free = limit - int(getattr(counted, unit))
        share = (SHARE * free - mine) // (SHARE + 1)
        crowded = len(self._clients.keys() | {client}) > min(CROWD, limit)
        little = 0 if crowded else max(1, limit // CROWD) - mine
        return max(0, share, little)

    def _whole(self, unit: str, held: Load) -> bool:
        """Whether a client may take any amount of a unit at once."""
        limit: int = getattr(self._limit, unit)
        counted: int = getattr(self._counted, unit)
        none_above = counted == getattr(self.held, unit)
        return held == Load() and none_above and (SHARE + 1) * counted <= limit

    def _full(self, unit: str, client: str, asked: int) -> QueueFull:
        held, limit = getattr(self.held, unit), getattr(self._limit, unit)
        mine, free = getattr(self._load_of(client), unit), limit - getattr(self._counted, unit)
        missing = mine + asked - SHARE * (free - asked)
        return QueueFull(
            f"the queue is full: {held} {unit} are waiting, {mine} of them yours, and the limit is "
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

    def _load_of(self, client: str) -> Load:
        return self._clients.get(client, Load())

    def _hold(self, client: str, admitted: Admitted, load: Load, counted: Load) -> None:
        """Write down what a request holds now."""
        self.held += load - admitted.load
        self._counted += counted - admitted.counted
        left = self._load_of(client) + load - admitted.load
        self._clients[client] = left
        if left == Load():
            del self._clients[client]
        admitted.load, admitted.counted = load, counted
