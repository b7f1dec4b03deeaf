"""The comparisons behind the curves: who reads which batch, beside whom.

A point is a place on a curve, a run one contender at one point, a comparison the runs that
alternate. What is to be compared closely is one comparison: all numbers of residents, all numbers
of prompts a text, all sizes of ensembles. Batch sizes and text lengths have a comparison each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import gcd
from types import MappingProxyType

from torch import Tensor

from isogloss.deploy.bench.contenders import Contender, Contenders
from isogloss.deploy.bench.engine_settings import CurveName, EngineSettings
from isogloss.deploy.bench.texts import POOL, Batch, Workload, workload

# Peers read a text once for each prompt: they are measured at these numbers of prompts alone.
REPEATED_AT = (1, 8)
# Rounds of the machine's rate where our own need more to be compared with each other.
RATE_ROUNDS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A place on a curve, and the batches that are read there in turn."""

    curve: CurveName
    x: int
    work: Workload
    batches: tuple[Batch, ...]

    def batch(self, round_: int) -> Batch:
        """What every contender reads in a round."""
        return self.batches[round_ % len(self.batches)]

    def tokens(self, round_: int) -> int:
        """That must be read in a round, texts and prompts."""
        return self.work.tokens(self.batch(round_))


@dataclass(slots=True, eq=False)
class Run:
    """One contender at one point, in all rounds or in the first few, and what came of it."""

    point: Point
    contender: Contender
    at_most: int | None = None
    answer: Tensor | None = None
    """Of the first round, as are the bytes of memory."""
    peak_bytes: int | None = None
    seconds: dict[int, float] = field(default_factory=dict)
    """By round."""

    @property
    def name(self) -> str:
        """The contender's."""
        return self.contender.name

    def operations(self, round_: int) -> int:
        """The contender's, in a round."""
        return self.contender.operations(self.point.batch(round_))

    def kept(self) -> dict[int, float]:
        """Seconds by round; the first round counts only where there is no other."""
        return _without_first(self.seconds)

    def beside(self, other: Run) -> list[tuple[int, float, float]]:
        """Neighbours in time: round, this run's seconds, the other's seconds."""
        both = {r: s for r, s in self.seconds.items() if r in other.seconds}
        return [(r, s, other.seconds[r]) for r, s in _without_first(both).items()]


def _without_first(seconds: dict[int, float]) -> dict[int, float]:
    return {r: s for r, s in seconds.items() if r or len(seconds) == 1}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs that alternate: `least` rounds, more until they have taken `seconds`."""

    title: str
    runs: tuple[Run, ...]
    least: int
    seconds: float

    @property
    def points(self) -> list[Point]:
        """Each once, in order."""
        return list(dict.fromkeys(run.point for run in self.runs))


def comparisons(contenders: Contenders, settings: EngineSettings) -> list[Comparison]:
    """All that is measured of one model, curve by curve."""
    return [made for curve in settings.curves for made in _MAKERS[curve](contenders, settings)]


def _batch_sizes(contenders: Contenders, settings: EngineSettings) -> list[Comparison]:
    """Everybody; the headline's batch size longest."""
    work = _work(contenders, settings, prompts=settings.prompts)
    everybody = _everybody(contenders, work, "batch_size")
    made = []
    for size in settings.points("batch_size"):
        count = len(work.texts) // gcd(len(work.texts), size)  # then they come round again
        point = Point("batch_size", size, work, tuple(islice(work.batches(size), count)))
        least = settings.rounds if size == settings.headline_batch else settings.fewer_rounds
        if size > settings.headline_batch:  # takes long and says little more
            least = 1
        runs = tuple(Run(point, each) for each in everybody)
        made.append(Comparison(f"batch size {size}", runs, least, settings.seconds))
    return made


