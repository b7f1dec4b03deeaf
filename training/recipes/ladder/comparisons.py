"""What routes gain on test: by rung, way, clade, pretraining text and language; and by alpha."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from isogloss.training.data.clades import name_of
from isogloss.training.recipes.ladder.pooling import Interval, Paired, intervals, levels, pooled
from isogloss.training.recipes.ladder.rungs import Rung
from isogloss.training.recipes.ladder.ways import WAYS, Chosen, choose_way
from isogloss.training.selection.evidence import Evidence
from isogloss.training.selection.gains import Group

SINGLE, UNIVERSAL = "best single prompt", "universal prompt"
POOLED = "pooled"
_STEP = 0.1  # of alpha, that slopes are told for


@dataclass(frozen=True, slots=True)
class Measured:
    """A rung, what dev chose for it by way, and every candidate's answers on test."""

    rung: Rung
    chosen: Mapping[str, Chosen]
    test: Evidence

    def paired(self, way: str, over: str) -> Paired:
        """Routes against one prompt everywhere."""
        chosen = self.chosen[way]
        single = chosen.single if over == SINGLE else chosen.universal
        return Paired.of(self.test, chosen.routed, dict.fromkeys(self.test.languages, single))


def choose_all(rung: Rung) -> dict[str, Chosen]:
    """What dev chooses by every way."""
    dev = rung.evidence(rung.dev())
    return {way: choose_way(rung, dev, way) for way in WAYS}


@dataclass(frozen=True, slots=True)
class Point:
    """Where a number stands: rungs that are pooled, or one."""

    architecture: str
    alpha: float
    which: str  # "pooled", "seed0", ..., "ship", "even-today"
    seeds: int


@dataclass(frozen=True, slots=True)
class GainRecord:
    """One row of gains.csv, clades.csv, amounts.csv or languages.csv; 95 % intervals in points."""

    architecture: str
    alpha: float
    which: str
    seeds: int
    way: str
    over: str
    level: str
    name: str
    code: str  # of a language
    known: float  # mean pretraining text of the languages, of the best-fed one's
    languages: int
    moved: float  # of them, that do not get the one prompt; a mean over pooled rungs
    other_percent: float
    routed_percent: float
    gain_points: float
    low: float
    high: float
    low_together: float
    high_together: float


def points(measured: Sequence[Measured]) -> Iterator[tuple[Point, list[Measured]]]:
    """Every rung by itself, and those that differ in pretraining seed only together."""
    seeded: dict[tuple[str, float], list[Measured]] = {}
    for each in measured:
        rung = each.rung
        yield Point(rung.architecture, rung.alpha, rung.which, 1), [each]
        if rung.seeded:
            seeded.setdefault((rung.architecture, rung.alpha), []).append(each)
    for (architecture, alpha), together in sorted(seeded.items(), key=lambda item: item[0]):
        yield Point(architecture, alpha, POOLED, len(together)), together


def gain_records(measured: Sequence[Measured]) -> list[GainRecord]:
    """Of every point, way, comparison and group of languages."""
    return [
        record
        for point, together in points(measured)
        for way in WAYS
        for over in (SINGLE, UNIVERSAL)
        for record in _records(point, together, way, over)
    ]


def _records(
    point: Point, together: Sequence[Measured], way: str, over: str
) -> Iterator[GainRecord]:
    known = together[0].rung.known
    paired = pooled([each.paired(way, over) for each in together])
    groups = levels(paired.evidence, known)
    for group, found in zip(groups, intervals(paired, groups), strict=True):
        yield _record(point, way, over, group, paired, known, found)


def _record(
    point: Point,
    way: str,
    over: str,
    group: Group,
    paired: Paired,
    known: Mapping[str, float],
    found: Interval,
) -> GainRecord:
    one = group.level == "language"
    codes = paired.evidence.languages
    return GainRecord(
        point.architecture,
        point.alpha,
        point.which,
        point.seeds,
        way,
        over,
        group.level,
        name_of(group.codes[0]) if one else group.name,
        group.codes[0] if one else "",
        fmean(known.get(code, 0.0) for code in group.codes),
        len(group.codes),
        sum(paired.moved[codes.index(code)] for code in group.codes),
        found.other_percent,
        found.percent,
        found.points,
        found.low,
        found.high,
        found.low_together,
        found.high_together,
    )


@dataclass(frozen=True, slots=True)
class SlopeRecord:
    """One row of slopes.csv: how a gain changes with alpha, in points for 0.1 more."""

    architecture: str
    way: str
    over: str
    rungs: int
    slope_points: float
    low: float
    high: float


def slope_records(measured: Sequence[Measured]) -> list[SlopeRecord]:
    """Least squares over the ladder's rungs, which the articles drawn are shared by."""
    return [
        SlopeRecord(architecture, way, over, len(rungs), found.points, found.low, found.high)
        for architecture, rungs in by_architecture(measured).items()
        for way in WAYS
        for over in (SINGLE, UNIVERSAL)
        if len({each.rung.alpha for each in rungs}) > 1
        for found in [slope(rungs, [each.paired(way, over) for each in rungs])]
    ]


def slope(rungs: Sequence[Measured], paired: Sequence[Paired]) -> Interval:
    """The slope of a mean over all languages."""
    alphas = [each.rung.alpha for each in rungs]
    around = [alpha - fmean(alphas) for alpha in alphas]
    spread = sum(value * value for value in around)
    sloping = pooled(paired, [_STEP * value / spread for value in around])
    group = Group("overall", "all languages", sloping.evidence.languages)
    return intervals(sloping, [group])[0]


def by_architecture(measured: Iterable[Measured]) -> dict[str, list[Measured]]:
    """The ladder's own rungs."""
    found: dict[str, list[Measured]] = {}
    for each in measured:
        if each.rung.seeded:
            found.setdefault(each.rung.architecture, []).append(each)
    return found
