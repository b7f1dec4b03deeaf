"""Rounds: every run of a comparison once, so that noise meets all of them alike.

Every other round goes backwards: what drifts in the course of a round then cancels.
`torch.utils.benchmark` gives the clock, which waits for the GPU; its `Timer` measures one call over
and over, each time after two more to warm up, and cannot alternate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.benchmark import timer

from isogloss.deploy.bench.curves import Comparison
from isogloss.deploy.load.machine import peak_of

# Of a comparison, at most: where calls take milliseconds more would tell nothing new.
MOST_ROUNDS = 200
_WARM_UP_TEXTS = 4


def warm_up(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """Let everybody read a few texts: libraries are loaded; contender -> seconds a token."""
    pace: dict[str, float] = {}
    for run in (run for comparison in comparisons for run in comparison.runs):
        if run.name not in pace:
            batch = run.point.batch(0).first(_WARM_UP_TEXTS)
            _, seconds = timed(run.contender.prepare(batch))
            pace[run.name] = seconds / run.point.work.tokens(batch)
    return pace


def first_round(comparison: Comparison, device: torch.device) -> None:
    """Everybody once: answers, peak memory, and seconds that warming up may have lengthened."""
    for run in comparison.runs:
        call = run.contender.prepare(run.point.batch(0))
        (run.answer, run.seconds[0]), run.peak_bytes = peak_of(
            lambda call=call: timed(call),  # type: ignore[misc]
            device,
        )


def more_rounds(comparison: Comparison, tell: Callable[[int], None]) -> None:
    """The rounds after the first; `tell` hears each one's number before it begins."""
    round_ = 1
    while goes_on(comparison, round_, spent_s(comparison)):
        tell(round_)
        here = [run for run in comparison.runs if round_ < (run.at_most or round_ + 1)]
        for run in here if round_ % 2 else reversed(here):
            call = run.contender.prepare(run.point.batch(round_))
            _, run.seconds[round_] = timed(call)
        round_ += 1


def goes_on(comparison: Comparison, rounds: int, seconds: float) -> bool:
    """Whether another round is due after so many, which took so long."""
    return rounds < comparison.least or (seconds < comparison.seconds and rounds < MOST_ROUNDS)


def spent_s(comparison: Comparison) -> float:
    """Seconds that all calls have taken so far."""
    return sum(sum(run.seconds.values()) for run in comparison.runs)


def expected_s(comparison: Comparison, pace: Mapping[str, float]) -> float:
    """Seconds that all calls will take, from each contender's seconds a token."""
    round_s = sum(pace[run.name] * run.point.tokens(0) for run in comparison.runs)
    least_s = sum(
        pace[run.name] * run.point.tokens(0) * min(comparison.least, run.at_most or MOST_ROUNDS)
        for run in comparison.runs
    )
    return max(least_s, min(comparison.seconds, MOST_ROUNDS * round_s))


def about(seconds: float) -> str:
    """A duration for people.

    >>> about(250), about(41)
    ('about 4 min', 'about 40 s')
    """
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} s"
    return f"about {round(seconds / 60)} min"


def timed(call: Callable[[], Tensor | None]) -> tuple[Tensor | None, float]:
    """A call's answer and its seconds, from an idle device to an idle device."""
    began_s = timer()
    answer = call()
    return answer, timer() - began_s
