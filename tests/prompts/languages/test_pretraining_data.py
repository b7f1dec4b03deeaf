"""The committed sizes of BLOOM's and XGLM's pretraining data."""

from __future__ import annotations

import pytest

from isogloss.prompts.languages.languages import languages
from isogloss.prompts.languages.pretraining_data import corpus_sizes, pretraining_sizes

PROGRAMMING_LANGUAGES = 174_700_245_772  # the last row of the BLOOM paper's Table 1, in bytes


def test_every_language_that_a_model_was_trained_on_has_a_size() -> None:
    known = languages().values()
    assert set(pretraining_sizes("bloom")) == {entry.code for entry in known if entry.in_bloom}
    assert set(pretraining_sizes("xglm")) == {entry.code for entry in known if entry.in_xglm}


def test_every_number_names_its_source_and_unit() -> None:
    units = {"ROOTS": "bytes", "CC100-XL": "tokens"}
    for row in corpus_sizes():
        assert row.unit == units[row.corpus]
        assert row.source
        assert row.size > 0
    assert len({(row.corpus, row.code) for row in corpus_sizes()}) == 46 + 30


def test_roots_comes_to_its_1_61_terabytes() -> None:
    total = sum(pretraining_sizes("bloom").values()) + PROGRAMMING_LANGUAGES
    assert round(total / 1e12, 2) == 1.61


@pytest.mark.parametrize(
    ("code", "share"),
    [
        ("eng_Latn", 0.489906),
        ("zho_Hans", 0.0809494),
        ("swh_Latn", 5.53307e-4),
        ("quy_Latn", 1.97304e-6),
    ],
)
def test_shares_of_cc100_xl_are_those_of_the_model_card(code: str, share: float) -> None:
    sizes = pretraining_sizes("xglm")
    assert sizes[code] / sum(sizes.values()) == pytest.approx(share, rel=2e-6)
