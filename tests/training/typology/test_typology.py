"""Six distances between languages, beside what URIEL publishes."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import pytest
from numpy.typing import NDArray

from isogloss.prompts.errors import Unavailable
from isogloss.prompts.languages.languages import languages
from isogloss.training.typology.distances import (
    FROM_VECTORS,
    METRICS,
    PUBLISHED,
    Distances,
    Metric,
    distances,
    published_differences,
)
from isogloss.training.typology.lang2vec_vectors import data_folder, locate
from isogloss.training.typology.uriel import ENVIRONMENT
from tests.some import some


@pytest.fixture(autouse=True)
def _no_copy_of_uriel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


def one(metric: Metric, source: str, code: str) -> float | None:
    return distances(source, [code])[metric][code]


@pytest.fixture(scope="module")
def from_english() -> Distances:
    return distances("eng_Latn", [code for code, entry in languages().items() if entry.in_bloom])


def test_genetic_and_geographic_distances_are_uriels_to_every_digit_published() -> None:
    exact = [row for row in published_differences() if row.metric in ("GEN", "GEO")]
    assert len(exact) == 4
    for row in exact:
        assert round(row.ours, 4) == row.published, row


def test_the_others_differ_from_uriels_by_what_is_stated() -> None:
    rows = {(row.metric, row.first, row.second): row for row in published_differences()}
    assert set(rows) == set(PUBLISHED)
    stated = {
        ("SYN", "eng", "fra"): -0.27,
        ("SYN", "frr", "dan"): -0.53,
        ("SYN", "frr", "deu"): -0.52,
        ("SYN", "dan", "deu"): -0.40,
        ("INV", "frr", "dan"): -0.54,
        ("PHON", "frr", "dan"): 0.00,
        ("FEA", "frr", "dan"): -0.94,
    }
    for (metric, first, second), difference in stated.items():
        row = rows[metric, first, second]  # type: ignore[index]
        assert row.difference == pytest.approx(row.ours - row.published)
        assert row.difference == pytest.approx(difference, abs=0.006), row


def test_every_distance_is_between_0_and_1_and_0_to_itself(from_english: Distances) -> None:
    for metric in some(METRICS):
        values = from_english[metric]
        assert values["eng_Latn"] == pytest.approx(0, abs=1e-12)
        others = some(value for code, value in values.items() if code != "eng_Latn")
        assert all(value is not None and 0 < value <= 1 for value in others), metric


def test_distances_are_the_same_both_ways(from_english: Distances) -> None:
    back = distances("hin_Deva", ["eng_Latn"])
    for metric in some(METRICS):
        assert back[metric]["eng_Latn"] == pytest.approx(from_english[metric]["hin_Deva"])


def test_relatives_and_neighbours_are_nearer(from_english: Distances) -> None:
    for metric in some(METRICS):
        near, far = from_english[metric]["por_Latn"], from_english[metric]["yor_Latn"]
        assert near is not None
        assert far is not None
        assert near < far, metric


def test_an_isolate_shares_no_ancestor_with_anybody() -> None:
    assert one("GEN", "eng_Latn", "eus_Latn") == 1
    assert one("GEN", "eus_Latn", "eus_Latn") == 0


def test_a_language_filed_under_its_macrolanguage_has_that_lineage() -> None:
    # Akan's eight clades are Twi's too; the languages themselves differ: 1 - 8/9.
    assert one("GEN", "aka_Latn", "twi_Latn") == pytest.approx(1 / 9)


def test_a_relatives_lineage_is_not_made_the_languages_own() -> None:
    # lang2vec has features and a place for N'Ko, but it is in no tree: only a relative is.
    nqo = distances("eng_Latn", ["nqo_Nkoo"])
    assert nqo["GEN"]["nqo_Nkoo"] is None
    assert nqo["FEA"]["nqo_Nkoo"] is None
    assert nqo["SYN"]["nqo_Nkoo"] == pytest.approx(0.405, abs=0.001)


def test_a_language_nobody_knows_has_no_distance() -> None:
    unknown = distances("eng_Latn", ["zzz_Latn"])
    assert [unknown[metric]["zzz_Latn"] for metric in METRICS] == [None] * 6
    assert [distances("zzz_Latn", ["eng_Latn"])[m]["eng_Latn"] for m in METRICS] == [None] * 6


def test_it_says_where_the_numbers_come_from(from_english: Distances) -> None:
    assert set(from_english.origin.values()) == {FROM_VECTORS}


def test_places_are_found_though_the_fixed_points_are_named_by_whole_degrees() -> None:
    random = np.random.default_rng(0)
    places, points = (_directions(random.normal(size=(count, 3))) for count in (60, 40))
    to_points = np.arccos(np.clip(places @ points.T, -1, 1)) / np.pi
    to_points[7] = random.uniform(size=40)  # a language that is nowhere
    roughly = _directions(points + random.normal(scale=0.005, size=points.shape))
    found = locate(to_points.round(4), roughly)
    assert np.isnan(found[7]).all()
    there = [row for row in range(60) if row != 7]
    cosines = found[there] @ found[there].T
    assert cosines == pytest.approx(places[there] @ places[there].T, abs=2e-4)


def _directions(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def test_without_lang2vec_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(Unavailable, match=r"pip install 'isogloss\[study\]'"):
        data_folder()
