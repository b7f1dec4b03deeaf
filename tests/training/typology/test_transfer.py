"""Table 1: how transfer goes with likeness, checked on the paper's own accuracies."""

from __future__ import annotations

import pytest

from isogloss.training.study.paper import paper_accuracies
from isogloss.training.study.reproduction import Recomputed, paper_geography, recomputed
from isogloss.training.typology.transfer import (
    MEASURES,
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


@pytest.fixture(scope="module")
def cells() -> list[Recomputed]:
    return recomputed()


def accuracy(model: str, setting: str) -> dict[str, float]:
    column = paper_accuracies(model, "full" if setting == "full" else "frozen")
    return {code: cell.percent / 100 for code, cell in column.items()}


def misses(cells: list[Recomputed], metric: str, family: str = "") -> list[float]:
    chosen = [c for c in cells if c.metric == metric and c.model.startswith(family)]
    return [cell.ours - cell.printed for cell in chosen]


def test_all_of_table_1_is_recomputed(cells: list[Recomputed]) -> None:
    assert len(cells) == 4 * 2 * 7


def test_xglms_correlation_with_data_is_the_printed_one(cells: list[Recomputed]) -> None:
    assert misses(cells, "DATA", "xglm") == pytest.approx([0] * 4, abs=5.1e-5)


def test_blooms_correlation_with_data_is_near_the_printed_one(cells: list[Recomputed]) -> None:
    assert all(0.013 < miss < 0.019 for miss in misses(cells, "DATA", "bloom"))


def test_genetic_correlations_are_near_the_printed_ones(cells: list[Recomputed]) -> None:
    assert all(-0.03 < miss < 0 for miss in misses(cells, "GEN"))


def test_inventory_correlations_are_near_the_printed_ones(cells: list[Recomputed]) -> None:
    assert misses(cells, "INV", "bloom") == pytest.approx([0] * 4, abs=0.03)
    assert misses(cells, "INV", "xglm") == pytest.approx([0] * 4, abs=0.11)


def test_geographic_correlations_are_printed_with_three_languages_misplaced(
    cells: list[Recomputed],
) -> None:
    chosen = [cell for cell in cells if cell.metric == "GEO"]
    assert len(chosen) == 8
    for cell in chosen:
        assert cell.as_paper_read == pytest.approx(cell.printed, abs=5.1e-5), cell
        assert 0.01 < cell.ours - cell.printed < 0.25


def test_the_rest_differs_by_no_more_than_is_stated(cells: list[Recomputed]) -> None:
    for metric, most in (("PHON", 0.27), ("SYN", 0.28), ("FEA", 0.32)):
        chosen = [cell for cell in cells if cell.metric == metric]
        assert 0.2 < max(abs(cell.ours - abs(cell.printed)) for cell in chosen) < most


def test_the_papers_geography_rounds_and_misplaces_three() -> None:
    nearness = {"fra_Latn": 0.97, "zho_Hans": 0.59, "deu_Latn": None, "eng_Latn": 1.0}
    assert paper_geography(nearness) == {
        "fra_Latn": 1.0,
        "zho_Hans": 0.0,
        "deu_Latn": None,
        "eng_Latn": 1.0,
    }


def test_rows_are_table_1s_columns_with_their_intervals(cells: list[Recomputed]) -> None:
    rows = transfer_correlations(accuracy("bloom-560m", "full"), "eng_Latn", "bloom")
    ours = {c.metric: c.ours for c in cells if (c.model, c.setting) == ("bloom-560m", "full")}
    assert tuple(row.metric for row in rows) == MEASURES
    for row in rows:
        assert row.r == pytest.approx(ours[row.metric])
        assert row.low is not None
        assert row.high is not None
        assert row.low < ours[row.metric] < row.high
        assert (row.languages, row.note) == (38, "")
    assert [row.origin for row in rows[:2]] == ["ROOTS", "lang2vec 1.1.2, vectors"]


def test_each_row_tells_how_much_hangs_on_the_source_language() -> None:
    whole = accuracy("bloom-560m", "full")
    rows = {r.metric: r for r in transfer_correlations(whole, "eng_Latn", "bloom")}
    inventory = rows["INV"]
    assert inventory.r == pytest.approx(0.388, abs=0.001)
    assert inventory.without_source == pytest.approx(0.182, abs=0.001)
    others = {code: value for code, value in whole.items() if code != "eng_Latn"}
    alone = {r.metric: r for r in transfer_correlations(others, "eng_Latn", "bloom")}
    assert alone["INV"].r == inventory.without_source


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
    rows = {r.metric: r for r in freezing_differences(frozen, full, "eng_Latn", "bloom")}
    assert tuple(rows) == MEASURES
    data = rows["DATA"]
    assert (data.full, data.frozen) == pytest.approx((0.6974, 0.5009), abs=1e-4)
    assert data.low is not None
    assert data.low > 0
    assert freezing_differences(frozen, full, "eng_Latn", "bloom")[0] == data


def test_another_source_language_has_its_own_distances() -> None:
    scores = accuracy("bloom-560m", "frozen")
    french = {r.metric: r.r for r in transfer_correlations(scores, "fra_Latn", "bloom")}
    english = {r.metric: r.r for r in transfer_correlations(scores, "eng_Latn", "bloom")}
    assert french["DATA"] == english["DATA"]
    assert french["SYN"] != english["SYN"]
