"""Estimators of the study where the truth is known: intervals that hold it, tests that hold 5 %."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from numpy.typing import NDArray

from isogloss.training.data.labelled import Example
from isogloss.training.study.contrasts import contrast, crossed, difference_of, mean_of
from isogloss.training.study.evidence import Questions, Score, StudyFolder
from isogloss.training.study.interaction import FamilyDifference, family_difference
from isogloss.training.study.results import StudyRun
from isogloss.training.study.rows import FindingRow
from isogloss.training.study.tables import study_tables
from tests.training.study_samples import FEW, run, study

Table = NDArray[np.float64]
WORLDS = 1000
SEEDS, ARTICLES = 4, 60
SIZES = (15, 8, 6, 5, 4, 3, 2, 2)  # languages of each family, about as in the paper's 52
FAMILIES = [f"family {place}" for place, size in enumerate(SIZES) for _ in range(size)]


class TestSeedsByArticles:
    @pytest.mark.parametrize(
        ("of_seeds", "of_articles", "of_both"), [(3, 1, 3), (1, 8, 8), (1, 1, 10), (2, 0, 3)]
    )
    def test_the_interval_holds_the_truth_95_times_in_100(
        self, of_seeds: float, of_articles: float, of_both: float
    ) -> None:
        chance = np.random.default_rng(7)
        held = 0
        for _ in range(WORLDS):
            table = 5 + of_seeds * chance.normal(size=(SEEDS, 1))
            table = table + of_articles * chance.normal(size=(1, ARTICLES))
            table = table + of_both * chance.normal(size=(SEEDS, ARTICLES))
            interval = crossed(table)
            assert interval.low is not None
            assert interval.high is not None
            held += interval.low <= 5 <= interval.high
        assert 0.93 <= held / WORLDS <= 0.975

    def test_articles_alike_leave_students_interval_over_seeds(self) -> None:
        table = np.repeat([[1.0], [2.0], [3.0], [4.0]], 9, axis=1)
        interval = crossed(table)
        assert (interval.mean, interval.n) == (2.5, 4)
        assert interval.high == pytest.approx(2.5 + 3.182446 * 1.2909944 / 2)

    def test_articles_that_differ_widen_it(self) -> None:
        alike, apart = np.zeros((2, 4)), np.tile([-6.0, -2.0, 2.0, 6.0], (2, 1))
        assert (crossed(alike).low, crossed(alike).high) == (0, 0)
        found = crossed(apart)
        assert found.low is not None
        assert found.low == pytest.approx(-3.182446 * 5.1639778 / 2)  # Student's over articles

    def test_one_seed_has_no_interval(self) -> None:
        assert crossed(np.ones((1, 5))).low is None

    def test_a_contrast_takes_the_seeds_that_all_its_parts_have(self) -> None:
        ours = [_run(seed, [seed, seed + 2]) for seed in (0, 1, 2)]
        other = [_run(seed, [0, 1]) for seed in (1, 2, 3)]
        found = difference_of(ours, other, ["eng_Latn"])
        assert found is not None
        assert found.n == 2
        assert found.mean == pytest.approx(100 * (fmean((2, 3)) - 0.5))
        assert mean_of(ours, ["eng_Latn"]).mean == pytest.approx(200)
        assert contrast([(1, ours[:1]), (-1, other)], ["eng_Latn"]) is None


def _run(seed: int, by_article: list[float]) -> StudyRun:
    return replace(run(FEW[:1], seed, 100), by_article={"eng_Latn": by_article})


class TestArticles:
    def test_translations_and_neighbours_are_one_unit(self, tmp_path: Path) -> None:
        def asked(code: str, *ids: str) -> Questions:
            return Questions(code, "test", tuple(Example(each, "art", each) for each in ids))

        questions = (asked("eng_Latn", "4", "5", "90"), asked("fra_Latn", "5", "90", "200"))
        folder = StudyFolder(tmp_path, {}, questions, ("art",))
        assert folder.articles == {"4": 0, "5": 0, "90": 1, "200": 2}

    def test_a_score_spread_over_articles_has_its_mean(self) -> None:
        right, articles = [True, False, True, True, False], [0, 0, 0, 1, 2]
        score = Score.of(right, articles, 4)  # the last article has no sentence in this language
        assert score.accuracy == 0.6
        assert fmean(score.by_article) == pytest.approx(0.6)
        assert score.by_article[3] == 0.6
        assert score.by_article[2] < 0.6 < score.by_article[1]


def _effects(chance: np.random.Generator, between: float, moved: float, own: float) -> Table:
    """(seeds, articles, languages): a seed, and an article, may move a whole family."""
    families = np.repeat(np.arange(len(SIZES)), SIZES)
    languages = len(families)
    total = 3 * chance.normal(size=(SEEDS, 1, 1))  # what a seed does to every language
    total = total + 20 * chance.normal(size=(1, ARTICLES, 1))
    total = total + (between * chance.normal(size=len(SIZES)))[families]
    total = total + own * chance.normal(size=languages)
    total = total + moved * chance.normal(size=(SEEDS, 1, len(SIZES)))[..., families]
    total = total + 5 * moved * chance.normal(size=(1, ARTICLES, len(SIZES)))[..., families]
    total = total + chance.normal(size=(SEEDS, 1, languages))
    return np.asarray(total + 15 * chance.normal(size=(SEEDS, ARTICLES, languages)))


def _found(chance: np.random.Generator, *spreads: float) -> FamilyDifference:
    found = family_difference(_effects(chance, *spreads), FAMILIES)
    assert found is not None
    return found


class TestFamilies:
    @pytest.mark.parametrize(("moved", "own"), [(0, 1), (1, 1), (2, 0), (0, 3)])
    def test_where_none_differ_it_rejects_5_times_in_100(self, moved: float, own: float) -> None:
        """Also where seeds and articles move whole families, which makes them look different."""
        chance = np.random.default_rng(11)
        rejected = sum(_found(chance, 0, moved, own).p < 0.05 for _ in range(WORLDS))
        assert 0.015 <= rejected / WORLDS <= 0.07

    @pytest.mark.parametrize("between", [2.0, 4.0])
    def test_the_interval_holds_the_truth_95_times_in_100(self, between: float) -> None:
        chance = np.random.default_rng(13)
        worlds = [_found(chance, between, 1, 1) for _ in range(WORLDS)]
        held = fmean(world.low <= between <= world.high for world in worlds)
        assert 0.93 <= held <= 0.985
        assert fmean(world.std for world in worlds) == pytest.approx(between, rel=0.1)
        assert fmean(world.p < 0.05 for world in worlds) > 0.7  # the test's power

    def test_what_a_seed_does_to_all_languages_drops_out(self) -> None:
        effects = _effects(np.random.default_rng(1), 2, 1, 1)
        first = family_difference(effects, FAMILIES)
        moved = effects + np.array([50.0, -10.0, 0.0, 3.0])[:, None, None]
        second = family_difference(moved, FAMILIES)
        assert first is not None
        assert second is not None
        assert second.std == pytest.approx(first.std)
        assert second.p == pytest.approx(first.p)

    def test_single_languages_do_not_count(self) -> None:
        effects = _effects(np.random.default_rng(2), 2, 1, 1)
        alone = np.full((SEEDS, ARTICLES, 1), 1000.0)
        both = np.concatenate([effects, alone], axis=-1)
        assert family_difference(both, [*FAMILIES, "alone"]) == family_difference(effects, FAMILIES)

    def test_where_there_is_nothing_to_tell_apart(self) -> None:
        effects = _effects(np.random.default_rng(3), 2, 1, 1)
        assert family_difference(effects[:1], FAMILIES) is None
        assert family_difference(effects[..., :15], FAMILIES[:15]) is None
        found = family_difference(np.zeros_like(effects), FAMILIES)
        assert found is not None
        assert (found.std, found.low, found.high, found.p) == (0, 0, 0, 1)


class TestTrend:
    def test_a_slope_is_points_per_doubling(self) -> None:
        doublings = {1: 0, 2: 1, 4: 2, 16: 4}
        runs = [
            run(FEW, s, 100 - 3 * x, length=k, noise=lambda s, p: p - 25)
            for k, x in doublings.items()
            for s in range(3)
        ]
        row = _trend(runs)
        assert row.estimate == pytest.approx(-100 * 3 / 204)
        assert row.low == pytest.approx(row.estimate)
        assert "From 1 to 16 tokens, each doubling" in row.sentence
        assert row.verdict == "agrees"

    def test_the_slope_lies_in_its_interval_95_times_in_100(self) -> None:
        """Each seed has a level and a slope of its own."""
        chance = np.random.default_rng(17)
        held = fmean(_holds(chance, -1.5) for _ in range(300))
        assert 0.92 <= held <= 0.98


def _holds(chance: np.random.Generator, slope: float) -> bool:
    level, own = 5 * chance.normal(size=4), 2 * chance.normal(size=4)
    runs = [
        _run_at(s, 2**x, 50 + level[s] + (slope + own[s]) * x) for x in range(4) for s in range(4)
    ]
    row = _trend(runs)
    assert row.low is not None
    assert row.high is not None
    return row.low <= slope <= row.high


def _run_at(seed: int, length: int, percent: float) -> StudyRun:
    share = percent / 100
    return replace(
        run(FEW[:1], seed, 100, length=length),
        accuracy={"eng_Latn": share},
        by_article={"eng_Latn": [share] * 3},
    )


def _trend(runs: list[StudyRun]) -> FindingRow:
    tables = study_tables(study(runs, parts=("figure4",)))
    return next(row for row in tables.findings if row.finding == "trend over length")
