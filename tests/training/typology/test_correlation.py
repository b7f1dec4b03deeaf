"""Correlations over languages with their intervals, and paired differences between two."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from isogloss.training.typology.correlation import MIN_LANGUAGES, compare, correlate

CODES = [f"l{number:02}" for number in range(30)]


def by_code(values: object) -> dict[str, float | None]:
    return dict(zip(CODES, np.asarray(values, float).tolist(), strict=False))


@pytest.fixture
def noisy() -> tuple[dict[str, float | None], dict[str, float | None]]:
    random = np.random.default_rng(1)
    x = random.normal(size=30)
    return by_code(x), by_code(0.7 * x + random.normal(size=30))


def test_r_and_its_interval_are_pearsons_and_fishers(
    noisy: tuple[dict[str, float | None], dict[str, float | None]],
) -> None:
    x, y = noisy
    found = correlate(x, y)
    columns = [[each[code] or 0 for code in CODES] for each in noisy]
    r = float(np.asarray(np.corrcoef(columns))[0, 1])
    reach = NormalDist().inv_cdf(0.975) / math.sqrt(30 - 3)
    assert found.r == pytest.approx(r)
    assert found.low == pytest.approx(math.tanh(math.atanh(r) - reach))
    assert found.high == pytest.approx(math.tanh(math.atanh(r) + reach))
    assert (found.languages, found.note) == (30, "")


def test_languages_are_matched_by_code_whatever_their_order(
    noisy: tuple[dict[str, float | None], dict[str, float | None]],
) -> None:
    x, y = noisy
    shuffled = dict(reversed(list(y.items())))
    assert correlate(x, shuffled) == correlate(x, y)
    assert correlate(y, x).r == pytest.approx(correlate(x, y).r)


def test_languages_without_both_values_are_left_out(
    noisy: tuple[dict[str, float | None], dict[str, float | None]],
) -> None:
    x, y = noisy
    holes = {**x, CODES[0]: None, CODES[1]: math.nan, "only": 1.0}
    fewer = {code: value for code, value in y.items() if code != CODES[2]}
    kept = {code: x[code] for code in CODES[3:]}
    assert correlate(holes, fewer) == correlate(kept, y)
    assert correlate(holes, fewer).languages == 27


@pytest.mark.parametrize("count", range(MIN_LANGUAGES))
def test_too_few_languages_have_no_correlation(count: int) -> None:
    found = correlate(by_code(range(count)), by_code(range(count)))
    assert (found.r, found.low, found.high, found.languages) == (None, None, None, count)
    assert found.note == f"{count} languages have both values; a correlation needs 4"


def test_a_constant_has_no_correlation() -> None:
    for x, y in ((range(9), [0.25] * 9), ([0.25] * 9, range(9))):
        found = correlate(by_code(x), by_code(y))
        assert found.r is None
        assert found.note == "one of the two is the same for every language"
    assert compare(by_code(range(9)), by_code(range(9)), by_code([1] * 9)).difference is None


def test_a_perfect_correlation_has_no_doubt() -> None:
    found = correlate(by_code(range(9)), by_code(range(9)))
    assert found.r == pytest.approx(1)
    assert found.low == pytest.approx(1)


def test_four_languages_leave_it_open() -> None:
    found = correlate(by_code([1, 2, 3, 4]), by_code([1, 3, 2, 4]))
    assert found.r == pytest.approx(0.8)
    assert found.low is not None
    assert found.low < -0.6


def test_a_clear_weakening_is_told_from_none() -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=30)
    strong, weak = x + 0.2 * random.normal(size=30), 0.2 * x + random.normal(size=30)
    found = compare(by_code(x), by_code(strong), by_code(weak))
    assert found.first is not None
    assert found.second is not None
    assert found.difference == pytest.approx(found.first - found.second)
    assert found.low is not None
    assert found.low > 0
    back = compare(by_code(x), by_code(weak), by_code(strong))
    assert back.high is not None
    assert back.high < 0
    same = compare(by_code(x), by_code(strong), by_code(strong + 0.1 * random.normal(size=30)))
    assert same.low is not None
    assert same.high is not None
    assert same.low < 0 < same.high


def test_pairing_makes_the_interval_narrow() -> None:
    """Two settings that share their languages' noise differ by little, however weak both are."""
    random = np.random.default_rng(3)
    x, shared = random.normal(size=(2, 30))
    first = x + 2 * shared
    second = first + 0.1 * random.normal(size=30)
    found = compare(by_code(x), by_code(first), by_code(second))
    alone = correlate(by_code(x), by_code(first))
    assert found.low is not None
    assert found.high is not None
    assert alone.low is not None
    assert alone.high is not None
    assert found.high - found.low < (alone.high - alone.low) / 4


def test_the_seed_alone_decides_the_resamples(
    noisy: tuple[dict[str, float | None], dict[str, float | None]],
) -> None:
    x, y = noisy
    other = by_code(np.random.default_rng(4).normal(size=30))
    assert compare(x, y, other, seed=3) == compare(x, y, other, seed=3)
    assert compare(x, y, other, seed=3) != compare(x, y, other, seed=4)


def test_two_settings_that_are_the_same_do_not_differ() -> None:
    x, y = by_code(range(9)), by_code([3, 1, 4, 1, 5, 9, 2, 6, 5])
    found = compare(x, y, y)
    assert (found.difference, found.low, found.high) == (0, 0, 0)


def test_where_resamples_are_constant_there_is_no_interval_and_no_warning() -> None:
    x = by_code([0, 0, 0, 1])
    found = compare(x, by_code([1, 2, 3, 9]), by_code([2, 1, 3, 4]))
    assert found.difference is not None
    assert (found.low, found.high) == (None, None)
    assert found.note == "too few distinct values for an interval"
