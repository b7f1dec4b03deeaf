"""Models from folders in the hub's layout: safetensors, .bin, damaged, unknown, malicious."""

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.fingerprint import fingerprint
from isogloss.prompts.model.names import pocket_models, resolve
from isogloss.prompts.model.tokenizer import Tokenizer
from tests.models import ARCHITECTURES, VOCABULARY, random_model


def byte_tokenizer(start_token: bool) -> PreTrainedTokenizerFast:
    """Byte-level, one token a byte, plus a few whole words; `</s>` first where asked."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<unk>": 0, "<pad>": 1, "</s>": 2}
    for token in alphabet:
        vocabulary[token] = len(vocabulary)
    merges = [("Ġ", "r"), ("Ġr", "i"), ("Ġ", "s"), ("Ġs", "e")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    backend = Backend(models.BPE(vocabulary, merges, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    if start_token:
        backend.post_processor = processors.TemplateProcessing(
            single="</s> $A", special_tokens=[("</s>", 2)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )


def hub_folder(folder: Path, architecture: str, seed: int = 0) -> tuple[Path, Any]:
    """A random model written by transformers, and the model itself."""
    model = random_model(architecture, seed)
    model.save_pretrained(folder)
    byte_tokenizer(architecture == "xglm").save_pretrained(folder)
    return folder, model


@pytest.fixture(params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return hub_folder(tmp_path / "model", request.param)[0]


def test_a_folder_loads_with_its_tokenizer(folder: Path) -> None:
    backbone = Backbone.load(str(folder), device="cpu")
    assert backbone.vocab_size == VOCABULARY
    assert backbone.dtype == torch.float32
    first = backbone.tokenizer.encode(["river"], 100)[0].ids[0]
    assert (first == 2) == (backbone.architecture == "xglm")
    assert backbone.fingerprint.startswith("sha256:")
    assert not any(t.requires_grad for t in (backbone.weights.embedding, backbone.label_rows([3])))


def test_bin_weights_load_and_have_the_same_fingerprint(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    expected = Backbone.load(str(folder), device="cpu").fingerprint
    copy = tmp_path / "bin"
    shutil.copytree(folder, copy)
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    assert Backbone.load(str(copy), device="cpu").fingerprint == expected


def test_pickled_code_is_never_run(folder: Path, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
            return (os.mkdir, (str(tmp_path / "pwned"),))

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Payload()}))
    with pytest.raises(NotFound, match=r"cannot be loaded|were refused"):
        Backbone.load(str(folder), device="cpu")
    assert not (tmp_path / "pwned").exists()


def test_truncated_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(NotFound, match="model"):
        Backbone.load(str(folder), device="cpu")


def test_missing_tensors_are_refused(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in sorted(tensors) if "norm" in name or "ln_f" in name)
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NotFound, match=lost):
        Backbone.load(str(folder), device="cpu")


def test_another_architecture_is_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "opt"}))
    with pytest.raises(InvalidInput, match=r"'opt'; supported are bloom, xglm.*models\.md"):
        Backbone.load(str(folder), device="cpu")


def test_unknown_names_say_what_to_try(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="bigscience/bloom-560m"):
        resolve("pocket-blom")
    with pytest.raises(NotFound, match=r"has no config\.json"):
        resolve(str(tmp_path))
    with pytest.raises(NotFound, match="neither a folder"):
        resolve("/nowhere/at/all")
    assert resolve("bigscience/bloom-560m") == "bigscience/bloom-560m"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_asking_for_a_gpu_that_is_not_there(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="--device cpu"):
        Backbone.load(str(folder), device="cuda")


def test_fingerprint_names_values_not_their_storage() -> None:
    state = {"a": torch.randn(10_000).half(), "b": torch.ones(3)}
    same = {name: tensor.float() for name, tensor in state.items()}
    assert fingerprint(state, {}, None) == fingerprint(same, {}, None)
    assert fingerprint(state, {}, None) != fingerprint(state, {"heads": 2}, None)
    changed = {"a": state["a"].clone(), "b": state["b"]}
    changed["a"][1] += 0.5  # a place that is not sampled
    assert fingerprint(state, {}, None) != fingerprint(changed, {}, None)
    one, other = (Tokenizer(byte_tokenizer(start)) for start in (False, True))
    assert fingerprint(state, {}, one) != fingerprint(state, {}, other)


def test_tokenizer_cuts_and_says_so() -> None:
    tokenizer = Tokenizer(byte_tokenizer(True))
    whole, cut = tokenizer.encode(["abc", "abcdef"], 4)
    assert (len(whole.ids), whole.truncated) == (4, False)
    assert (len(cut.ids), cut.truncated) == (4, True)
    assert cut.ids == tokenizer.encode(["abcdef"], 100)[0].ids[:4]


def test_a_word_begins_with_one_token() -> None:
    tokenizer = Tokenizer(byte_tokenizer(True))
    first = tokenizer.first_token("river")
    assert first is not None
    assert first[1] == "Ġri"
    zebra = tokenizer.first_token("zebra")  # a bare space tells no label from another
    assert zebra is not None
    assert zebra[1] == "z"
    assert tokenizer.first_token("") is None


@pytest.mark.parametrize("name", ["pocket-bloom", "pocket-xglm"])
def test_pocket_models_are_inside_the_installation(name: str) -> None:
    assert (pocket_models()[name] / "model.safetensors").is_file()
    backbone = Backbone.load(name, device="cpu")
    assert backbone.model_id == name
