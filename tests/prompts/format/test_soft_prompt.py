from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from isogloss.prompts.errors import InvalidPrompt, NotFound
from isogloss.prompts.format.card import PromptCard
from isogloss.prompts.format.safetensors_header import MAX_FILE_BYTES
from isogloss.prompts.format.soft_prompt import SoftPrompt
from tests.prompts import samples
from tests.some import some


@dataclass(frozen=True)
class FakeBackbone:
    model_id: str = "pocket-bloom"
    fingerprint: str = samples.MODEL.fingerprint
    hidden_size: int = 8
    vocab_size: int = 200
    max_prompt_length: int = 3


def forged(header: Mapping[str, Any] | str, body: bytes = b"") -> bytes:
    text = header if isinstance(header, str) else json.dumps(header)
    return struct.pack("<Q", len(text.encode())) + text.encode() + body


def header(**changes: Any) -> dict[str, Any]:
    spec = {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8], **changes}
    return {"__metadata__": {"card": samples.card().to_json()}, "prompt": spec}


def with_card(**changes: Any) -> bytes:
    document = {**json.loads(samples.card().to_json()), **changes}
    return safetensors.torch.save({"prompt": torch.ones(1, 2)}, {"card": json.dumps(document)})


def with_tensors(**tensors: torch.Tensor) -> bytes:
    return safetensors.torch.save(tensors, {"card": samples.card().to_json()})


def test_a_file_gives_back_the_prompt(tmp_path: Path) -> None:
    prompt = samples.prompt()
    prompt.save(tmp_path / "p.safetensors")
    again = SoftPrompt.load(tmp_path / "p.safetensors")
    assert torch.equal(again.vectors, prompt.vectors)
    assert again.card == prompt.card
    assert again.digest == prompt.digest
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.safetensors"]


def test_equal_prompts_have_equal_bytes_whatever_the_order_of_their_settings() -> None:
    one = samples.card().model_copy(update={"training": {"a": 1, "b": 2}})
    two = samples.card().model_copy(update={"training": {"b": 2, "a": 1}})
    assert samples.prompt(of_card=one).to_bytes() == samples.prompt(of_card=two).to_bytes()
    assert samples.prompt(0).digest != samples.prompt(1).digest


def test_length_10_for_bloom_560m_is_under_100_kb() -> None:
    assert len(samples.prompt(length=10, hidden=1024).to_bytes()) < 100_000


def test_training_on_does_not_change_a_prompt() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2, 4))
    prompt = SoftPrompt(card=samples.card(), vectors=parameter)
    with torch.no_grad():
        parameter.add_(1)
    assert not prompt.vectors.requires_grad
    assert torch.equal(prompt.vectors, torch.zeros(2, 4))


def test_training_state_travels_but_is_no_part_of_the_digest(tmp_path: Path) -> None:
    state = {"state.w_down": torch.ones(5, 8), "state.w_up": torch.ones(8, 5)}
    bare = samples.prompt()
    prompt = SoftPrompt(card=bare.card, vectors=bare.vectors, state=state)
    prompt.save(tmp_path / "p.safetensors")
    again = SoftPrompt.load(tmp_path / "p.safetensors")
    assert again.state.keys() == state.keys()
    assert torch.equal(again.state["state.w_down"], state["state.w_down"])
    assert again.digest == bare.digest
    assert again.to_bytes() == bare.to_bytes()


def test_every_truncation_is_refused() -> None:
    whole = samples.prompt().to_bytes()
    for size in some(range(len(whole))):
        with pytest.raises(InvalidPrompt, match=r"truncated|not a safetensors"):
            SoftPrompt.from_bytes(whole[:size])


