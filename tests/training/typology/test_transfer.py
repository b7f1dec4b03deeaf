"""Table 1: how transfer goes with likeness, checked on the paper's own accuracies."""

from __future__ import annotations

import pytest

from isogloss.prompts.languages.pretraining_data import Architecture
from isogloss.training.study.paper import paper_accuracies, paper_correlation
from isogloss.training.study.results import SETTINGS, Setting
from isogloss.training.typology.transfer import (
    MEASURES,
    TransferCorrelation,
    freezing_differences,
    transfer_correlations,
)
from isogloss.training.typology.uriel import ENVIRONMENT
from tests.some import some


@pytest.fixture(autouse=True, scope="module")
def _no_copy_of_uriel() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(ENVIRONMENT, raising=False)
        yield


def accuracy(model: str, setting: str) -> dict[str, float]:
    column = paper_accuracies(model, "full" if setting == "full" else "frozen")
    return {code: cell.percent / 100 for code, cell in column.items()}


MODELS: dict[str, Architecture] = {
    "bloom-560m": "bloom",
    "bloom-1b1": "bloom",
    "xglm-564M": "xglm",
    "xglm-1.7B": "xglm",
}


@pytest.fixture(scope="module")
def cells() -> list[tuple[str, Setting, TransferCorrelation]]:
    """All of Table 1, recomputed from Table 4."""
    return [
        (model, setting, row)
        for model, architecture in MODELS.items()
        for setting in SETTINGS
        for row in transfer_correlations(accuracy(model, setting), "eng_Latn", architecture)
    ]


def misses(
    cells: list[tuple[str, Setting, TransferCorrelation]], metric: str, family: str = ""
) -> list[float]:
    """By how much each correlation is above the printed one; a printed sign may be a misprint."""
    return [
        row.r - (abs(printed) if metric == "FEA" else printed)
        for model, setting, row in cells
        if row.metric == metric and model.startswith(family)
        for printed in (paper_correlation(model, setting, metric),)
        if row.r is not None and printed is not None
    ]


@pytest.mark.parametrize(
    ("metric", "family", "low", "high"),
    [
        ("DATA", "xglm", -5.1e-5, 5.1e-5),  # the printed digits
        ("DATA", "bloom", 0.013, 0.019),
        ("GEN", "", -0.03, 0),
        ("GEO", "", 0.01, 0.25),
        ("INV", "bloom", -0.03, 0.03),
        ("INV", "xglm", -0.11, 0.11),
        ("PHON", "", -0.27, 0.27),
        ("SYN", "", -0.28, 0.28),
        ("FEA", "", -0.32, 0.32),
    ],
)
def test_table_1_follows_from_table_4_as_far_as_is_stated(
    cells: list[tuple[str, Setting, TransferCorrelation]],
    metric: str,
    family: str,
    low: float,
    high: float,
) -> None:
    found = misses(cells, metric, family)
    assert len(found) == (4 if family else 8)
    assert all(low < miss < high for miss in found)


def test_rows_are_table_1s_columns_with_their_intervals() -> None:
    rows = transfer_correlations(accuracy("bloom-560m", "full"), "eng_Latn", "bloom")
    assert tuple(row.metric for row in rows) == MEASURES
    for row in rows:
        assert row.r is not None
        assert row.low is not None
        assert row.high is not None
        assert row.low < row.r < row.high
        assert (row.languages, row.note) == (38, "")
    assert [row.origin for row in rows[:2]] == ["ROOTS", "lang2vec 1.1.2, vectors"]


def test_each_row_tells_how_much_hangs_on_the_source_language() -> None:
    whole = accuracy("bloom-560m", "full")
    rows = {r.metric: r for r in transfer_correlations(whole, "eng_Latn", "bloom")}
    inventory = rows["INV"]
    assert inventory.r == pytest.approx(0.388, abs=0.001)
    assert inventory.r_without_source == pytest.approx(0.182, abs=0.001)
    others = {code: value for code, value in whole.items() if code != "eng_Latn"}
    alone = {r.metric: r for r in transfer_correlations(others, "eng_Latn", "bloom")}
    assert alone["INV"].r == inventory.r_without_source


def test_languages_without_a_value_are_left_out_by_name() -> None:
    scores = {**accuracy("xglm-564M", "frozen"), "nqo_Nkoo": 0.2}
    rows = {r.metric: r for r in transfer_correlations(scores, "eng_Latn", "xglm")}
    assert rows["GEN"].note == rows["DATA"].note == "left out, no value: nqo_Nkoo"
    assert (rows["GEN"].languages, rows["SYN"].languages) == (30, 31)


def test_a_model_trained_on_other_data_has_no_correlation_with_it() -> None:
    row = transfer_correlations(accuracy("bloom-560m", "full"), "eng_Latn", None)[0]
    assert (row.metric, row.r, row.languages) == ("DATA", None, 0)
    assert "not counted" in row.origin


def test_three_languages_make_no_table() -> None:
    few = {"eng_Latn": 0.8, "fra_Latn": 0.7, "yor_Latn": 0.3}
    for row in some(transfer_correlations(few, "eng_Latn", "bloom")):
        assert row.r is None
        assert "needs 4" in row.note


def test_freezing_weakens_the_papers_correlations_with_data() -> None:
    frozen, full = (accuracy("bloom-1b1", setting) for setting in ("frozen", "full"))
    rows = freezing_differences(frozen, full, "eng_Latn", "bloom")
    assert tuple(rows) == MEASURES
    data = rows["DATA"]
    assert (data.first, data.second) == pytest.approx((0.6974, 0.5009), abs=1e-4)
    assert data.low is not None
    assert data.low > 0
    assert freezing_differences(frozen, full, "eng_Latn", "bloom")["DATA"] == data


def test_another_source_language_has_its_own_distances() -> None:
    scores = accuracy("bloom-560m", "frozen")
    french = {r.metric: r.r for r in transfer_correlations(scores, "fra_Latn", "bloom")}
    english = {r.metric: r.r for r in transfer_correlations(scores, "eng_Latn", "bloom")}
    assert french["DATA"] == english["DATA"]
    assert french["SYN"] != english["SYN"]
