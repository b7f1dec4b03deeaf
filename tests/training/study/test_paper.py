"""The paper's printed numbers, and which of its four models a model is."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import fmean

import pytest

from isogloss.prompts.languages.languages import languages
from isogloss.training.study.paper import (
    MODEL_NAMES,
    PaperAccuracy,
    freezing_gain_points,
    paper_accuracies,
    paper_correlation,
    paper_model,
)
from isogloss.training.study.results import SETTINGS, Setting
from isogloss.training.typology.transfer import MEASURES
from tests.some import some


@pytest.mark.parametrize(
    ("model", "full", "frozen"),
    [
        ("bloom-560m", 35.94, 43.10),
        ("bloom-1b1", 30.98, 51.54),
        ("xglm-564M", 67.86, 73.88),
        ("xglm-1.7B", 75.78, 77.75),
    ],
)
def test_means_over_the_languages_of_table_4(model: str, full: float, frozen: float) -> None:
    for setting, mean in ((SETTINGS[1], full), (SETTINGS[0], frozen)):
        column = paper_accuracies(model, setting)
        assert fmean(cell.percent for cell in column.values()) == pytest.approx(mean, abs=0.0051)
    assert freezing_gain_points(model) == pytest.approx(frozen - full, abs=0.01)


def test_table_4_has_the_languages_of_each_family_of_models() -> None:
    for model in some(MODEL_NAMES):
        for setting in some(SETTINGS):
            codes = set(paper_accuracies(model, setting))
            assert len(codes) == (38 if model.startswith("bloom") else 30)
            entries = [languages()[code] for code in codes]
            assert all(e.in_bloom if model.startswith("bloom") else e.in_xglm for e in entries)


def test_single_cells() -> None:
    assert paper_accuracies("xglm-564M", "frozen")["deu_Latn"] == PaperAccuracy(76.23, 4.67)
    assert "deu_Latn" not in paper_accuracies("bloom-560m", "frozen")
    assert paper_accuracies("pocket-bloom", "frozen") == {}
    assert paper_correlation("bloom-560m", "full", "DATA") == 0.6781
    assert paper_correlation("bloom-1b1", "full", "FEA") == -0.4685  # as printed
    assert paper_correlation("pocket-bloom", "full", "FEA") is None


def test_table_1_is_whole() -> None:
    for model in some(MODEL_NAMES):
        for setting in some(SETTINGS):
            for metric in some(MEASURES):
                assert paper_correlation(model, setting, metric) is not None


def test_both_tables_are_those_beside_the_project(paper_languages: Path) -> None:
    with (paper_languages.parent / "table4.csv").open(encoding="utf-8", newline="") as rows:
        for row in some(csv.DictReader(rows)):
            cell = PaperAccuracy(float(row["accuracy_percent"]), float(row["std_percent"]))
            assert paper_accuracies(row["model"], _setting(row))[row["flores_code"]] == cell
    with (paper_languages.parent / "table1.csv").open(encoding="utf-8", newline="") as rows:
        for row in some(csv.DictReader(rows)):
            for metric in some(MEASURES):
                assert paper_correlation(row["model"], _setting(row), metric) == float(row[metric])


def _setting(row: dict[str, str]) -> Setting:
    return "full" if row["setting"] == "full" else "frozen"


@pytest.mark.parametrize(
    ("model", "architecture", "hidden_size", "expected"),
    [
        ("bigscience/bloom-560m", "bloom", 1024, "bloom-560m"),
        ("bigscience/bloom-1b1", "bloom", 1536, "bloom-1b1"),
        ("facebook/xglm-564M", "xglm", 1024, "xglm-564M"),
        ("facebook/xglm-1.7B", "xglm", 2048, "xglm-1.7B"),
        ("bloom-560m", "bloom", 1024, "bloom-560m"),  # a full-size configuration
        ("xglm-564m", "xglm", 1024, "xglm-564M"),
        ("bigscience/bloomz-560m", "bloom", 1024, None),
        ("someone/bloom-560m", "bloom", 1024, None),
        ("pocket-bloom", "bloom", 256, None),
        ("facebook/xglm-7.5B", "xglm", 4096, None),
        ("bigscience/bloom-560m", "bloom", 64, None),  # a test's stand-in under that name
    ],
)
def test_which_model_it_is(
    model: str, architecture: str, hidden_size: int, expected: str | None
) -> None:
    assert paper_model(model, architecture, hidden_size) == expected


def test_a_local_copy_counts_by_its_shape(tmp_path: Path) -> None:
    assert paper_model(str(tmp_path), "bloom", 1536) == "bloom-1b1"
    assert paper_model(str(tmp_path), "xglm", 1536) is None
