"""PEFT itself is the oracle: what it saves we read, what we write it loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
from transformers import BloomConfig, BloomForCausalLM, XGLMConfig, XGLMForCausalLM

from prompts.backbone import Backbone, label_log_probs
from prompts.card import ModelRef
from prompts.errors import InvalidInput, InvalidPrompt, NotFound
from prompts.peft import CONFIG_FILE, PICKLE_FILE, TENSOR, TENSOR_FILE, export_adapter
from prompts.peft import import_adapter as import_adapter_for
from prompts.soft_prompt import SoftPrompt
from tests.prompts import samples

# PEFT reads an attribute that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

HIDDEN, LENGTH = 16, 3
TEXT = [5, 17, 31, 8, 22]


def tiny_bloom() -> Any:
    torch.manual_seed(1)
    return BloomForCausalLM(
        BloomConfig(vocab_size=64, hidden_size=HIDDEN, n_layer=2, n_head=2)
    ).eval()


def tiny_xglm() -> Any:
    torch.manual_seed(2)
    return XGLMForCausalLM(
        XGLMConfig(
            vocab_size=64, d_model=HIDDEN, num_layers=2, attention_heads=2, ffn_dim=32,
            max_position_embeddings=64,
        )
    ).eval()  # fmt: skip


@pytest.fixture(params=[tiny_bloom, tiny_xglm], ids=["bloom", "xglm"])
def model(request: pytest.FixtureRequest) -> Any:
    return request.param()


def prefix_prompt(seed: int = 3) -> SoftPrompt:
    return samples.prompt(
        seed, length=LENGTH, hidden=HIDDEN, of_card=samples.card(position="prefix")
    )


def import_adapter(folder: Path, hidden_size: int = HIDDEN) -> SoftPrompt:
    return import_adapter_for(
        folder,
        model=samples.MODEL,
        hidden_size=hidden_size,
        task="topic",
        labels=samples.labels("sports", "travel"),
    )


def saved_by_peft(model: Any, folder: Path) -> Any:
    config = peft.PromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=LENGTH, num_attention_heads=2
    )
    adapted: Any = peft.get_peft_model(model, config).eval()
    adapted.save_pretrained(str(folder))
    return adapted


def test_what_peft_saved_answers_alike_here(model: Any, tmp_path: Path) -> None:
    backbone = Backbone.from_transformers(model, None, model_id="tiny")
    adapted = saved_by_peft(model, tmp_path / "adapter")
    prompt = import_adapter(tmp_path / "adapter")
    assert prompt.card.position == "prefix"
    assert prompt.card.training["method"] == "peft prompt tuning"
    assert torch.equal(prompt.vectors, adapted.prompt_encoder["default"].embedding.weight)
    label_ids = [4, 9]
    with torch.no_grad():
        theirs = adapted(torch.tensor([TEXT])).logits[0, -1, label_ids].log_softmax(-1)
        states = backbone.read_prefixed([TEXT], [[prompt.vectors]])
        ours = label_log_probs(states, backbone.label_rows(label_ids))[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_what_we_export_peft_loads(model: Any, tmp_path: Path) -> None:
    prompt = prefix_prompt()
    export_adapter(prompt, tmp_path / "adapter")
    adapted: Any = peft.PeftModel.from_pretrained(model, str(tmp_path / "adapter"))
    assert torch.equal(adapted.prompt_encoder["default"].embedding.weight, prompt.vectors)
    assert adapted(torch.tensor([TEXT])).logits.shape[-1] == 64
    assert torch.equal(import_adapter(tmp_path / "adapter").vectors, prompt.vectors)


def test_a_prompt_that_follows_the_text_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(InvalidPrompt, match="follow the text, and PEFT would put it before"):
        export_adapter(samples.prompt(), tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InvalidInput, match="not empty"):
        export_adapter(prefix_prompt(), tmp_path)
    with pytest.raises(InvalidInput, match="cannot be written"):
        export_adapter(prefix_prompt(), tmp_path / "notes.txt")


def write_adapter(folder: Path, tensors: dict[str, torch.Tensor], **changes: Any) -> None:
    folder.mkdir()
    config = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "token_dim": 4, **changes}
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    safetensors.torch.save_file(tensors, str(folder / TENSOR_FILE))


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a", {TENSOR: torch.full((2, 4), 0.5, dtype=torch.bfloat16)})
    assert torch.equal(import_adapter(tmp_path / "a", 4).vectors, torch.full((2, 4), 0.5))


GOOD = {TENSOR: torch.ones(2, 4)}


@pytest.mark.parametrize(
    ("tensors", "changes", "reason"),
    [
        (GOOD, {"peft_type": "LORA"}, "'LORA'"),
        (GOOD, {"num_transformer_submodules": 2}, "num_transformer_submodules"),
        (GOOD, {"num_virtual_tokens": 3}, r"\[2, 4\].*\[3, 4\]"),
        (GOOD, {"num_virtual_tokens": "many"}, "num_virtual_tokens"),
        ({TENSOR: torch.ones(2, 8)}, {"token_dim": 8}, "pocket-bloom has hidden size 4"),
        ({TENSOR: torch.full((2, 4), float("nan"))}, {}, "NaN"),
        ({**GOOD, "score.weight": torch.ones(2)}, {}, "score.weight"),
        ({"lora_A": torch.ones(2)}, {}, "only 'prompt_embeddings'"),
    ],
)
def test_another_adapter_is_refused_with_the_reason(
    tmp_path: Path, tensors: dict[str, torch.Tensor], changes: dict[str, Any], reason: str
) -> None:
    write_adapter(tmp_path / "a", tensors, **changes)
    with pytest.raises(InvalidPrompt, match=reason):
        import_adapter(tmp_path / "a", 4)


def test_a_damaged_adapter_is_refused(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a", GOOD)
    path = tmp_path / "a" / TENSOR_FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidPrompt, match=rf"{TENSOR_FILE}.*truncated"):
        import_adapter(tmp_path / "a", 4)
    (tmp_path / "a" / CONFIG_FILE).write_text("{")
    with pytest.raises(InvalidPrompt, match=CONFIG_FILE):
        import_adapter(tmp_path / "a", 4)


def test_a_missing_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=rf"no PEFT adapter in {tmp_path}"):
        import_adapter(tmp_path)
    write_adapter(tmp_path / "a", GOOD)
    (tmp_path / "a" / TENSOR_FILE).unlink()
    with pytest.raises(NotFound, match=TENSOR_FILE):
        import_adapter(tmp_path / "a", 4)


def test_a_pickled_adapter_is_never_opened(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a", GOOD)
    (tmp_path / "a" / TENSOR_FILE).rename(tmp_path / "a" / PICKLE_FILE)
    with pytest.raises(InvalidPrompt, match="safe_serialization"):
        import_adapter(tmp_path / "a", 4)


def test_the_model_of_a_card_is_the_one_that_was_given(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a", GOOD, base_model_name_or_path="bigscience/bloom-560m")
    prompt = import_adapter(tmp_path / "a", 4)
    assert prompt.card.model == ModelRef(id="pocket-bloom", fingerprint=samples.MODEL.fingerprint)
    assert prompt.card.training["base_model"] == "bigscience/bloom-560m"


def test_a_configuration_that_went_through_another_editor(tmp_path: Path) -> None:
    export_adapter(prefix_prompt(), tmp_path / "a")
    config = tmp_path / "a" / CONFIG_FILE
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes().replace(b"\n", b"\r\n"))
    assert import_adapter(tmp_path / "a").length == LENGTH
    config.write_bytes(config.read_bytes().decode("utf-8-sig").encode("utf-16"))
    with pytest.raises(InvalidInput, match=r"adapter_config\.json: text in UTF-16"):
        import_adapter(tmp_path / "a")
