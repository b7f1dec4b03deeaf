"""Tokenizers are used bare: transformers' own, with everything switched off, are the oracle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, models, processors
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer, ByT5Tokenizer

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.verbalizer import verbalize
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.names import POCKET
from isogloss.prompts.model.tokenizer import Tokenizer
from tests.prompts.tokenizer_cases import (
    KINDS,
    SPECIAL,
    bloom_like,
    edit,
    load,
    random_texts,
    xglm_like,
)

WHOLE = 1_000_000
TEXT = "The river rose in the night, and the bridge was closed at 6:45."

Change = Callable[[dict[str, Any]], None]
TRUNCATION = {"direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0}
PADDING = {
    "strategy": "BatchLongest",
    "direction": "Right",
    "pad_to_multiple_of": None,
    "pad_id": 1,
    "pad_type_id": 0,
    "pad_token": "<pad>",
}
STATES: dict[str, Change] = {
    "truncated": lambda d: d.update(truncation=TRUNCATION),
    "truncated on the left": lambda d: d.update(truncation=TRUNCATION | {"direction": "Left"}),
    "with a stride": lambda d: d.update(truncation=TRUNCATION | {"stride": 2}),
    "padded to the longest": lambda d: d.update(padding=PADDING),
    "padded to a length": lambda d: d.update(padding=PADDING | {"strategy": {"Fixed": 64}}),
    "padded to a multiple": lambda d: d.update(padding=PADDING | {"pad_to_multiple_of": 8}),
    "both": lambda d: d.update(truncation=TRUNCATION, padding=PADDING),
}


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ids(tokenizer: Tokenizer, *texts: str, limit: int = WHOLE) -> list[list[int]]:
    return [list(text.ids) for text in tokenizer.encode(texts, limit)]


def oracle(wrapped: Any, *texts: str, split: bool = False) -> list[list[int]]:
    found = wrapped(
        list(texts), truncation=False, padding=False, split_special_tokens=split, verbose=False
    )
    return [list(own) for own in found["input_ids"]]


@pytest.mark.parametrize("state", sorted(STATES))
def test_what_a_file_left_switched_on_is_off(kind: str, state: str, tmp_path: Path) -> None:
    clean = Tokenizer(load(tmp_path / "clean", KINDS[kind]()))
    tokenizer = Tokenizer(load(tmp_path / "left", KINDS[kind](), STATES[state]))
    assert ids(tokenizer, "river", TEXT) == ids(clean, "river", TEXT)
    assert ids(tokenizer, "river") == ids(clean, "river")
    assert len(ids(tokenizer, TEXT)[0]) > 15
    assert not tokenizer.encode([TEXT], WHOLE)[0].truncated


def test_chance_in_a_file_is_off(tmp_path: Path) -> None:
    clean = Tokenizer(load(tmp_path / "clean", bloom_like()))
    dropping = load(tmp_path / "left", bloom_like(), lambda d: d["model"].update(dropout=0.5))
    expected = ids(clean, TEXT)
    assert len({str(oracle(dropping, TEXT)) for _ in range(20)}) > 1  # or this shows nothing
    tokenizer = Tokenizer(dropping)
    assert all(ids(tokenizer, TEXT) == expected for _ in range(20))


def test_random_texts_are_read_as_the_models_own_tokenizer_reads_them(
    kind: str, tmp_path: Path
) -> None:
    wrapped = load(tmp_path, KINDS[kind](), STATES["both"])
    texts = random_texts(seed=1, count=300)
    assert ids(Tokenizer(wrapped), *texts) == oracle(
        AutoTokenizer.from_pretrained(tmp_path), *texts
    )


@pytest.mark.parametrize("name", ["pocket-bloom", "pocket-xglm"])
def test_random_texts_under_the_pocket_models(name: str) -> None:
    texts = random_texts(seed=2, count=300)
    wrapped = AutoTokenizer.from_pretrained(POCKET / name)
    assert ids(Tokenizer(AutoTokenizer.from_pretrained(POCKET / name)), *texts) == oracle(
        wrapped, *texts
    )


def special_ids(wrapped: Any) -> set[int]:
    return {place for place, token in wrapped.added_tokens_decoder.items() if token.special}


def spelling(name: str) -> list[str]:
    return [name, f" {name}", f"{name} ", f"a{name}b", f"the {name} river", name * 3, f"<{name}>"]


@pytest.mark.parametrize("name", ["pocket-bloom", "pocket-xglm"])
def test_a_special_token_that_a_text_spells_is_text(name: str) -> None:
    wrapped = AutoTokenizer.from_pretrained(POCKET / name)
    tokenizer = Tokenizer(AutoTokenizer.from_pretrained(POCKET / name))
    special = special_ids(wrapped)
    texts = [text for own in wrapped.get_vocab() if own[0] == "<" for text in spelling(own)]
    assert len(texts) > 7 * 60
    assert ids(tokenizer, *texts) == oracle(wrapped, *texts, split=True)
    frame = set(ids(tokenizer, "")[0])
    assert all(special.isdisjoint(set(own) - frame) for own in ids(tokenizer, *texts))
    strike, other = ids(tokenizer, "<s>", "<q>")
    assert len(strike) == len(other)
    assert strike[:-2] == [*other[:-2]]


def test_special_tokens_of_any_tokenizer_are_text(kind: str, tmp_path: Path) -> None:
    wrapped = load(tmp_path, KINDS[kind]())
    tokenizer = Tokenizer(wrapped)
    texts = [text for name in SPECIAL for text in spelling(name)]
    own = [tokenizer.words(text) for text in texts]
    unknown = {wrapped.unk_token_id} if "<unk>" in wrapped.get_vocab() else set()
    assert all((special_ids(wrapped) - unknown).isdisjoint(found) for found in own)
    if kind == "bloom":
        assert own == [oracle(wrapped, text, split=True)[0] for text in texts]


def test_a_sentencepiece_reads_on_as_if_it_had_no_special_pieces(tmp_path: Path) -> None:
    """With the pieces, `<s>` would be found as the likeliest reading of its three characters."""
    whole = xglm_like()
    document = json.loads(whole.to_str())
    document["added_tokens"] = []
    document["post_processor"] = None
    for place, name in enumerate(SPECIAL):
        assert document["model"]["vocab"][place][0] == name
        document["model"]["vocab"][place][0] = f"\ue000{place}"
    expected = Backend.from_str(json.dumps(document))
    tokenizer = Tokenizer(load(tmp_path, whole))
    texts = [text for name in [*SPECIAL, "<q>"] for text in spelling(name)]
    assert [tokenizer.words(text) for text in texts] == [expected.encode(t).ids for t in texts]
    assert 0 in whole.encode("a <s> b").ids  # or this shows nothing


@pytest.mark.parametrize("kind", ["bloom", "xglm"])
def test_what_is_saved_has_the_tokens_own_names(kind: str, tmp_path: Path) -> None:
    backend = xglm_like() if kind == "xglm" else bloom_like(ignore_merges=True)
    wrapped = load(tmp_path / "model", backend)
    own = wrapped.get_vocab()
    tokenizer = Tokenizer(wrapped)
    assert tokenizer.vocabulary() == own
    assert wrapped.unk_token_id == own["<unk>"]
    tokenizer.save(tmp_path / "saved")
    model, saved = (
        json.loads((tmp_path / folder / "tokenizer.json").read_text(encoding="utf-8"))
        for folder in ("model", "saved")
    )
    assert saved == model
    again = Tokenizer(AutoTokenizer.from_pretrained(tmp_path / "saved"))
    texts = [*random_texts(seed=3, count=50), "<s> a</s>"]
    assert ids(again, *texts) == ids(tokenizer, *texts)


def test_a_vocabulary_of_whole_words_has_no_special_ones(tmp_path: Path) -> None:
    backend = bloom_like(ignore_merges=True)
    assert backend.model.tokenize("</s>")[0].id == 2  # looked up as a word
    tokenizer = Tokenizer(load(tmp_path, backend))
    assert {0, 1, 2, 3}.isdisjoint(tokenizer.words("</s><s> <pad>"))


def test_merges_that_end_in_a_special_token_are_left_out(tmp_path: Path) -> None:
    def merged(document: dict[str, Any]) -> None:
        pieces = document["model"]["vocab"]
        pieces.setdefault("s>", len(pieces))
        document["model"]["merges"] += [["s", ">"], ["<", "s>"]]

    wrapped = load(tmp_path, bloom_like(), merged)
    assert wrapped.backend_tokenizer.model.tokenize("<s>")[0].id == 0  # or this shows nothing
    tokenizer = Tokenizer(wrapped)
    assert 0 not in tokenizer.words("<s> a<s>")
    assert ids(tokenizer, TEXT) == oracle(load(tmp_path / "clean", bloom_like()), TEXT)


def test_a_token_that_was_added_as_a_word_stays_one(kind: str, tmp_path: Path) -> None:
    backend = KINDS[kind]()
    backend.add_tokens([AddedToken("<brand>", normalized=False)])
    backend.add_special_tokens([AddedToken("<sign>", special=True)])
    wrapped = load(tmp_path, backend, STATES["both"])
    tokenizer = Tokenizer(wrapped)
    (brand, sign) = wrapped.convert_tokens_to_ids(["<brand>", "<sign>"])
    assert brand in tokenizer.words("the <brand> river")
    assert sign not in tokenizer.words("the <sign> river")


def test_calling_the_wrapped_tokenizer_changes_nothing(tmp_path: Path) -> None:
    tokenizer = Tokenizer(load(tmp_path, bloom_like()))
    before = ids(tokenizer, "<s>", TEXT)
    tokenizer.wrapped(["<s>", TEXT])
    assert ids(tokenizer, "<s>", TEXT) == before


def test_a_tokenizer_of_python_code_is_used_bare_as_well() -> None:
    wrapped: Any = ByT5Tokenizer(model_max_length=5)
    tokenizer = Tokenizer(wrapped)
    (found,) = tokenizer.encode(["a river <pad>"], 100)
    assert found.ids == (*(byte + 3 for byte in b"a river <pad>"), 1)  # ByT5 ends with </s>
    assert ids(tokenizer, "a river", limit=4) == [[ord("a") + 3, ord(" ") + 3, ord("r") + 3, 1]]


def test_what_stands_behind_a_text_is_not_cut_off(tmp_path: Path) -> None:
    backend = bloom_like()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    wrapped = load(tmp_path, backend)
    tokenizer = Tokenizer(wrapped)
    assert ids(tokenizer, TEXT, "") == oracle(wrapped, TEXT, "")
    (cut,) = tokenizer.encode([TEXT], 10)
    assert list(cut.ids) == wrapped(TEXT, truncation=True, max_length=10)["input_ids"]
    assert cut.truncated


def test_a_label_word_is_text_too(tmp_path: Path) -> None:
    tokenizer = Tokenizer(load(tmp_path, bloom_like()))
    assert tokenizer.first_token("<s>") == tokenizer.first_token("<q>")
    labels = verbalize(["yes", "no"], tokenizer, {"yes": "river", "no": "night"})
    assert all(label.token_id not in range(len(SPECIAL)) for label in labels)
    with pytest.raises(InvalidData, match="both begin with token"):
        verbalize(["yes", "no"], tokenizer, {"yes": "<s>", "no": "</s>"})


def pocket_copy(folder: Path, change: Change) -> Path:
    shutil.copytree(POCKET / "pocket-bloom", folder)
    edit(folder, change)
    return folder


def test_a_model_with_left_over_state_is_the_same_model(tmp_path: Path) -> None:
    changed = pocket_copy(tmp_path / "model", STATES["both"])
    clean = Backbone.load("pocket-bloom", device="cpu")
    backbone = Backbone.load(str(changed), device="cpu")
    assert backbone.fingerprint == clean.fingerprint
    backbone.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "tokenizer.json").read_text(encoding="utf-8"))
    assert (saved["truncation"], saved["padding"]) == (None, None)
    again = Backbone.load(str(tmp_path / "saved"), device="cpu")
    assert again.fingerprint == clean.fingerprint


def test_unknown_characters_are_unknown_still(tmp_path: Path) -> None:
    wordlevel = Backend(models.WordLevel({"<unk>": 0, "river": 1, "<pad>": 2}, "<unk>"))
    wordlevel.add_special_tokens(["<unk>", "<pad>", "<s>", "</s>"])
    tokenizer = Tokenizer(load(tmp_path, wordlevel))
    assert tokenizer.words("sea") == [0]
    assert tokenizer.words("<pad>") == [0]
    assert tokenizer.words("river") == [1]


STARTS = {"bloom": [], "xglm": [2], "gemma": [0], "llama": [0], "qwen": []}


def test_texts_begin_as_the_model_wants(kind: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer(load(tmp_path, KINDS[kind]()))
    assert list(tokenizer.start) == STARTS[kind]
    (found,) = ids(tokenizer, TEXT)
    assert found[: len(STARTS[kind])] == STARTS[kind]
    assert found[len(STARTS[kind]) :] == tokenizer.words(TEXT)


@pytest.mark.parametrize("word", ["river", "night", "bridge", "мост", "河水", "zebra"])
def test_a_word_begins_as_it_goes_on_behind_another(kind: str, word: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer(load(tmp_path, KINDS[kind]()))
    first = tokenizer.first_token(word)
    if kind == "xglm" and word == "zebra":
        assert first is None  # its vocabulary has no z
        return
    assert first is not None
    before, whole = tokenizer.words("the"), tokenizer.words(f"the {word}")
    assert whole[: len(before)] == before
    spaces = [token for token in whole[len(before) :] if tokenizer.wrapped.decode([token]).strip()]
    assert first[0] == spaces[0]
