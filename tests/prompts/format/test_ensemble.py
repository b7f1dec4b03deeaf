"""Prompts that answer together, as one file: read whole, or refused with the member's name."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
import torch

from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.format.ensemble import MOST_MEMBERS, Ensemble, EnsembleCard
from isogloss.prompts.format.prompt import load_prompt, members_of, read_prompt
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.verbalizer import LabelToken
from tests.prompts import samples
from tests.prompts.damaged_files import joined, split

ONE, TWO = samples.prompt(1), samples.prompt(2, length=5)
PREFIX = samples.prompt(3, of_card=samples.card(position="prefix"))
KEPT = Path(__file__).with_name("ensemble.safetensors")
"""Written by the first release with ensembles, of ONE, TWO and PREFIX."""


@dataclass(frozen=True)
class FakeBackbone:
    model_id: str = "pocket-bloom"
    fingerprint: str = samples.MODEL.fingerprint
    hidden_size: int = 8
    vocab_size: int = 200
    max_prompt_length: int = 5


def with_card(change: Callable[[dict[str, Any]], None], data: bytes | None = None) -> bytes:
    """A file of ONE and TWO whose card was changed."""
    header, body = split(data or samples.ensemble(ONE, TWO).to_bytes())
    card = json.loads(header["__metadata__"]["card"])
    change(card)
    header["__metadata__"]["card"] = json.dumps(card)
    return joined(header, body)


def with_number(member: int, value: float) -> bytes:
    """A file of ONE and TWO in which a member's last number was changed."""
    data = bytearray(samples.ensemble(ONE, TWO).to_bytes())
    header, body = split(bytes(data))
    end = header[f"prompt.{member}"]["data_offsets"][1]
    struct.pack_into("<f", data, len(data) - len(body) + end - 4, value)
    return bytes(data)


def with_tensors(change: Callable[[dict[str, Any]], None]) -> bytes:
    data = samples.ensemble(ONE, TWO).to_bytes()
    tensors = safetensors.numpy.load(data)
    change(tensors)
    return safetensors.numpy.save(tensors, split(data)[0]["__metadata__"])


def test_a_file_gives_back_its_members(tmp_path: Path) -> None:
    made = samples.ensemble(ONE, TWO, PREFIX)
    path = tmp_path / "together.safetensors"
    path.write_bytes(made.to_bytes())
    again = load_prompt(path)
    assert isinstance(again, Ensemble)
    assert [(m.reference, m.prompt.digest) for m in again.members] == [
        ("a@1", ONE.digest),
        ("b@1", TWO.digest),
        ("c@1", PREFIX.digest),
    ]
    for member, prompt in zip(again.prompts, (ONE, TWO, PREFIX), strict=True):
        assert torch.equal(member.vectors, prompt.vectors)
        assert member.card == prompt.card
    assert (again.digest, again.card) == (made.digest, made.card)
    assert (again.length, again.hidden_size) == (3 + 5 + 3, 8)


def test_equal_members_in_equal_order_are_equal_bytes() -> None:
    made = samples.ensemble(ONE, TWO)
    assert made.to_bytes() == samples.ensemble(ONE, samples.prompt(2, length=5)).to_bytes()
    assert read_prompt(made.to_bytes()).to_bytes() == made.to_bytes()
    assert made.digest != samples.ensemble(TWO, ONE).digest


def test_training_state_of_a_member_stays_behind() -> None:
    state = {"state.w_down": torch.ones(5, 8), "state.w_up": torch.ones(8, 5)}
    with_state = SoftPrompt(ONE.card, ONE.vectors, state)
    assert samples.ensemble(with_state, TWO).digest == samples.ensemble(ONE, TWO).digest


def test_a_file_that_was_ever_written_is_read_and_written_alike() -> None:
    kept = KEPT.read_bytes()
    assert read_prompt(kept).to_bytes() == kept == samples.ensemble(ONE, TWO, PREFIX).to_bytes()


def test_a_card_tells_what_the_members_share_and_each_one_s_own() -> None:
    card = samples.ensemble(ONE, PREFIX).card
    assert (card.format_version, card.kind, card.task) == (2, "ensemble", "topic")
    assert (card.model, card.labels) == (samples.MODEL, ONE.card.labels)
    assert card.position == "prefix"  # not all of them follow the text
    assert samples.ensemble(ONE, TWO).card.position == "suffix"
    assert [member.card for member in card.members] == [ONE.card, PREFIX.card]
    assert card.created_at == ONE.card.created_at


def test_what_came_from_a_file_has_no_version() -> None:
    made = Ensemble.of([("mine", None, ONE), ("theirs", 3, TWO)])
    assert [member.reference for member in made.members] == ["mine", "theirs@3"]
    assert read_prompt(made.to_bytes()).digest == made.digest


