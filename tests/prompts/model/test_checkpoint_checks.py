"""Checkpoints whose parts do not go together are refused when they are loaded, and why is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import processors
from torch import Tensor
from transformers import AutoModelForCausalLM

from isogloss.prompts.errors import InvalidInput, IsoglossError, NotFound
from isogloss.prompts.format.verbalizer import verbalize
from isogloss.prompts.model.backbone import Backbone, label_log_probs
from tests.models import ARCHITECTURES, VOCABULARY, oracle_log_probs
from tests.prompts.model.test_loading import byte_tokenizer, hub_folder
from tests.prompts.tokenizer_cases import edit
from tests.some import some

LAYERS = {"bloom": "n_layer", "xglm": "num_layers"}
TABLE = {"bloom": "transformer.word_embeddings.weight", "xglm": "model.embed_tokens.weight"}


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(architecture: str, tmp_path: Path) -> Path:
    return hub_folder(tmp_path / "model", architecture, seed=1)[0]


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def refusal(folder: Path, kind: type[IsoglossError] = InvalidInput) -> str:
    with pytest.raises(kind) as caught:
        Backbone.load(str(folder), device="cpu")
    return str(caught.value)


def add_tokens(folder: Path, tokens: Mapping[str, int], *, special: bool = False) -> None:
    def change(document: dict[str, Any]) -> None:
        for content, place in tokens.items():
            if document["model"]["vocab"].get(content) != place:
                document["model"]["vocab"][content] = place
            flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            document["added_tokens"].append(
                {"id": place, "content": content, "special": special, **flags}
            )

    edit(folder, change)


def test_a_token_without_a_row_is_named_with_both_sizes(folder: Path) -> None:
    add_tokens(folder, {"<model>": VOCABULARY - 1, "<brand>": VOCABULARY, "<make>": VOCABULARY + 6})
    said = refusal(folder)
    assert "'<brand>'" in said
    assert f"(id {VOCABULARY})" in said
    assert f"vocabulary has {VOCABULARY + 7} tokens" in said
    assert f"table {VOCABULARY} rows" in said
    assert f"resize_token_embeddings({VOCABULARY + 7})" in said


def test_holes_in_the_vocabulary_are_no_tokens(folder: Path) -> None:
    add_tokens(folder, {"<model>": VOCABULARY - 1})
    backbone = Backbone.load(str(folder), device="cpu")
    (text,) = backbone.tokenizer.encode(["the <model> river"], 60)
    assert VOCABULARY - 1 in text.ids
    assert backbone.encode([text.ids]) is not None


def test_a_special_token_without_a_row_is_never_needed(folder: Path) -> None:
    add_tokens(folder, {"<sign>": VOCABULARY + 3}, special=True)
    backbone = Backbone.load(str(folder), device="cpu")
    (text,) = backbone.tokenizer.encode(["the <sign> river"], 60)
    assert max(text.ids) < VOCABULARY


def test_a_special_token_with_a_role_needs_a_row(folder: Path) -> None:
    add_tokens(folder, {"<no row>": VOCABULARY}, special=True)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"pad_token": "<no row>"}))
    assert "'<no row>'" in refusal(folder)


def test_a_token_that_frames_every_text_needs_a_row(folder: Path) -> None:
    add_tokens(folder, {"<start>": VOCABULARY + 1}, special=True)
    frame = processors.TemplateProcessing(
        single="<start> $A", special_tokens=[("<start>", VOCABULARY + 1)]
    )
    edit(folder, lambda d: d.update(post_processor=json.loads(frame.__getstate__())))
    assert "'<start>'" in refusal(folder)


@pytest.mark.parametrize(
    ("role", "value"),
    [
        ("bos_token_id", VOCABULARY),
        ("eos_token_id", 5000),
        ("eos_token_id", [2, VOCABULARY]),
        ("pad_token_id", VOCABULARY),
    ],
)
def test_a_configured_token_without_a_row_is_named(folder: Path, role: str, value: Any) -> None:
    configure(folder, **{role: value})
    said = refusal(folder)
    assert role in said
    assert f"vocab_size {VOCABULARY}" in said


@pytest.mark.parametrize("rows", [VOCABULARY - 11, VOCABULARY + 11])
def test_a_table_of_another_size_than_configured(
    folder: Path, architecture: str, rows: int
) -> None:
    configure(folder, vocab_size=rows)
    said = refusal(folder)
    assert TABLE[architecture] in said
    assert f"[{VOCABULARY}, " in said
    assert f"[{rows}, " in said


def test_layers_that_would_be_left_out_are_named(folder: Path, architecture: str) -> None:
    """transformers only warns, and answers with the first layers alone."""
    config = json.loads((folder / "config.json").read_text())
    own = config[LAYERS[architecture]]
    assert own > 1  # or there is none to leave out
    configure(folder, **{LAYERS[architecture]: own - 1})
    said = refusal(folder)
    assert f"up to number {own - 1}" in said
    assert f"asks for {own - 1} ({LAYERS[architecture]})" in said


def test_layers_that_are_missing_are_named(folder: Path, architecture: str) -> None:
    configure(folder, **{LAYERS[architecture]: 9})
    assert "weights lack" in refusal(folder, NotFound)


def test_a_head_of_its_own_is_used_whatever_the_configuration_says(
    folder: Path, architecture: str
) -> None:
    """transformers, the oracle, does not tie what differs."""

    def own_head(tensors: dict[str, Tensor]) -> None:
        tensors["lm_head.weight"] = tensors[TABLE[architecture]] + torch.randn(VOCABULARY, 1)

    tied = Backbone.load(str(folder), device="cpu")
    change_tensors(folder, own_head)
    backbone = Backbone.load(str(folder), device="cpu")
    assert backbone.fingerprint != tied.fingerprint
    oracle = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids, labels = [5, 17, 31], [7, 9, 200]
    prompt = backbone.embed([8])
    expected = oracle_log_probs(oracle, ids, prompt, labels, "suffix")
    states = backbone.read_suffixed([ids], [[prompt]])
    ours = label_log_probs(states, backbone.label_rows(labels))[0]
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
    backbone.save_pretrained(folder.parent / "saved")
    assert Backbone.load(str(folder.parent / "saved"), device="cpu").fingerprint == (
        backbone.fingerprint
    )


def test_a_head_that_repeats_the_table_is_the_table(folder: Path, architecture: str) -> None:
    tied = Backbone.load(str(folder), device="cpu")

    def same_head(tensors: dict[str, Tensor]) -> None:
        tensors["lm_head.weight"] = tensors[TABLE[architecture]].clone()

    change_tensors(folder, same_head)
    assert Backbone.load(str(folder), device="cpu").fingerprint == tied.fingerprint


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_named_by_its_tensor(
    folder: Path, architecture: str, value: float
) -> None:
    for name in some(sorted(load_file(folder / "model.safetensors"))[::7]):
        before = load_file(folder / "model.safetensors")

        def spoil(tensors: dict[str, Tensor], name: str = name) -> None:
            tensors[name] = tensors[name].clone()
            tensors[name].view(-1)[[0, -1]] = value

        change_tensors(folder, spoil)
        said = refusal(folder)
        assert f"tensor {name!r} holds NaN or Inf in 2 of {before[name].numel()} places" in said
        save_file(before, folder / "model.safetensors", metadata={"format": "pt"})


def test_further_tensors_without_numbers_are_counted(folder: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors)[:3]:
            tensors[name] = torch.full_like(tensors[name], float("nan"))

    change_tensors(folder, spoil)
    assert "(2 more tensors do)" in refusal(folder)


def test_a_number_that_the_precision_does_not_hold_is_named(folder: Path) -> None:
    def large(tensors: dict[str, Tensor]) -> None:
        name = next(name for name in tensors if name.endswith("norm.weight"))
        tensors[name] = tensors[name].clone()
        tensors[name][1] = -70_000

    change_tensors(folder, large)
    assert Backbone.load(str(folder), device="cpu", dtype="bfloat16").vocab_size == VOCABULARY
    with pytest.raises(InvalidInput, match=r"holds -70000, float16 ends at 65504"):
        Backbone.load(str(folder), device="cpu", dtype="float16")


def test_codes_for_weights_are_no_weights(folder: Path) -> None:
    def quantized(tensors: dict[str, Tensor]) -> None:
        name = next(name for name in tensors if "norm" not in name)
        tensors[name] = (tensors[name] * 100).to(torch.int8)

    change_tensors(folder, quantized)
    assert "is stored as I8; quantized" in refusal(folder)


def test_labels_of_a_sound_checkpoint_are_found(folder: Path) -> None:
    assert byte_tokenizer(start_token=False).unk_token_id == 0
    tokenizer = Backbone.load(str(folder), device="cpu").tokenizer
    tokens = [label.token_id for label in verbalize(["river", "sea"], tokenizer)]
    assert all(token < VOCABULARY for token in tokens)
