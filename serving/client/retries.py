"""When a request is sent again: pure, with the clock handed in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from isogloss.prompts.errors import IsoglossError
from isogloss.serving.client.replies import Passing

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 20.0


@dataclass(frozen=True, slots=True)
class Clock:
    """What a client knows of time, and of chance."""

    now_s: Callable[[], float] = time.monotonic
    wall_s: Callable[[], float] = time.time
    """Seconds since 1970, as dates in headers have them."""
    draw: Callable[[], float] = random.random
    """From 0 to 1: clients that were refused together do not come back together."""


class Attempts:
    """What one call has tried so far, and how long it may go on."""

    def __init__(self, retries: int, timeout_s: float, clock: Clock) -> None:
        self._retries = retries
        self._timeout_s = timeout_s
        self._clock = clock
        self._began_s = clock.now_s()
        self._made = 0

    @property
    def left_s(self) -> float:
        """How much of the call's time is left."""
        return self._timeout_s - (self._clock.now_s() - self._began_s)

    def pause_s(self, failed: Passing) -> float:
        """Return how long to wait before the next attempt.

        Raises:
            IsoglossError: there is none; says how often it was tried.
        """
        self._made += 1
        pause_s = self._asked_s(failed.retry_after)
        if pause_s is None:
            longest_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._made - 1, 16))
            pause_s = longest_s * (1 + self._clock.draw()) / 2
        if self._made > self._retries or pause_s >= self.left_s:
            raise self._over(failed.error) from failed
        return pause_s

    def _asked_s(self, retry_after: str | None) -> float | None:
        """How long the server asks to wait, in seconds or until a date; None: it does not say."""
        given = (retry_after or "").strip()
        if given.isascii() and given.isdigit():
            return float(given[:10])
        try:
            date = parsedate_to_datetime(given)
        except ValueError:
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - self._clock.wall_s())

    def _over(self, error: IsoglossError) -> IsoglossError:
        if self._made == 1:
            return error
        spent_s = self._timeout_s - self.left_s
        return type(error)(f"{error} (tried {self._made} times in {spent_s:.1f} s)")
