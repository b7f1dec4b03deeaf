"""Adapters for classification: the prompt and its own head, against PEFT's own forward pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import BloomConfig, BloomForSequenceClassification
from transformers.models.auto import modeling_auto

from isogloss.prompts.errors import InvalidData, InvalidInput, InvalidPrompt
from isogloss.prompts.format.adapter_origin import WITHOUT_CLASSIFIER
from isogloss.prompts.format.adapter_tensors import HEAD, PICKLE_FILE, TENSOR, TENSOR_FILE
from isogloss.prompts.format.card import ModelRef, PromptCard
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.peft import export_adapter, import_adapter, row_labels
from isogloss.prompts.format.soft_prompt import LABEL_ROWS, SoftPrompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.decoder.architectures import ARCHITECTURES
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.pipeline.planning import Plan, Share
from isogloss.serving.pipeline.scoring import Scores, score_plans
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.registry.loader import PromptLoader
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.scoring import score_prompts
from tests.prompts import samples
from tests.prompts.format.test_peft import write_adapter
from tests.some import some
from tests.training import tiny

# PEFT reads an attribute that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

NAMES = ("complaint", "no complaint", "complete")  # two would begin with one token
TEXTS = ["pan oven soup", "hedge", "a storm and a violin"]
CONFIGS: dict[str, Callable[[], Any]] = {
    "prompt tuning": lambda: peft.PromptTuningConfig(
        task_type="SEQ_CLS", num_virtual_tokens=3, num_attention_heads=2
    ),
    "p tuning": lambda: peft.PromptEncoderConfig(
        task_type="SEQ_CLS", num_virtual_tokens=3, num_attention_heads=2, encoder_hidden_size=8
    ),
    "multitask prompt tuning": lambda: peft.MultitaskPromptTuningConfig(
        task_type="SEQ_CLS", num_virtual_tokens=3, num_attention_heads=2, num_tasks=2, num_ranks=2
    ),
}


def classifier() -> Any:
    """transformers' classifier over the very layers of `tiny_transformer("bloom")`."""
    torch.manual_seed(4)
    config = BloomConfig(vocab_size=512, hidden_size=32, n_layer=2, n_head=4)
    config.num_labels = len(NAMES)
    model = BloomForSequenceClassification(config).eval()
    model.transformer.load_state_dict(tiny.tiny_transformer("bloom").transformer.state_dict())
    return model


def imported(folder: Path, **changes: Any) -> SoftPrompt:
    backbone = tiny.tiny("bloom")
    given: dict[str, Any] = {
        "model": ModelRef(id="tiny-bloom", fingerprint=backbone.fingerprint),
        "hidden_size": 32,
        "architecture": "bloom",
        "layers": 2,
        "task": "home",
        "labels": row_labels(NAMES),
        **changes,
    }
    return import_adapter(folder, **given)


def theirs(adapted: Any, **asked: Any) -> torch.Tensor:
    """(texts, labels): each text alone, as PEFT answers it without a padding token."""
    read = [tiny.tokenizer()(text, return_tensors="pt")["input_ids"] for text in TEXTS]
    with torch.no_grad():
        return torch.cat([adapted(ids, **asked).logits for ids in read]).log_softmax(-1)


def served(prompt: SoftPrompt, folder: Path) -> torch.Tensor:
    """(texts, labels) as a replica answers, all texts in one batch."""
    backbone = tiny.tiny("bloom")
    store = PromptStore.open(folder, create=True)
    store.publish({"own": prompt})
    loaded = PromptLoader(store, backbone).recall(prompt.digest)
    assert loaded.labels == NAMES
    shares = (Share(ServedPrompt("own", 1, prompt.digest, loaded)),)
    texts = backbone.tokenizer.encode(TEXTS, backbone.max_text_tokens)
    found = score_plans(backbone, [Plan(text.ids, shares) for text in texts])
    return torch.tensor([each.routed for each in found if isinstance(each, Scores)])


@pytest.mark.parametrize("kind", sorted(CONFIGS))
def test_a_classifier_of_each_kind_answers_as_in_peft(kind: str, tmp_path: Path) -> None:
    adapted: Any = peft.get_peft_model(classifier(), CONFIGS[kind]()).eval()
    adapted.save_pretrained(str(tmp_path / "a"))
    multitask = kind.startswith("multitask")
    prompt = imported(tmp_path / "a", of_task=1 if multitask else None)
    assert (prompt.card.head, prompt.card.format_version) == ("prompt", 3)
    assert prompt.card.training["method"] == f"peft {kind}"
    count = torch.tensor([1]) if multitask else None
    expected = theirs(adapted, **({} if count is None else {"task_ids": count}))
    backbone = tiny.tiny("bloom")
    plain = Candidate("plain", tiny.prompt(backbone, 1, position="prefix"))
    ours, _ = score_prompts(backbone, [Candidate("own", prompt), plain], TEXTS)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        served(prompt, tmp_path / "store"), expected.exp(), atol=1e-5, rtol=0
    )


def test_what_we_export_peft_loads_with_its_head(tmp_path: Path) -> None:
    adapted: Any = peft.get_peft_model(classifier(), CONFIGS["prompt tuning"]()).eval()
    adapted.save_pretrained(str(tmp_path / "a"))
    export_adapter(imported(tmp_path / "a"), tmp_path / "b")
    fresh = classifier()
    torch.nn.init.normal_(fresh.score.weight)
    again: Any = peft.PeftModel.from_pretrained(fresh, str(tmp_path / "b")).eval()
    torch.testing.assert_close(theirs(again), theirs(adapted))
    first, second = imported(tmp_path / "a"), imported(tmp_path / "b")
    assert torch.equal(first.vectors, second.vectors)
    assert (first.arrays[LABEL_ROWS] == second.arrays[LABEL_ROWS]).all()