def _residents(contenders: Contenders, settings: EngineSettings) -> list[Comparison]:
    """Ours: the same texts under prompts drawn from few or many."""
    counts, size = settings.points("resident_prompts"), settings.resident_batch
    whole = _work(contenders, settings, prompts=max(counts), pool=size)
    runs = []
    for count in counts:
        work = whole.resident(count)
        point = Point("resident_prompts", count, work, (work.drawn(size, settings.seed),))
        runs += [Run(point, ours) for ours in contenders.ours(work)]
    runs += [Run(runs[0].point, rate, RATE_ROUNDS + 1) for rate in contenders.rates(whole)]
    return [_close_comparison("resident prompts", runs, settings)]


def _prompts_per_text(contenders: Contenders, settings: EngineSettings) -> list[Comparison]:
    """Ours: the same texts under one prompt or several; peers where they bear it."""
    counts, size = settings.points("prompts_per_text"), settings.fanned_texts
    work = _work(contenders, settings, prompts=max(*counts, settings.prompts), pool=size)
    runs = []
    for count in counts:
        point = Point("prompts_per_text", count, work, (work.fanned(size, count),))
        runs += [Run(point, ours) for ours in contenders.ours(work)]
        runs += [Run(point, rate, RATE_ROUNDS) for rate in contenders.rates(work)]
        if count in REPEATED_AT:
            runs += [Run(point, peer, 1) for peer in contenders.peers(work, "prompts_per_text")]
    return [_close_comparison("prompts per text", runs, settings)]


def _ensemble_members(contenders: Contenders, settings: EngineSettings) -> list[Comparison]:
    """Ours: the same texts answered by one prompt, or by several together."""
    counts, size = settings.points("ensemble_members"), settings.ensemble_texts
    work = _work(contenders, settings, prompts=max(*counts, settings.prompts), pool=size)
    runs = []
    for count in counts:
        point = Point("ensemble_members", count, work, (work.fanned(size, count),))
        runs += [Run(point, ours) for ours in contenders.ensembles(work)]
        runs += [Run(point, rate, RATE_ROUNDS) for rate in contenders.rates(work)]
    return [_close_comparison("prompts that answer together", runs, settings)]


def _text_lengths(contenders: Contenders, settings: EngineSettings) -> list[Comparison]:
    """As many tokens in few long texts or many short ones."""
    made = []
    for length in settings.points("text_length"):
        texts = max(1, settings.length_tokens // length)
        work = _work(contenders, settings, prompts=settings.prompts, lengths=(length,) * texts)
        point = Point("text_length", length, work, (next(work.batches(texts)),))
        runs = tuple(Run(point, each) for each in _everybody(contenders, work, "text_length"))
        title = f"text length {length}"
        made.append(Comparison(title, runs, settings.fewer_rounds, settings.seconds))
    return made


_MAKERS: Mapping[CurveName, Callable[[Contenders, EngineSettings], list[Comparison]]] = (
    MappingProxyType(
        {
            "batch_size": _batch_sizes,
            "resident_prompts": _residents,
            "prompts_per_text": _prompts_per_text,
            "ensemble_members": _ensemble_members,
            "text_length": _text_lengths,
        }
    )
)


def _everybody(contenders: Contenders, work: Workload, curve: CurveName) -> list[Contender]:
    return [*contenders.ours(work), *contenders.peers(work, curve), *contenders.rates(work)]


def _close_comparison(title: str, runs: list[Run], settings: EngineSettings) -> Comparison:
    """Grouped by contender: points of one precision are each other's neighbours in time."""
    grouped = sorted(runs, key=lambda run: run.name)
    return Comparison(title, tuple(grouped), settings.close_rounds, settings.seconds)


def _work(
    contenders: Contenders,
    settings: EngineSettings,
    *,
    prompts: int,
    pool: int = POOL,
    lengths: tuple[int, ...] = (),
) -> Workload:
    return workload(
        prompts=prompts,
        prompt_length=settings.prompt_length,
        hidden_size=contenders.hidden_size,
        vocab_size=contenders.vocab_size,
        seed=settings.seed,
        pool=pool,
        lengths=lengths,
    )
