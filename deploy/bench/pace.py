"""How long a benchmark will go on, from how long its contenders took so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isogloss.deploy.bench.curves import Contest, Entry

# Rounds of a contest, at most: where calls take milliseconds more would tell nothing new.
MOST_ROUNDS = 200


class Pace:
    """Learns each player's seconds a token, and foretells contests by it."""

    def __init__(self) -> None:
        self._seconds_per_token: dict[str, float] = {}

    def learn(self, name: str, tokens: int, seconds: float) -> None:
        """A player took this long over so many tokens."""
        self._seconds_per_token[name] = seconds / tokens

    def seconds_of(self, contest: Contest, begin: int = 0) -> float:
        """What a contest will take from a round on.

        0 for players that have not had a turn: every player has one before the first contest.
        """
        if not (round_s := sum(self._turn_s(entry, begin) for entry in contest.entries)):
            return 0.0
        wanted = max(contest.least, math.ceil(contest.seconds / round_s))
        last = min(wanted, MOST_ROUNDS)
        return sum(
            self._turn_s(entry, begin) * max(0, min(last, entry.at_most or last) - begin)
            for entry in contest.entries
        )

    def left(self, current: Contest, round_: int, later: Sequence[Contest]) -> float:
        """Seconds until the last contest ends."""
        return self.seconds_of(current, round_) + sum(map(self.seconds_of, later))

    def _turn_s(self, entry: Entry, round_: int) -> float:
        return self._seconds_per_token.get(entry.player.name, 0.0) * entry.tokens(round_)


def goes_on(contest: Contest, rounds: int, seconds: float) -> bool:
    """Whether another round is due after so many, which took so long."""
    return rounds < contest.least or (seconds < contest.seconds and rounds < MOST_ROUNDS)


def about(seconds: float) -> str:
    """A duration for people.

    >>> about(250), about(41)
    ('about 4 min', 'about 40 s')
    """
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} s"
    return f"about {round(seconds / 60)} min"
