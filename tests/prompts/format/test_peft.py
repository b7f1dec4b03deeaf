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

from isogloss.prompts.errors import InvalidInput, InvalidPrompt, NotFound
from isogloss.prompts.format.card import ModelRef
from isogloss.prompts.format.peft import (
    CONFIG_FILE,
    PICKLE_FILE,
    TENSOR,
    TENSOR_FILE,
    export_adapter,
)
from isogloss.prompts.format.peft import import_adapter as import_adapter_for
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone, label_log_probs
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


def import_adapter(
    folder: Path,
    hidden_size: int = HIDDEN,
    *,
    model: ModelRef = samples.MODEL,
    architecture: str = "bloom",
    layers: int = 2,
    origin_differs: bool = False,
) -> SoftPrompt:
    return import_adapter_for(
        folder,
        model=model,
        hidden_size=hidden_size,
        architecture=architecture,
        layers=layers,
        task="topic",
        labels=samples.labels("sports", "travel"),
        origin_differs=origin_differs,
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
    prompt = import_adapter(tmp_path / "adapter", architecture=backbone.architecture)
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
    prompt = import_adapter(tmp_path / "a", 4, origin_differs=True)
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


def origin(folder: Path, asked: str, **stated: Any) -> SoftPrompt:
    write_adapter(folder, GOOD, **stated)
    return import_adapter(folder, 4, model=samples.MODEL.model_copy(update={"id": asked}))


@pytest.mark.parametrize(
    ("stated", "asked"),
    [
        ("pocket-bloom", "pocket-bloom"),
        ("bigscience/bloom-560m", "bigscience/bloom-560m"),
        ("BigScience/BLOOM-560m ", "bigscience/bloom-560m"),
        ("/home/somebody/models/bloom-560m/", "bigscience/bloom-560m"),
        ("C:\\models\\bloom-560m", "bigscience/bloom-560m"),
        ("bigscience/bloom-560m", "/data/bloom-560m"),
        ("./bloom-560m", "/data/bloom-560m"),
        ("../old/bloom-560m", "/data/bloom-560m"),
        ("/home/me/.cache/huggingface/hub/models--bigscience--bloom-560m/snapshots/main",
         "bigscience/bloom-560m"),
        ("/opt/isogloss/prompts/pocket/pocket-bloom", "pocket-bloom"),
        ("", "pocket-bloom"),
        (None, "pocket-bloom"),
    ],
)  # fmt: skip
def test_one_model_may_have_several_names(tmp_path: Path, stated: str | None, asked: str) -> None:
    prompt = origin(tmp_path / "a", asked, base_model_name_or_path=stated)
    assert prompt.card.training["base_model"] == (stated.strip() if stated else None)
    assert "origin_differs" not in prompt.card.training


@pytest.mark.parametrize(
    ("stated", "asked"),
    [
        ("facebook/xglm-564M", "pocket-bloom"),
        ("facebook/xglm-564M", "/data/bloom-560m"),
        ("bigscience/bloom-560m", "bigscience/bloom-1b1"),
        ("bigscience/bloom-560m", "somebody/bloom-560m"),
        ("bigscience/bloom-560m", "bigscience/bloom-560m-tuned"),
        ("/data/xglm-564M", "bigscience/bloom-560m"),
        ("/x/models--facebook--xglm-564M/snapshots/main", "bigscience/bloom-560m"),
        ("pocket-xglm", "pocket-bloom"),
        (".", "pocket-bloom"),
    ],
)
def test_another_base_model_is_refused_and_both_are_named(
    tmp_path: Path, stated: str, asked: str
) -> None:
    with pytest.raises(InvalidPrompt, match="--origin-differs") as caught:
        origin(tmp_path / "a", asked, base_model_name_or_path=stated)
    assert f"its base model is {stated!r}, not {asked!r}" in str(caught.value)


def test_a_folder_goes_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bloom-560m").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "bloom-560m")
    monkeypatch.chdir(tmp_path / "bloom-560m")
    for number, asked in enumerate((".", str(tmp_path / "link"), "../bloom-560m")):
        origin(tmp_path / str(number), asked, base_model_name_or_path="bigscience/bloom-560m")
    with pytest.raises(InvalidPrompt, match=r"not '\.'"):
        origin(tmp_path / "x", ".", base_model_name_or_path="bigscience/bloom-1b1")


COMMIT, OTHER_COMMIT = "ab" * 20, "cd" * 20
CACHED = f"/hub/models--bigscience--bloom-560m/snapshots/{OTHER_COMMIT}"
ON_COMMIT = ModelRef(
    id="bigscience/bloom-560m", revision=COMMIT, fingerprint=samples.MODEL.fingerprint
)


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"task_type": "SEQ_CLS"}, r"task_type is 'SEQ_CLS'.*'CAUSAL_LM'"),
        ({"task_type": "SEQ_2_SEQ_LM"}, "SEQ_2_SEQ_LM"),
        ({"task_type": "TOKEN_CLS"}, "TOKEN_CLS"),
        (
            {"auto_mapping": {"base_model_class": "BloomForSequenceClassification"}},
            "Classification",
        ),
        ({"auto_mapping": {"base_model_class": "XGLMForCausalLM"}}, "trained on a XGLMForCausalLM"),
        ({"auto_mapping": {"base_model_class": "BloomModel"}}, "BloomModel"),
        ({"num_layers": 24}, "has 24 layers, bigscience/bloom-560m has 2"),
        ({"revision": OTHER_COMMIT}, f"revision '{OTHER_COMMIT}' of the model, '{COMMIT}'"),
        ({"revision": "step1000"}, "revision 'step1000'"),
        ({"base_model_name_or_path": CACHED}, f"revision '{OTHER_COMMIT}'"),
    ],
)
def test_another_origin_is_refused_unless_it_is_asked_for(
    tmp_path: Path, stated: dict[str, Any], reason: str
) -> None:
    write_adapter(tmp_path / "a", GOOD, **stated)
    with pytest.raises(InvalidPrompt, match=reason):
        import_adapter(tmp_path / "a", 4, model=ON_COMMIT)
    prompt = import_adapter(tmp_path / "a", 4, model=ON_COMMIT, origin_differs=True)
    assert len(prompt.card.training["origin_differs"]) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "stated",
    [
        {"task_type": "CAUSAL_LM", "num_layers": 2, "revision": "main"},
        {"auto_mapping": {"base_model_class": "BloomForCausalLM", "parent_library": "x"}},
        {"revision": COMMIT},
        {"task_type": None, "num_layers": None, "revision": None, "auto_mapping": None},
    ],
)
def test_what_agrees_is_taken(tmp_path: Path, stated: dict[str, Any]) -> None:
    write_adapter(tmp_path / "a", GOOD, **stated)
    prompt = import_adapter(tmp_path / "a", 4, model=ON_COMMIT)
    assert prompt.card.training["task_type"] == stated.get("task_type")


def test_every_difference_is_told_at_once(tmp_path: Path) -> None:
    stated = {"base_model_name_or_path": "facebook/xglm-564M", "task_type": "SEQ_CLS"}
    write_adapter(tmp_path / "a", GOOD, **stated, num_layers=24)
    with pytest.raises(InvalidPrompt, match=r"xglm-564M.*SEQ_CLS.*24 layers"):
        import_adapter(tmp_path / "a", 4)


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a", GOOD, base_model_name_or_path=["bloom"])
    with pytest.raises(InvalidPrompt, match="base_model_name_or_path"):
        import_adapter(tmp_path / "a", 4)
