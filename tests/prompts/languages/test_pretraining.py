"""What a model says it read; whom to believe where it says nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.languages.pretraining import (
    FILE,
    HARDLY_KNOWN_BELOW,
    pretraining_of,
    read_pretraining,
)
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.names import pocket_models
from tests.some import some
from tests.training.tiny import save_tiny

GOOD: dict[str, Any] = {"format": 1, "source": "a sentence", "shares": {"en": 1.0, "swh_Latn": 0.2}}


def written(folder: Path, text: str) -> Path:
    path = folder / FILE
    path.write_text(text, encoding="utf-8")
    return path


def test_a_model_says_what_it_read_in_codes_of_any_standard(tmp_path: Path) -> None:
    found = read_pretraining(written(tmp_path, json.dumps(GOOD | {"hardly_known_below": 0.3})))
    assert (found.source, found.known("eng_Latn"), found.known("swh_Latn")) == (
        "a sentence",
        1.0,
        0.2,
    )
    assert found.known("tha_Thai") == 0.0
    assert found.hardly_knows("swh_Latn")
    assert not found.hardly_knows("eng_Latn")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "Invalid JSON"),
        (json.dumps(GOOD | {"format": 2}), "format"),
        (json.dumps(GOOD | {"shares": {"eng_Latn": 1.5}}), "shares.eng_Latn"),
        (json.dumps(GOOD | {"shares": {"eng_Latn": -0.1}}), "shares.eng_Latn"),
        (json.dumps(GOOD | {"shares": {"eng_Latn": float("nan")}}), "shares.eng_Latn"),
        (json.dumps(GOOD | {"shares": {"eng_Latn": "1"}}), "shares.eng_Latn"),
        (json.dumps(GOOD | {"shares": {}}), "shares"),
        (json.dumps(GOOD | {"source": ""}), "source"),
        (json.dumps(GOOD | {"more": 1}), "more"),
        (" " * ((1 << 20) + 1), "over 1 MB"),
    ],
)
def test_a_file_that_is_none_is_refused_by_field(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidData, match=FILE) as refused:
        read_pretraining(written(tmp_path, text))
    assert says in str(refused.value)


def test_real_models_are_told_by_their_vocabularies() -> None:
    bloom, xglm = pretraining_of(None, "bloom", 250_880), pretraining_of(None, "xglm", 256_008)
    assert bloom is not None
    assert xglm is not None
    assert (bloom.source, xglm.source) == ("ROOTS", "CC100-XL")
    assert bloom.known("eng_Latn") == xglm.known("eng_Latn") == 1.0
    assert bloom.known("kan_Knda") > HARDLY_KNOWN_BELOW > bloom.known("swh_Latn")
    assert bloom.known("deu_Latn") == 0.0 < xglm.known("deu_Latn")
    assert pretraining_of(None, "bloom", 1000) is None


def test_a_folders_own_word_counts_more_than_its_vocabulary(tmp_path: Path) -> None:
    written(tmp_path, json.dumps(GOOD))
    found = pretraining_of(tmp_path, "bloom", 250_880)
    assert found is not None
    assert found.known("swh_Latn") == 0.2


def test_saying_what_was_read_changes_no_fingerprint(tmp_path: Path) -> None:
    save_tiny("bloom", tmp_path / "tiny")
    before = Backbone.load(str(tmp_path / "tiny"), device="cpu")
    written(tmp_path / "tiny", json.dumps(GOOD))
    after = Backbone.load(str(tmp_path / "tiny"), device="cpu")
    assert before.fingerprint == after.fingerprint
    assert before.pretraining is None
    assert after.pretraining is not None


def test_pocket_bloom_hardly_knows_the_languages_bloom_never_read() -> None:
    found = read_pretraining(pocket_models()["pocket-bloom"] / FILE)
    real = pretraining_of(None, "bloom", 250_880)
    assert real is not None
    assert found.known("eng_Latn") == 1.0
    for code in some(found.shares):
        assert found.hardly_knows(code) == (real.known(code) == 0.0), code


def test_pocket_xglm_knows_all_its_languages_alike() -> None:
    found = read_pretraining(pocket_models()["pocket-xglm"] / FILE)
    assert set(some(found.shares.values())) == {1.0}