def test_what_transformers_has_no_classifier_for_is_told(tmp_path: Path) -> None:
    """The day it has one, SEQ_CLS adapters of that architecture are to be read, and not refused."""
    classifiers = modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    assert {each for each in ARCHITECTURES if each not in classifiers} == set(WITHOUT_CLASSIFIER)
    write_adapter(tmp_path / "a", OWN, task_type="SEQ_CLS")
    with pytest.raises(InvalidPrompt, match=r"no sequence classification for xglm.*--force"):
        imported(tmp_path / "a", hidden_size=4, architecture="xglm")
    assert imported(
        tmp_path / "a", hidden_size=4, architecture="xglm", origin_differs=True
    ).card.training["origin_differs"]


OWN = {TENSOR: torch.ones(2, 4), HEAD: torch.eye(3, 4)}


def test_an_old_file_has_its_head_too(tmp_path: Path) -> None:
    write_adapter(tmp_path / "a", OWN, task_type="SEQ_CLS")
    (tmp_path / "a" / TENSOR_FILE).unlink()
    torch.save(OWN, tmp_path / "a" / PICKLE_FILE)
    rows = imported(tmp_path / "a", hidden_size=4).label_rows
    assert rows is not None
    assert torch.equal(rows, OWN[HEAD])


@pytest.mark.parametrize(
    ("tensors", "labels", "said"),
    [
        ({TENSOR: OWN[TENSOR]}, NAMES, f"'{HEAD}', the head that goes with it, is missing"),
        ({**OWN, "base_model.score.bias": torch.ones(3)}, NAMES, "holds the tensors"),
        ({**OWN, HEAD: torch.ones(3, 5)}, NAMES, r"'label_rows' has shape \[3, 5\].*\[3, 4\]"),
        ({**OWN, HEAD: torch.full((3, 4), torch.inf)}, NAMES, "'label_rows' holds NaN or Inf"),
        (OWN, NAMES[:2], "2 labels are given, and the adapter's head has 3.*id2label"),
        (OWN, ("a", "a", "b"), "each label may appear once"),
    ],
)
def test_a_head_that_does_not_go_with_its_labels_is_refused(
    tensors: dict[str, torch.Tensor], labels: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    write_adapter(tmp_path / "a", tensors, task_type="SEQ_CLS")
    with pytest.raises((InvalidPrompt, InvalidInput, InvalidData), match=said):
        imported(tmp_path / "a", hidden_size=4, labels=row_labels(labels))


def own_rows() -> SoftPrompt:
    fields = {**samples.card(position="prefix").model_dump(exclude={"format_version"})}
    card = PromptCard.model_validate(
        {**fields, "labels": row_labels(("sports", "travel")), "head": "prompt"}
    )
    return SoftPrompt(card, torch.ones(3, 8), label_rows=torch.eye(2, 8))


def test_a_file_has_rows_where_its_card_says_so_and_nowhere_else() -> None:
    made = own_rows()
    again = SoftPrompt.from_bytes(made.to_bytes())
    assert again.label_rows is not None
    assert torch.equal(again.label_rows, torch.eye(2, 8))
    assert (
        again.digest
        == made.digest
        != SoftPrompt(made.card, torch.ones(3, 8), label_rows=torch.ones(2, 8)).digest
    )
    assert again.state == {}
    with pytest.raises(InvalidPrompt, match="head is 'prompt', and the prompt file has no tensor"):
        SoftPrompt(made.card, torch.ones(3, 8))
    with pytest.raises(InvalidPrompt, match="head is 'model', and the prompt file has a tensor"):
        SoftPrompt(samples.card(), torch.ones(3, 8), label_rows=torch.ones(2, 8))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 1}, "head 'prompt' needs format_version 3"),
        ({"position": "suffix"}, "goes with position 'prefix'"),
        ({"labels": [each.model_dump() for each in samples.labels("a", "b")]}, "counts the labels"),
        ({"head": "own"}, "head"),
    ],
)
def test_a_card_that_does_not_go_with_a_head_is_refused(changes: dict[str, Any], said: str) -> None:
    document = {**json.loads(own_rows().card.to_json()), **changes}
    with pytest.raises(ValueError, match=said):
        PromptCard.model_validate(document)


def test_a_prompt_with_its_own_rows_answers_alone() -> None:
    with pytest.raises(InvalidPrompt, match=r"'b@1' has label rows of its own.*leave it out"):
        Ensemble.of([("a", 1, samples.prompt(1)), ("b", 1, own_rows())])


def test_one_route_table_has_prompts_of_one_kind_of_head(tmp_path: Path) -> None:
    store = PromptStore.open(tmp_path, create=True)
    with pytest.raises(InvalidPrompt, match=r"'b' and 'a'.*label rows of its own.*--task"):
        store.publish({"a": samples.prompt(1), "b": own_rows()}, [samples.table("a", Romance="b")])
    store.publish({"b": own_rows(), "c": own_rows()}, [samples.table("b", Romance="c")])


def test_own_rows_need_no_tokens_in_the_vocabulary() -> None:
    backbone = Backbone.from_transformers(tiny.tiny_transformer("bloom"), None, model_id="t")
    many = tuple(f"label {n}" for n in range(600))  # more than there are tokens
    card = own_rows().card.model_dump() | {
        "labels": row_labels(many),
        "model": ModelRef(id="t", fingerprint=backbone.fingerprint),
    }
    prompt = SoftPrompt(
        PromptCard.model_validate(card), torch.ones(1, 32), label_rows=torch.ones(600, 32)
    )
    prompt.check_fits(backbone)
    assert len(some(prompt.card.labels)) > backbone.vocab_size
