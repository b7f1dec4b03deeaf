"""Taking turns: every entry of a contest once a round, so that noise meets all of them alike.

Every other round goes backwards: what drifts in the course of a round then cancels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isogloss.deploy.bench.curves import Contest, Entry
from isogloss.deploy.bench.pace import Pace, goes_on
from isogloss.deploy.load.machine import peak_of


@dataclass(frozen=True, slots=True, eq=False)
class Turns:
    """What one entry did: answers and peak memory of the first round, seconds of every round."""

    entry: Entry
    answer: Tensor | None
    peak_bytes: int | None
    seconds: dict[int, float]

    @property
    def name(self) -> str:
        """The player's."""
        return self.entry.player.name

    def kept(self) -> dict[int, float]:
        """Seconds by round; the first round counts only where there is no other."""
        return _without_first(self.seconds)

    def beside(self, other: Turns) -> list[tuple[int, float, float]]:
        """Neighbours in time: round, own seconds, the other's seconds."""
        both = {r: s for r, s in self.seconds.items() if r in other.seconds}
        return [(r, s, other.seconds[r]) for r, s in _without_first(both).items()]


def _without_first(seconds: dict[int, float]) -> dict[int, float]:
    return {r: s for r, s in seconds.items() if r or len(seconds) == 1}


def first_round(contest: Contest, device: torch.device, pace: Pace) -> list[Turns]:
    """Everybody once: answers, peak memory, and seconds that warming up may have lengthened."""
    found = []
    for entry in contest.entries:
        call = entry.player.prepare(entry.point.batch(0))
        (answer, seconds), peak = peak_of(lambda call=call: timed(call, device), device)  # type: ignore[misc]
        pace.learn(entry.player.name, entry.tokens(0), seconds)
        found.append(Turns(entry, answer, peak, {0: seconds}))
    return found


def more_rounds(
    contest: Contest,
    turns: Sequence[Turns],
    device: torch.device,
    pace: Pace,
    say: Callable[[int], None],
) -> None:
    """The other rounds, written into `turns`.

    Args:
        contest: whose first round is over.
        turns: of the first round.
        device: to wait for.
        pace: learns of every turn.
        say: told each round's number before it begins.
    """
    round_ = 1
    while goes_on(contest, round_, sum(sum(own.seconds.values()) for own in turns)):
        say(round_)
        there = [own for own in turns if round_ < (own.entry.at_most or round_ + 1)]
        for own in there if round_ % 2 else reversed(there):
            call = own.entry.player.prepare(own.entry.point.batch(round_))
            _, own.seconds[round_] = timed(call, device)
            pace.learn(own.entry.player.name, own.entry.tokens(round_), own.seconds[round_])
        round_ += 1


def timed(call: Callable[[], Tensor | None], device: torch.device) -> tuple[Tensor | None, float]:
    """A call's answer and its seconds, from an idle device to an idle device."""
    _wait(device)
    begun = time.perf_counter()
    answer = call()
    _wait(device)
    return answer, time.perf_counter() - begun


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
