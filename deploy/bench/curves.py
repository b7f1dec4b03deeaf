"""The contests behind the curves: who reads which batch, in whose company.

A point is a place on a curve, an entry one player at one point, a contest the entries that take
turns. What is to be compared closely is one contest: all numbers of residents, all numbers of
prompts a text. Batch sizes and text lengths have a contest each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from math import gcd
from types import MappingProxyType
from typing import Protocol

from isogloss.deploy.bench.engine_settings import CurveName, EngineSettings
from isogloss.deploy.bench.players import Player, Players
from isogloss.deploy.bench.texts import POOL, Batch, Workload, workload

# transformers reads a text once for each prompt: it is asked at these numbers of prompts alone.
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
        """What every entry of the point reads in a round."""
        return self.batches[round_ % len(self.batches)]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One player at one point, in all rounds or in the first few."""

    point: Point
    player: Player
    at_most: int | None = None

    def tokens(self, round_: int) -> int:
        """That must be read in a round, texts and prompts."""
        return self.point.work.tokens(self.point.batch(round_))

    def operations(self, round_: int) -> int:
        """The player's, in a round."""
        return self.player.operations(self.point.batch(round_))


@dataclass(frozen=True, slots=True)
class Contest:
    """Entries that take turns: `least` rounds, more until they have taken `seconds`."""

    title: str
    entries: tuple[Entry, ...]
    least: int
    seconds: float

    @property
    def points(self) -> list[Point]:
        """Each once, in order."""
        return list(dict.fromkeys(entry.point for entry in self.entries))


def contests(players: Players, settings: EngineSettings) -> list[Contest]:
    """All that is measured of one model, curve by curve."""
    return [found for curve in settings.curves for found in _MAKERS[curve](players, settings)]


def _batch_sizes(players: Players, settings: EngineSettings) -> list[Contest]:
    """Everybody; the headline's batch size longest."""
    work = _work(players, settings, prompts=settings.prompts)
    everybody = [*players.ours(work), players.transformers(work), *players.peft(work)]
    everybody += players.rates(work)
    found = []
    for size in settings.places("batch_size"):
        count = len(work.texts) // gcd(len(work.texts), size)  # then they come round again
        point = Point("batch_size", size, work, tuple(islice(work.batches(size), count)))
        least = settings.rounds if size == settings.headline_batch else settings.fewer_rounds
        if size > settings.headline_batch:  # takes long and says little more
            least = 1
        entries = tuple(Entry(point, player) for player in everybody)
        found.append(Contest(f"batch size {size}", entries, least, settings.seconds))
    return found


def _residents(players: Players, settings: EngineSettings) -> list[Contest]:
    """Ours: the same texts under prompts drawn from few or many."""
    places, size = settings.places("resident_prompts"), settings.resident_batch
    whole = _work(players, settings, prompts=max(places), pool=size)
    entries = []
    for count in places:
        work = whole.resident(count)
        point = Point("resident_prompts", count, work, (work.drawn(size, settings.seed),))
        entries += [Entry(point, own) for own in players.ours(work)]
    entries += [Entry(entries[0].point, rate, RATE_ROUNDS + 1) for rate in players.rates(whole)]
    return [_close_contest("resident prompts", entries, settings)]


def _prompts_per_text(players: Players, settings: EngineSettings) -> list[Contest]:
    """Ours: the same texts under one prompt or several; transformers where it bears it."""
    places, size = settings.places("prompts_per_text"), settings.fanned_texts
    work = _work(players, settings, prompts=max(*places, settings.prompts), pool=size)
    entries = []
    for count in places:
        point = Point("prompts_per_text", count, work, (work.fanned(size, count),))
        entries += [Entry(point, own) for own in players.ours(work)]
        entries += [Entry(point, rate, RATE_ROUNDS) for rate in players.rates(work)]
        if count in REPEATED_AT:
            entries.append(Entry(point, players.transformers(work), 1))
    return [_close_contest("prompts per text", entries, settings)]


def _text_lengths(players: Players, settings: EngineSettings) -> list[Contest]:
    """Ours and transformers: as many tokens in few long texts or many short ones."""
    found = []
    for length in settings.places("text_length"):
        texts = max(1, settings.length_tokens // length)
        work = _work(players, settings, prompts=settings.prompts, lengths=(length,) * texts)
        point = Point("text_length", length, work, (next(work.batches(texts)),))
        everybody = [*players.ours(work), players.transformers(work), *players.rates(work)]
        entries = tuple(Entry(point, player) for player in everybody)
        title = f"text length {length}"
        found.append(Contest(title, entries, settings.fewer_rounds, settings.seconds))
    return found


class _Maker(Protocol):
    def __call__(self, players: Players, settings: EngineSettings) -> list[Contest]: ...


_MAKERS: Mapping[CurveName, _Maker] = MappingProxyType(
    {
        "batch_size": _batch_sizes,
        "resident_prompts": _residents,
        "prompts_per_text": _prompts_per_text,
        "text_length": _text_lengths,
    }
)


def _close_contest(title: str, entries: list[Entry], settings: EngineSettings) -> Contest:
    """Grouped by player: points of one precision are each other's neighbours in time."""
    grouped = sorted(entries, key=lambda entry: entry.player.name)
    return Contest(title, tuple(grouped), settings.close_rounds, settings.seconds)


def _work(
    players: Players,
    settings: EngineSettings,
    *,
    prompts: int,
    pool: int = POOL,
    lengths: tuple[int, ...] = (),
) -> Workload:
    return workload(
        prompts=prompts,
        prompt_length=settings.prompt_length,
        hidden_size=players.hidden_size,
        vocab_size=players.vocab_size,
        seed=settings.seed,
        pool=pool,
        lengths=lengths,
    )