def test_one_prompt_is_its_only_member() -> None:
    (member,) = members_of("world", ONE)
    assert (member.reference, member.prompt) == ("world", ONE)


def test_labels_are_in_the_first_member_s_order() -> None:
    turned = samples.prompt(4, of_card=_turned())
    made = samples.ensemble(ONE, turned)
    assert made.card.labels == ONE.card.labels
    assert samples.ensemble(turned, ONE).card.labels == turned.card.labels
    assert read_prompt(made.to_bytes()).digest == made.digest


def _turned() -> Any:
    return ONE.card.model_copy(update={"labels": ONE.card.labels[::-1]})


def test_sixteen_answer_together() -> None:
    made = samples.ensemble(*(samples.prompt(seed) for seed in range(MOST_MEMBERS)))
    assert len(made.members) == 16
    assert read_prompt(made.to_bytes()).digest == made.digest


def _of(**changes: Any) -> SoftPrompt:
    return samples.prompt(5, of_card=samples.card(**changes))


def _other_token() -> SoftPrompt:
    other = LabelToken(label="sports", word="sport", token="Ġsport", token_id=7)
    labels = (other, ONE.card.labels[1])
    return samples.prompt(5, of_card=ONE.card.model_copy(update={"labels": labels}))


@pytest.mark.parametrize(
    ("prompts", "reason"),
    [
        ([ONE], "2 to 16 members, and 1 are given"),
        ([samples.prompt(seed) for seed in range(17)], "2 to 16 members, and 17 are given"),
        ([ONE, TWO, ONE], "'c@1' is in the ensemble twice"),
        ([ONE, _of(model=samples.OTHER_MODEL)], "'b@1' is for pocket-xglm .*'a@1' for pocket-bl"),
        ([ONE, _of(task="mood")], "'b@1' is for task 'mood', 'a@1' for 'topic'"),
        ([ONE, _of(names=("sports", "health"))], r"'a@1' and 'b@1' differ in labels.*'health'"),
        ([ONE, _of(names=("sports", "travel", "health"))], r"differ in labels.*'health'"),
        ([ONE, _other_token()], r"differ in labels.*'sports', 7.*'sports', 100"),
        ([ONE, samples.prompt(5, hidden=16)], "'b@1' has vectors of 16 numbers, 'a@1' of 8"),
    ],
)
def test_what_cannot_answer_together_is_refused(prompts: Sequence[SoftPrompt], reason: str) -> None:
    with pytest.raises(InvalidPrompt, match=reason) as refused:
        samples.ensemble(*prompts)
    assert len(str(refused.value)) < 500


def test_what_no_file_can_hold_is_not_made() -> None:
    """Each member's history is within what a card may have, all of them together are not."""
    cards = [
        samples.card().model_copy(update={"training": {"history": [seed] * 9000}})
        for seed in range(8)
    ]
    prompts = [samples.prompt(seed, of_card=card) for seed, card in enumerate(cards)]
    assert read_prompt(prompts[0].to_bytes()).digest == prompts[0].digest
    with pytest.raises(InvalidPrompt, match=r"8 prompts make no file that can be read: .*values"):
        samples.ensemble(*prompts)


def _lone(card: dict[str, Any]) -> None:
    del card["members"][1]


def _many(card: dict[str, Any]) -> None:
    card["members"] *= 9


def _twice(card: dict[str, Any]) -> None:
    card["members"][1] = card["members"][0]


def _nested(card: dict[str, Any]) -> None:
    card["members"][1]["card"] = json.loads(samples.ensemble(ONE, TWO).card.to_json())


def _foreign(card: dict[str, Any]) -> None:
    card["members"][1]["card"]["model"]["fingerprint"] = "sha256:" + "cd" * 32


def _moody(card: dict[str, Any]) -> None:
    card["members"][1]["card"]["task"] = "mood"


def _relabelled(card: dict[str, Any]) -> None:
    card["members"][1]["card"]["labels"][0]["token_id"] = 7


def _own_labels(card: dict[str, Any]) -> None:
    card["labels"].reverse()