def test_bytes_after_the_tensors_are_refused() -> None:
    with pytest.raises(InvalidPrompt, match="oversized"):
        SoftPrompt.from_bytes(samples.prompt().to_bytes() + b"x")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "truncated", id="empty"),
        pytest.param(b"PK\x03\x04" + b"\0" * 40, "not a safetensors", id="a zip (pickle)"),
        pytest.param(forged("{" * 3), "not a safetensors", id="no JSON"),
        pytest.param(forged("[" * 100_000), "not a safetensors", id="nested for ever"),
        pytest.param(forged("\ud83d".encode("utf-8", "surrogatepass").decode("latin1")),
                     "not a safetensors", id="no UTF-8"),
        pytest.param(forged({"prompt": 1}), "not a safetensors", id="tensor is a number"),
        pytest.param(struct.pack("<Q", 2**62) + b"{}", "header of", id="huge header"),
        pytest.param(forged(header(shape=[2**40, 2], data_offsets=[0, 2**43]), b"\0" * 8),
                     "truncated", id="claims terabytes"),
        pytest.param(forged(header(shape=[2**62, 4]), b"\0" * 8), "less than", id="overflows"),
        pytest.param(forged(header(shape=[1, 3]), b"\0" * 8), "range", id="shape and range differ"),
        pytest.param(forged(header(shape=[1, -2]), b"\0" * 8), "shape", id="negative shape"),
        pytest.param(forged(header(data_offsets=[4, 12]), b"\0" * 12), "byte range", id="hole"),
        pytest.param(forged(header(dtype="F64"), b"\0" * 8), "dtype F64", id="unknown dtype"),
        pytest.param(forged({"__metadata__": {}, "prompt": header()["prompt"]}, b"\0" * 8),
                     "no card", id="no card"),
        pytest.param(with_tensors(prompt=torch.ones(1, 2).half()), "dtype F16", id="half"),
        pytest.param(with_tensors(prompt=torch.ones(4)), r"shape \[4\]", id="one dimension"),
        pytest.param(with_tensors(prompt=torch.ones(0, 4)), r"shape \[0, 4\]", id="length 0"),
        pytest.param(with_tensors(prompt=torch.tensor([[1.0, float("nan")]])), "NaN", id="NaN"),
        pytest.param(with_tensors(prompt=torch.tensor([[1.0, float("-inf")]])), "Inf", id="Inf"),
        pytest.param(with_tensors(other=torch.ones(1, 2)), "'other'", id="unknown tensor"),
        pytest.param(with_tensors(**{"state.w_up": torch.ones(2, 1)}), "no tensor", id="no prompt"),
        pytest.param(with_tensors(prompt=torch.ones(1, 2), **{"state.w_down": torch.ones(1, 3)}),
                     "state.w_down", id="state of another size"),
        pytest.param(with_tensors(prompt=torch.ones(1, 2), **{"state.norm_bias": torch.ones(1, 2)}),
                     "state.norm_bias", id="state of another rank"),
        pytest.param(with_card(format_version=2), "unknown format version", id="newer format"),
        pytest.param(with_card(surprise=1), "surprise", id="unknown field"),
        pytest.param(with_card(position="infix"), "position", id="unknown position"),
        pytest.param(with_card(dev_accuracy=7), "dev_accuracy", id="accuracy above 1"),
        pytest.param(with_card(created_at="2026-01-01T00:00:00"), "created_at", id="no time zone"),
        pytest.param(with_card(labels=[]), "labels", id="no labels"),
        pytest.param(
            with_card(labels=[label.model_dump() for label in samples.labels("a", "a")]),
            "once", id="label twice"),
        pytest.param(
            safetensors.torch.save({"prompt": torch.ones(1, 2)}, {"card": "no JSON"}),
            "card is invalid", id="card is no JSON"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidPrompt, match=reason) as refusal:
        SoftPrompt.from_bytes(data)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


def test_two_labels_on_one_token_are_refused() -> None:
    label = samples.labels("a")[0]
    twin = label.model_copy(update={"label": "b"})
    with pytest.raises(ValidationError, match="token of its own"):
        PromptCard.model_validate({**samples.card().model_dump(), "labels": (label, twin)})


def test_settings_that_are_no_json_are_refused() -> None:
    with pytest.raises(ValidationError, match="JSON"):
        PromptCard.model_validate(
            {**samples.card().model_dump(), "training": {"loss": float("nan")}}
        )


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)  # sparse: takes no room
    with pytest.raises(InvalidPrompt, match=r"huge.safetensors.*oversized"):
        SoftPrompt.load(path)


def make_nothing(path: Path) -> None:
    pass


def make_bad(path: Path) -> None:
    path.write_bytes(b"bad")


@pytest.mark.parametrize(
    ("make", "error"),
    [(make_nothing, NotFound), (Path.mkdir, InvalidPrompt), (make_bad, InvalidPrompt)],
)
def test_a_path_without_a_prompt_is_named(
    tmp_path: Path, make: Callable[[Path], None], error: type[Exception]
) -> None:
    path = tmp_path / "p.safetensors"
    make(path)
    with pytest.raises(error, match=r"p\.safetensors"):
        SoftPrompt.load(path)


def test_a_prompt_fits_the_backbone_it_was_made_for() -> None:
    samples.prompt().check_fits(FakeBackbone())


@pytest.mark.parametrize(
    ("backbone", "reason"),
    [
        (FakeBackbone(fingerprint="sha256:fe"), f"{samples.MODEL.fingerprint}.*sha256:fe"),
        (FakeBackbone(hidden_size=16), "hidden size 16"),
        (FakeBackbone(max_prompt_length=2), "at most 2"),
        (FakeBackbone(vocab_size=101), "'travel' has token id 101"),
    ],
)
def test_a_prompt_for_another_backbone_is_refused(backbone: FakeBackbone, reason: str) -> None:
    with pytest.raises(InvalidPrompt, match=reason):
        samples.prompt().check_fits(backbone)
