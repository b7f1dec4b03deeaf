"""Rounds: every run of a comparison once, so that noise meets all of them alike.

Every other round goes backwards: what drifts in the course of a round then cancels.
`torch.utils.benchmark` gives the clock, which waits for the GPU; its `Timer` measures one call over
and over, each time after two more to warm up, and cannot alternate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.benchmark import timer

from isogloss.deploy.bench.curves import Comparison
from isogloss.deploy.load.machine import peak_of

# Of a comparison, at most: where calls take milliseconds more would tell nothing new.
MOST_ROUNDS = 200
_WARM_UP_TEXTS = 4


def warm_up(comparisons: Sequence[Comparison]) -> None:
    """Let everybody read a few texts: libraries are loaded."""
    warm = set[str]()
    for run in (run for comparison in comparisons for run in comparison.runs):
        if run.name not in warm:
            timed(run.contender.prepare(run.point.batch(0).first(_WARM_UP_TEXTS)))
            warm.add(run.name)


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


def timed(call: Callable[[], Tensor | None]) -> tuple[Tensor | None, float]:
    """A call's answer and its seconds, from an idle device to an idle device."""
    began_s = timer()
    answer = call()
    return answer, timer() - began_s
