"""The tables that figures and findings read: a class each, a field for a column of the CSV."""

from __future__ import annotations

from dataclasses import dataclass

from isogloss.training.study.estimates import Interval, Verdict
from isogloss.training.study.results import Setting
from isogloss.training.typology.distances import PublishedDifference


@dataclass(frozen=True, slots=True)
class LanguageRow:
    """table4.csv: one language in one setting, over seeds."""

    language: str
    name: str
    family: str
    group: str
    setting: Setting
    seeds: int
    mean_percent: float
    std_points: float | None
    paper_percent: float | None
    paper_std_points: float | None


@dataclass(frozen=True, slots=True)
class GainRow:
    """table4_freezing.csv: frozen minus unfrozen in one language, seed by seed."""

    language: str
    name: str
    family: str
    seeds: int
    gain_points: float
    low_points: float | None
    high_points: float | None
    paper_gain_points: float | None


@dataclass(frozen=True, slots=True)
class MeanRow:
    """figure2.csv, figure3.csv, figure4.csv: the mean over languages, over seeds.

    The paper's mean is over the languages that it shares with this study.
    """

    setting: Setting
    shots: int
    length: int
    languages: int
    seeds: int
    mean_percent: float
    std_points: float | None
    low_percent: float | None
    high_percent: float | None
    paper_percent: float | None
    paper_languages: int | None


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """figure5.csv: what reparameterization does to one language.

    Points are residual minus plain, seed by seed; percent is the same relative to plain's mean.
    """

    language: str
    name: str
    family: str
    group: str
    seeds: int
    plain_percent: float
    residual_percent: float
    change_points: float
    low_points: float | None
    high_points: float | None
    change_percent: float | None  # None: plain's accuracy is zero
    low_percent: float | None
    high_percent: float | None

    @property
    def change(self) -> Interval:
        """In points."""
        return Interval(self.change_points, self.low_points, self.high_points, self.seeds)


@dataclass(frozen=True, slots=True)
class CorrelationRow:
    """table1.csv: how transfer goes with one measure of likeness (or with data), in one setting."""

    setting: Setting
    metric: str
    r: float | None
    low: float | None
    high: float | None
    languages: int
    r_without_source: float | None
    paper_r: float | None
    origin: str  # where the measure's values came from
    note: str


@dataclass(frozen=True, slots=True)
class WeakeningRow:
    """table1_freezing.csv: by how much freezing weakens one correlation (full minus frozen)."""

    metric: str
    weaker_by: float | None
    low: float | None
    high: float | None
    languages: int
    paper_weaker_by: float | None
    note: str


@dataclass(frozen=True, slots=True)
class CostRow:
    """section4.csv: what a prompt costs beside all of the model's weights."""

    cost: str
    unit: str
    frozen: int
    full: int  # the model's own number where no unfrozen run was made
    frozen_share_percent: float


@dataclass(frozen=True, slots=True)
class FindingRow:
    """findings.csv: what this study shows, beside what the paper says.

    The estimate's 95 % interval decides the verdict; an empty verdict: the paper says nothing.
    """

    part: str
    finding: str
    estimate: float | None
    low: float | None
    high: float | None
    unit: str
    n: int  # seeds, languages or measures that the estimate is over
    verdict: Verdict | None
    sentence: str
    paper: str


@dataclass(frozen=True, slots=True)
class BesideRow:
    """beside.csv: mean accuracy over languages in this study and in another one.

    The difference is this study's minus the other's, seed by seed, with its interval over seeds.
    """

    part: str
    runs: str
    seeds: int  # in both studies
    percent: float
    other_percent: float
    difference_points: float
    low_points: float | None
    high_points: float | None


@dataclass(frozen=True, slots=True)
class StudyTables:
    """Every table of a study; one is empty where its part was not asked for or lacks runs."""

    table4: tuple[LanguageRow, ...] = ()
    table4_freezing: tuple[GainRow, ...] = ()
    figure2: tuple[MeanRow, ...] = ()
    figure3: tuple[MeanRow, ...] = ()
    figure4: tuple[MeanRow, ...] = ()
    figure5: tuple[ChangeRow, ...] = ()
    table1: tuple[CorrelationRow, ...] = ()
    table1_freezing: tuple[WeakeningRow, ...] = ()
    table1_distances: tuple[PublishedDifference, ...] = ()
    section4: tuple[CostRow, ...] = ()
    findings: tuple[FindingRow, ...] = ()
    beside: tuple[BesideRow, ...] = ()  # only where another study was named
    time_findings: tuple[FindingRow, ...] = ()  # apart, for they are another's next time
