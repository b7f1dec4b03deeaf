"""The pocket models: their recipe end to end on made-up text, and the folders that ship."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.recipes.pocket.batches import Batch, batches
from isogloss.training.recipes.pocket.corpus import build_corpus, rows_in
from isogloss.training.recipes.pocket.data import LANGUAGES, Meaning, read_meanings
from isogloss.training.recipes.pocket.diet import shares
from isogloss.training.recipes.pocket.embedding import embed_tokens
from isogloss.training.recipes.pocket.job import train_pocket_model
from isogloss.training.recipes.pocket.recipe import ARCHITECTURES, Recipe
from isogloss.training.recipes.pocket.teacher import Teacher, by_source, choose_meanings, teach
from isogloss.training.recipes.pocket.tokenizer import (
    LABEL_WORDS,
    for_architecture,
    learn_tokenizer,
)
from tests.training.recipes.made_up import CPU, recipe, teacher, write_text

SHIPPED = Path(__file__).parents[3] / "prompts" / "pocket"
NAMES = ("pocket-bloom", "pocket-xglm")
TOPIC_WORDS = ("science", "travel", "politics", "sports", "health", "entertainment", "geography")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("data"))


def test_reads_meanings_without_labels_or_held_out_text(data: Path) -> None:
    meanings = read_meanings(data)
    sources = [meaning.source for meaning in meanings]
    assert {source: sources.count(source) for source in sources} == {
        "sib200": 40,
        "ntrex": 40,
        "tatoeba": 30,
        "wordnet": 60,
    }
    assert not any("forbidden" in text for m in meanings for t in m.texts.values() for text in t)
    assert all(meaning.topics == () for meaning in meanings if meaning.source == "sib200")
    assert next(m for m in meanings if m.source == "wordnet").topics == ("animal", "sports")


@pytest.fixture(scope="session")
def meanings(data: Path) -> list[Meaning]:
    return read_meanings(data)


@pytest.fixture(scope="session")
def tokenizer(meanings: list[Meaning]) -> Tokenizer:
    return learn_tokenizer(meanings, 900, shares(recipe("pocket-bloom")))


def test_tokenizer_knows_label_words_and_starts_texts_as_the_architectures_do(
    tokenizer: Tokenizer,
) -> None:
    assert all(len(tokenizer.encode(word).ids) == 1 for word in LABEL_WORDS)
    bloom = for_architecture(tokenizer, "bloom").encode("Sports and  health")
    xglm = for_architecture(tokenizer, "xglm").encode("Sports and  health")
    assert xglm.ids == [tokenizer.token_to_id("</s>"), *bloom.ids]
    assert bloom.tokens[0] == "Ġsports"
    assert tokenizer.encode("").ids == []


def test_the_richest_meanings_are_chosen(meanings: list[Meaning]) -> None:
    chosen = choose_meanings(meanings, recipe("pocket-bloom"))
    assert np.bincount(by_source(chosen)).tolist() == [80, 50, 20]
    assert [meaning.document != "" for meaning in chosen[:81]] == [True] * 80 + [False]


def test_the_teacher_reads_each_block_once(meanings: list[Meaning], tmp_path: Path) -> None:
    read: list[str] = []

    def counting() -> Teacher:
        def count(texts: Sequence[str]) -> NDArray[np.float32]:
            read.extend(texts)
            return teacher()(texts)

        return count

    chosen = choose_meanings(meanings, recipe("pocket-bloom"))
    vectors = teach(chosen, counting, tmp_path)
    assert len(read) == len(chosen) == len(vectors)
    assert np.array_equal(teach(chosen, counting, tmp_path), vectors)
    assert len(read) == len(chosen)
    assert read[0] == chosen[0].texts["eng_Latn"][0]
    assert read[80].startswith(f"{chosen[80].lemmas['eng_Latn'][0]}: ")


def test_tokens_of_any_language_add_up_to_the_teachers_vector(
    meanings: list[Meaning], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    chosen = choose_meanings(meanings, recipe("pocket-bloom"))
    corpus = build_corpus(tokenizer, chosen)
    taught, source = teach(chosen, teacher, tmp_path), by_source(chosen)
    vectors = embed_tokens(corpus, taught, source, 16, seed=0)
    again = embed_tokens(corpus, taught, source, 16, seed=0)
    assert np.array_equal(again.tokens, vectors.tokens)
    assert vectors.basis.T @ vectors.basis == pytest.approx(np.eye(16), abs=1e-5)

    def sentence(meaning: int, code: str) -> NDArray[np.float32]:
        rows = rows_in(corpus, meaning, LANGUAGES.index(code))
        mean: NDArray[np.float32] = vectors.tokens[corpus.text(int(rows[0]))].mean(axis=0)
        return mean / np.linalg.norm(mean)

    wolof = np.stack([sentence(meaning, "wol_Latn") for meaning in range(40)])
    nearest = np.argmax(wolof @ vectors.meanings[:40].T, axis=1)
    assert np.mean(nearest == np.arange(40)) > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_training_ends_in_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def train(work: str, *, resume: bool) -> Path:
        out = tmp_path / f"{work}-out"
        train_pocket_model(
            recipe(name), data, out, tmp_path / work, CPU, teacher=teacher, resume=resume
        )
        return out / name

    def stopping(*given: Any) -> Iterator[Batch]:
        if given[2] == 2:  # the third chunk of data: after two checkpoints
            raise KeyboardInterrupt
        return batches(*given)

    whole = train("whole", resume=False)
    with monkeypatch.context() as patched:
        patched.setattr("isogloss.training.recipes.pocket.pretrain.batches", stopping)
        with pytest.raises(KeyboardInterrupt):
            train("parts", resume=False)
    folder = train("parts", resume=True)
    assert (folder / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.model_type == name.removeprefix("pocket-")
    ids = tokenizer("Sports", return_tensors="pt").input_ids
    assert ids.shape == (1, 2 if name == "pocket-xglm" else 1)
    assert torch.isfinite(model(ids).logits).all()
    assert "90 steps" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("architecture", ARCHITECTURES[2:])
def test_other_architectures_are_trained_and_read_as_well(
    data: Path, tmp_path: Path, architecture: str
) -> None:
    short = recipe(f"pocket-{architecture}", steps=4, hidden=32, alpha=0.15)
    train_pocket_model(short, data, tmp_path, tmp_path / "w", CPU, teacher=teacher, resume=False)
    model = Backbone.load(str(tmp_path / short.name))  # which compares its answers with ours
    assert model.architecture == architecture
    assert model.tokenizer.start == ((0,) if architecture in ("gemma3_text", "llama") else ())
    # Gemma's rows are scaled up by the root of the hidden size, and the others' are as they are.
    read = model.embed(range(500)).norm(dim=1).mean().item()
    assert read == pytest.approx(32**0.5 if architecture == "gemma3_text" else 0.32, rel=0.3)


def test_a_name_of_no_architecture_is_refused() -> None:
    with pytest.raises(InvalidInput, match="name is 'pocket-t5'; give pocket-, one of bloom, xglm"):
        Recipe("pocket-t5")


def test_too_little_text_for_the_vocabulary_is_refused(data: Path, tmp_path: Path) -> None:
    large = recipe("pocket-bloom", vocabulary=20_000)
    with pytest.raises(InvalidInput, match="tokens, fewer than the model's 20000; give all four"):
        train_pocket_model(large, data, tmp_path, tmp_path, CPU, teacher=teacher, resume=False)


@pytest.fixture(scope="module", params=NAMES)
def shipped(request: pytest.FixtureRequest) -> Path:
    folder: Path = SHIPPED / request.param
    return folder


def test_shipped_folders_are_small_together() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) <= 40_000_000


def test_shipped_model_loads_and_answers(shipped: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = AutoModelForCausalLM.from_pretrained(shipped)
    tokenizer = AutoTokenizer.from_pretrained(shipped)
    batch = tokenizer("The match ended in a draw.", return_tensors="pt")
    logits = model(**batch).logits
    assert model.dtype == torch.float16
    assert logits.shape == (1, batch.input_ids.shape[1], len(tokenizer))
    assert torch.isfinite(logits).all()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_shipped_label_words_are_single_tokens(shipped: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shipped)
    ids = [tokenizer(f" {word}", add_special_tokens=False).input_ids for word in LABEL_WORDS]
    assert {len(tokens) for tokens in ids} == {1}
    assert set(TOPIC_WORDS) <= set(LABEL_WORDS)


def test_shipped_tokenizers_start_texts_as_their_architectures_do(shipped: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shipped)
    bare = tokenizer("Sports", add_special_tokens=False).input_ids
    added = [tokenizer.eos_token_id] if shipped.name == "pocket-xglm" else []
    assert tokenizer("Sports").input_ids == [*added, *bare]


def test_shipped_model_reads_left_padded_like_alone(shipped: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(shipped, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(shipped, padding_side="left")
    batch = tokenizer(["Sports", "The match ended in a draw."], return_tensors="pt", padding=True)
    if shipped.name == "pocket-xglm":
        positions = (batch.attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        padded = model(**batch, position_ids=positions).logits[0, -1]
    else:
        padded = model(**batch).logits[0, -1]
    alone = model(**tokenizer("Sports", return_tensors="pt")).logits[0, -1]
    assert torch.allclose(padded, alone, atol=1e-3)