def _retrained(card: dict[str, Any]) -> None:
    card["members"][1]["card"]["training"]["seed"] = 7


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(with_card(_lone), "members: .*at least 2", id="one member"),
        pytest.param(with_card(_many), "members: .*at most 16", id="too many"),
        pytest.param(with_card(_twice), "'a@1' is in the ensemble twice", id="twice"),
        pytest.param(with_card(_nested), r"members\.1\.card\.format_version", id="nested"),
        pytest.param(with_card(_foreign), "'b@1' is for pocket-bloom", id="another model"),
        pytest.param(with_card(_moody), "'b@1' is for task 'mood'", id="another task"),
        pytest.param(with_card(_relabelled), "differ in labels", id="another token"),
        pytest.param(with_card(_own_labels), "not those of its first member", id="own labels"),
        pytest.param(with_card(lambda c: c.update(position="prefix")), "position is 'prefix'",
                     id="position"),
        pytest.param(with_card(lambda c: c.update(task="mood")), "its model, task", id="task"),
        pytest.param(with_card(lambda c: c.update(format_version=3)),
                     "unknown format version.*reads version 2", id="newer format"),
        pytest.param(with_card(lambda c: c.update(surprise=1)), "surprise", id="unknown field"),
        pytest.param(with_card(lambda card: card["training"].update(loss=float("nan"))), "training",
                     id="NaN in the card"),
        pytest.param(with_card(lambda card: card["members"][1].update(name="../b")), "name",
                     id="name is a path"),
        pytest.param(with_card(_retrained), "member 'b@1' is damaged", id="a member's card"),
        pytest.param(with_number(0, 3.0), "member 'a@1' is damaged: .*sha256", id="first changed"),
        pytest.param(with_number(1, 3.0), "member 'b@1' is damaged: .*sha256", id="second changed"),
        pytest.param(with_number(1, float("nan")), "member 'b@1': .*NaN or Inf in 1", id="NaN"),
        pytest.param(with_number(0, float("inf")), "member 'a@1': .*NaN or Inf in 1", id="Inf"),
        pytest.param(with_tensors(lambda t: t.pop("prompt.1")), r"lacks the tensor 'prompt\.1'",
                     id="last missing"),
        pytest.param(with_tensors(lambda t: t.pop("prompt.0")), r"lacks the tensor 'prompt\.0'",
                     id="first missing"),
        pytest.param(with_tensors(lambda t: t.update({"prompt.2": t["prompt.1"]})),
                     r"unknown tensor 'prompt\.2'; allowed are 'prompt\.0' to 'prompt\.1'",
                     id="one more"),
        pytest.param(with_tensors(lambda t: t.update({"state.w_up": t["prompt.1"]})),
                     r"unknown tensor 'state\.w_up'", id="training state"),
        pytest.param(with_tensors(lambda t: t.update({"prompt.1": t["prompt.1"].astype("f2")})),
                     r"'prompt\.1' has dtype F16", id="half"),
        pytest.param(with_tensors(lambda t: t.update({"prompt.1": t["prompt.1"].ravel()})),
                     r"member 'b@1': .*shape \[40\]", id="one dimension"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidPrompt, match=reason) as refused:
        read_prompt(data)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_members_of_another_size_than_the_first_are_refused() -> None:
    wide = samples.prompt(2, length=5, hidden=16)

    def change(card: dict[str, Any]) -> None:
        card["members"][1]["digest"] = wide.digest

    tensors = {"prompt.0": ONE.arrays["prompt"], "prompt.1": wide.arrays["prompt"]}
    metadata = {"card": samples.ensemble(ONE, TWO).card.to_json()}
    data = with_card(change, safetensors.numpy.save(tensors, metadata))
    with pytest.raises(InvalidPrompt, match="'b@1' has vectors of 16 numbers, 'a@1' of 8"):
        read_prompt(data)


def test_every_truncation_is_refused() -> None:
    whole = samples.ensemble(ONE, TWO).to_bytes()
    for size in range(0, len(whole), 7):
        with pytest.raises(InvalidPrompt, match=r"truncated|not a safetensors"):
            read_prompt(whole[:size])


def test_a_reader_of_single_prompts_refuses_it_by_its_version() -> None:
    """So does every release before ensembles, which knows no other reader."""
    with pytest.raises(InvalidPrompt, match="unknown format version"):
        SoftPrompt.from_bytes(samples.ensemble(ONE, TWO).to_bytes())


def test_all_members_must_fit_the_backbone() -> None:
    made = samples.ensemble(ONE, TWO)
    made.check_fits(FakeBackbone())
    with pytest.raises(InvalidPrompt, match=r"member 'b@1': .*length 5.* at most 4"):
        made.check_fits(FakeBackbone(max_prompt_length=4))
    with pytest.raises(InvalidPrompt, match=r"member 'a@1': .*not for pocket-bloom"):
        made.check_fits(FakeBackbone(fingerprint="sha256:fe"))


def test_equal_cards_give_equal_text() -> None:
    card = samples.ensemble(ONE, TWO).card
    assert EnsembleCard.model_validate_json(card.to_json()) == card
