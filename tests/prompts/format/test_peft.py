"""PEFT itself is the oracle: what it saves we read, what we write it loads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
from transformers import BloomConfig, BloomForCausalLM, XGLMConfig, XGLMForCausalLM

from isogloss.prompts.errors import InvalidInput, InvalidPrompt, NotFound
from isogloss.prompts.format.adapter_tensors import (
    KINDS,
    PICKLE_FILE,
    TENSOR,
    TENSOR_FILE,
    refusal,
)
from isogloss.prompts.format.card import ModelRef
from isogloss.prompts.format.peft import (
    CONFIG_FILE,
    export_adapter,
    exported_template,
    read_config,
)
from isogloss.prompts.format.peft import import_adapter as import_adapter_for
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.template import speaker
from isogloss.prompts.format.verbalizer import verbalize
from isogloss.prompts.model.backbone import Backbone, label_log_probs
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.scoring import score_prompts
from tests.architectures import VARIANTS, random_decoder
from tests.prompts import samples
from tests.some import some
from tests.training import tiny as home

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


@pytest.fixture(params=["bloom", "xglm", "qwen3", "gemma3_text"])
def model(request: pytest.FixtureRequest) -> Any:
    """Gemma scales token embeddings within the module that PEFT looks tokens up in."""
    if request.param in VARIANTS:
        sizes = {"hidden_size": HIDDEN, "num_attention_heads": 2, "num_key_value_heads": 1}
        return random_decoder(request.param, 1, num_hidden_layers=2, **sizes)
    return {"bloom": tiny_bloom, "xglm": tiny_xglm}[request.param]()


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
    of_task: int | None = None,
    template: str | None = None,
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
        of_task=of_task,
        template=template,
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


def answers_alike(model: Any, adapted: Any, prompt: SoftPrompt, **asked: Any) -> None:
    backbone = Backbone.from_transformers(model, None, model_id="tiny")
    label_ids = [4, 9]
    with torch.no_grad():
        theirs = adapted(torch.tensor([TEXT]), **asked).logits[0, -1, label_ids].log_softmax(-1)
        states = backbone.read_prefixed([TEXT], [[prompt.vectors]])
        ours = label_log_probs(states, backbone.label_rows(label_ids))[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_a_p_tuned_prompt_answers_alike_here(model: Any, tmp_path: Path) -> None:
    """Its encoder is folded into the file when PEFT saves it."""
    config = peft.PromptEncoderConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=LENGTH, num_attention_heads=2,
        encoder_hidden_size=8,
    )  # fmt: skip
    adapted: Any = peft.get_peft_model(model, config).eval()
    adapted.save_pretrained(str(tmp_path / "a"))
    prompt = import_adapter(tmp_path / "a", architecture=model.config.model_type)
    assert prompt.card.training["method"] == "peft p tuning"
    answers_alike(model, adapted, prompt)


@pytest.mark.parametrize("task", [0, 2])
def test_one_task_of_a_multitask_prompt_answers_alike_here(
    model: Any, tmp_path: Path, task: int
) -> None:
    config = peft.MultitaskPromptTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=LENGTH, num_attention_heads=2, num_tasks=3,
        num_ranks=2,
    )  # fmt: skip
    adapted: Any = peft.get_peft_model(model, config).eval()
    adapted.save_pretrained(str(tmp_path / "a"))
    architecture = model.config.model_type
    prompt = import_adapter(tmp_path / "a", architecture=architecture, of_task=task)
    assert prompt.card.training["peft_task"] == task
    answers_alike(model, adapted, prompt, task_ids=torch.tensor([task]))
    with pytest.raises(InvalidInput, match="--peft-task: the adapter has 3 tasks"):
        import_adapter(tmp_path / "a", architecture=architecture)
    with pytest.raises(InvalidInput, match="there is no 3; the adapter has 0 to 2"):
        import_adapter(tmp_path / "a", architecture=architecture, of_task=3)


def test_parts_of_a_multitask_prompt_must_go_together(tmp_path: Path) -> None:
    parts = {"prefix_task_cols": torch.ones(2, 3, 1), "prefix_task_rows": torch.ones(2, 1, 4)}
    write_adapter(tmp_path / "a", {**GOOD, **parts}, peft_type="MULTITASK_PROMPT_TUNING")
    with pytest.raises(InvalidPrompt, match="do not go together"):
        import_adapter(tmp_path / "a", 4, of_task=0)


def test_what_we_export_peft_loads(model: Any, tmp_path: Path) -> None:
    prompt = prefix_prompt()
    export_adapter(prompt, tmp_path / "adapter")
    adapted: Any = peft.PeftModel.from_pretrained(model, str(tmp_path / "adapter"))
    assert torch.equal(adapted.prompt_encoder["default"].embedding.weight, prompt.vectors)
    answers_alike(model, adapted.eval(), prompt)
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
        (GOOD, {"peft_type": "LORA"}, "'LORA': it changes the model's weights.*--model FOLDER"),
        (GOOD, {"peft_type": "PREFIX_TUNING"}, "keys and values of every layer"),
        (
            {**GOOD, "base_model.score.weight": torch.ones(2)},
            {},
            "a head of its own.*its task_type is not 'SEQ_CLS'",
        ),
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


def test_every_other_kind_that_peft_has_says_why_and_what_to_do() -> None:
    others = sorted({kind.value for kind in peft.PeftType} - set(KINDS))
    for kind in some(others):
        said = refusal(kind)
        assert said.startswith(f"peft_type is {kind!r}: it"), said
        assert "does not know" not in said
        assert "instead" in said or "--model FOLDER" in said
    assert "this release does not know it" in refusal("NEWEST")


OTHER_KINDS: dict[str, tuple[Any, str]] = {
    "LORA": (lambda: peft.LoraConfig(task_type="CAUSAL_LM", r=2), "merge it into the model"),
    "IA3": (lambda: peft.IA3Config(task_type="CAUSAL_LM"), "merge it into the model"),
    "ADALORA": (
        lambda: peft.AdaLoraConfig(task_type="CAUSAL_LM", init_r=2, total_step=2),
        "merge it into the model",
    ),
    "PREFIX_TUNING": (
        lambda: peft.PrefixTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=2, num_attention_heads=2
        ),
        "keys and values of every layer",
    ),
}


@pytest.mark.parametrize("kind", sorted(OTHER_KINDS))
def test_what_peft_saved_of_another_kind_is_refused(kind: str, tmp_path: Path) -> None:
    """As PEFT writes it: such a configuration may say nothing of virtual tokens."""
    config, said = OTHER_KINDS[kind]
    adapted: Any = peft.get_peft_model(tiny_bloom(), config())
    adapted.save_pretrained(str(tmp_path / "a"))
    with pytest.raises(InvalidPrompt, match=f"peft_type is '{kind}': it.*{said}"):
        read_config(tmp_path / "a")


def test_a_prompt_without_a_number_of_vectors_is_refused(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a", GOOD, num_virtual_tokens=None)
    with pytest.raises(InvalidPrompt, match="num_virtual_tokens is missing"):
        import_adapter(tmp_path / "a", 4)


TWEET = "Tweet text : {text} Label : "


def test_a_template_goes_in_and_out_with_the_card(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a", GOOD)
    assert exported_template(tmp_path / "a") is None  # no file of PEFT's says one
    prompt = import_adapter(tmp_path / "a", 4, template=TWEET)
    assert prompt.card.template == TWEET
    export_adapter(prompt, tmp_path / "b")
    assert exported_template(tmp_path / "b") == TWEET
    assert exported_template(tmp_path / "nowhere") is None


def test_a_prompt_in_a_template_answers_as_peft_does_with_the_template_written(
    tmp_path: Path,
) -> None:
    """As PEFT's guide has it: the template ends in a space, and the label follows without one."""
    model = home.tiny_transformer("bloom")
    backbone = home.tiny("bloom")
    adapted = saved_by_peft(model, tmp_path / "a")
    spoken = speaker(backbone.tokenizer, TWEET)
    labels = verbalize(("storm", "violin"), spoken)
    prompt = import_adapter_for(
        tmp_path / "a",
        model=ModelRef(id="tiny-bloom", fingerprint=backbone.fingerprint),
        hidden_size=32,
        architecture="bloom",
        layers=2,
        task="home",
        labels=labels,
        template=TWEET,
    )
    texts = ["pan oven soup", "hedge {text} seed"]
    (ours,) = (s.exp() for s in score_prompts(backbone, [Candidate("p", prompt)], texts))
    wrapped = home.tokenizer()
    expected = [wrapped(word)["input_ids"][0] for word in ("storm", "violin")]
    assert [label.token_id for label in labels] == expected
    for text, row in zip(texts, ours, strict=True):
        ids = wrapped(f"Tweet text : {text} Label : ", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            theirs = adapted(ids).logits[0, -1, expected].softmax(-1)
        torch.testing.assert_close(row, theirs, atol=1e-5, rtol=0)


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


def test_an_old_adapter_is_read_as_weights_alone(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a", GOOD)
    (tmp_path / "a" / TENSOR_FILE).unlink()
    torch.save(GOOD, tmp_path / "a" / PICKLE_FILE)
    assert torch.equal(import_adapter(tmp_path / "a", 4).vectors, GOOD[TENSOR])


class Harmful:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("content", [{TENSOR: Harmful()}, [1, 2], {TENSOR: "text"}])
def test_nothing_in_an_old_adapter_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write_adapter(tmp_path / "a", GOOD)
    (tmp_path / "a" / TENSOR_FILE).unlink()
    torch.save(content, tmp_path / "a" / PICKLE_FILE)
    with pytest.raises(InvalidPrompt, match=r"more than tensors|no tensors by name"):
        import_adapter(tmp_path / "a", 4)
    assert not (tmp_path / "harmed").exists()


def test_a_damaged_old_adapter_is_refused(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a", GOOD)
    (tmp_path / "a" / TENSOR_FILE).unlink()
    (tmp_path / "a" / PICKLE_FILE).write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InvalidPrompt, match="damaged"):
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
    with pytest.raises(InvalidPrompt, match="--force") as caught:
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
        ({"task_type": "SEQ_2_SEQ_LM"}, "SEQ_2_SEQ_LM"),
        ({"task_type": "TOKEN_CLS"}, r"task_type is 'TOKEN_CLS'.*'CAUSAL_LM' or 'SEQ_CLS'"),
        (
            {"auto_mapping": {"base_model_class": "BloomForSequenceClassification"}},
            "Classification",
        ),
        ({"auto_mapping": {"base_model_class": "XGLMForCausalLM"}}, "trained on a XGLMForCausalLM"),
        ({"auto_mapping": {"base_model_class": "BloomModel"}}, "BloomModel"),
        ({"tokenizer_name_or_path": "bigscience/bloom"}, r"its tokenizer is that of 'bigscience"),
        ({"tokenizer_name_or_path": "/data/bloom-1b1"}, "not of 'bigscience/bloom-560m'"),
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
        {"revision": COMMIT, "tokenizer_name_or_path": "bigscience/bloom-560m"},
        {"tokenizer_name_or_path": "/models/BLOOM-560m/"},
        {"tokenizer_name_or_path": " "},
        {"task_type": None, "num_layers": None, "revision": None, "auto_mapping": None},
    ],
)
def test_what_agrees_is_taken(tmp_path: Path, stated: dict[str, Any]) -> None:
    write_adapter(tmp_path / "a", GOOD, **stated)
    prompt = import_adapter(tmp_path / "a", 4, model=ON_COMMIT)
    assert prompt.card.training["task_type"] == stated.get("task_type")


def test_every_difference_is_told_at_once(tmp_path: Path) -> None:
    stated = {"base_model_name_or_path": "facebook/xglm-564M", "task_type": "TOKEN_CLS"}
    write_adapter(tmp_path / "a", GOOD, **stated, num_layers=24)
    with pytest.raises(InvalidPrompt, match=r"xglm-564M.*TOKEN_CLS.*24 layers"):
        import_adapter(tmp_path / "a", 4)


def test_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a", GOOD, base_model_name_or_path=["bloom"])
    with pytest.raises(InvalidPrompt, match="base_model_name_or_path"):
        import_adapter(tmp_path / "a", 4)
