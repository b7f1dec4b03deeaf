"""Models of other architectures from folders in the hub's layout, by the commands alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from tests.architectures import random_decoder
from tests.journeys.test_own_task import isogloss
from tests.prompts.tokenizer_cases import gemma_like, qwen_like
from tests.training.tiny import LABELS, WORDS, write_task

WORDS_OF = {"garden": "river", "kitchen": "night", "music": "bridge", "weather": "closed"}
TOKENIZERS = {"qwen3": qwen_like, "gemma3_text": gemma_like}


@pytest.fixture(scope="module", params=list(TOKENIZERS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As transformers writes it."""
    made = tmp_path_factory.mktemp("models") / f"tiny-{request.param}"
    random_decoder(request.param, 0, vocab_size=600).save_pretrained(made)
    PreTrainedTokenizerFast(
        tokenizer_object=TOKENIZERS[request.param](),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    ).save_pretrained(made)
    return made


def test_from_labelled_texts_to_an_answer(folder: Path, tmp_path: Path) -> None:
    common = ("--model", folder, "--data", write_task(tmp_path / "home"), "--device", "cpu")
    words = [part for label in LABELS for part in ("--word", f"{label}={WORDS_OF[label]}")]
    train = ("train", *common, "--task", "home", "--shots", 4, "--length", 3, "--epochs", 2)
    isogloss(*train, *words, "--seed", "0", "1", "--out", tmp_path / "out")
    prompts = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(prompts) == 2
    evaluated = isogloss(
        *("evaluate", *common, "--languages", "all", "--prompts", *prompts),
        *("--out", tmp_path / "dev.csv"),
    )
    # Nothing is known of what it read before, so `all` are all that the data has.
    assert set(evaluated["prompts"][0]["languages"]) == set(WORDS)
    isogloss(
        *("route", "--evaluations", tmp_path / "dev.csv", "--prompts", *prompts),
        *("--store", tmp_path / "store", "--min-sentences", 1),
    )
    said = isogloss(
        *("classify", "The river rose.", "La soupe, la farine.", "--task", "home"),
        *("--model", folder, "--store", tmp_path / "store", "--device", "cpu"),
    )
    assert {score["label"] for score in said["results"][1]["scores"]} == set(LABELS)
    assert said["results"][0]["language"]["known"] is None
