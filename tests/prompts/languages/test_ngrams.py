"""Hashed n-grams and scripts: each text alone, whatever its neighbours and its punctuation."""

from __future__ import annotations

import numpy as np
import pytest

from isogloss.prompts.languages import ngrams
from isogloss.prompts.languages import scripts as writing

TEXTS = ["Straße", "", "two words", "\0nul\0", "文字 と kana", "\ud800", "a" * 3000, "ŋ, ɔ!"]


def _slots(text: str) -> np.ndarray:
    return ngrams.extract([text]).slots


def test_a_batch_is_its_texts_end_to_end() -> None:
    batch = ngrams.extract(TEXTS)
    assert len(batch.starts) == len(TEXTS) + 1
    for text, start, stop in zip(TEXTS, batch.starts, batch.starts[1:], strict=False):
        np.testing.assert_array_equal(batch.slots[start:stop], _slots(text))


def test_slots_are_in_range_and_markers_have_none() -> None:
    batch = ngrams.extract(TEXTS)
    assert batch.slots.min() == -1
    assert batch.slots.max() < 1 << ngrams.SLOT_BITS
    assert (batch.slots[batch.starts[:-1]] == -1).all()


@pytest.mark.parametrize("same", ["ÉTÉ, chaud!", "  été   chaud ", "e\u0301te\u0301 (chaud) 42"])
def test_case_spacing_punctuation_and_composition_do_not_matter(same: str) -> None:
    np.testing.assert_array_equal(_slots(same), _slots("été chaud"))


def test_words_are_hashed_whole_wherever_they_stand() -> None:
    first, second = _slots("chat noir")[:, ngrams.ORDERS], _slots("un noir")[:, ngrams.ORDERS]
    shared = set(first[first >= 0]) & set(second[second >= 0])
    assert len(shared) == 1
    assert (first >= 0).sum() == (second >= 0).sum() == 2


def test_different_orders_do_not_share_slots() -> None:
    row = _slots("aaaaaaaa")[2]  # every order sees nothing but the same letter
    assert len(set(row[: ngrams.ORDERS].tolist())) == ngrams.ORDERS


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("hello", "Latn"),
        ("Ọjọ́", "Latn"),
        ("привет hi", "Cyrl"),
        ("漢字", "Hani"),
        ("漢字と仮名", "Kana"),
        ("ⵜⴰⵎⴰⵣⵉⵖⵜ", "Tfng"),
        ("12 😀 —", ""),
        ("", ""),
    ],
)
def test_the_main_script_of_a_text(text: str, script: str) -> None:
    assert writing.NAMES[ngrams.extract([text]).scripts[0]] == script


def test_every_script_of_the_table_can_be_written() -> None:
    from isogloss.prompts.languages.languages import languages

    allowed = writing.candidates([entry.script for entry in languages().values()])
    assert allowed.any(axis=0).all()
    assert not allowed[writing.NONE].any()
