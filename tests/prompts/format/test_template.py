"""A template on a card: what may be one, and what files with and without one are."""

from __future__ import annotations

import json
from typing import Any

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError

from isogloss.prompts.errors import InvalidInput, InvalidPrompt
from isogloss.prompts.format.card import PromptCard
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.prompt import read_prompt
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.template import (
    Around,
    TextForm,
    around,
    check_room,
    checked_template,
    settled_template,
    speaker,
)
from tests.fakes import FakeBackbone
from tests.prompts import samples

DIGEST = "sha256:5db230244342a6e0f17d36e7bfc51e1c09e1bdf09eb41d238d0afcd948bcff17"
ENSEMBLE_DIGEST = "sha256:f6f6aec54b96b3c05d6dc96a489410a3479a30a2dae31bcffb7258c0fc412cc9"
"""Of files that the release before templates wrote."""
NEW = {"format_version": 3}
TWEET = "Tweet text : {text} Label :"


def with_card(**changes: Any) -> bytes:
    document = {**json.loads(samples.card().to_json()), **changes}
    return safetensors.torch.save({"prompt": torch.ones(1, 2)}, {"card": json.dumps(document)})


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("", r"it has 0 \{text\}"),
        ("Label :", r"it has 0 \{text\}"),
        ("{Text} Label :", r"it has 0 \{text\}"),
        ("{text} and {text}", r"it has 2 \{text\}, and one is needed"),
        ("{text}" + "a" * 995, "1001 characters are too many, at most 1000"),
        ("\x1b[31m{text}", "control characters"),
        ("\u202e{text}", "control characters"),
    ],
)
def test_what_is_no_template_is_refused_with_the_remedy(template: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^--template .*{said}"):
        checked_template(template)
    with pytest.raises(InvalidPrompt, match=rf"card is invalid: template.*{said}"):
        SoftPrompt.from_bytes(with_card(template=template, format_version=3))


@pytest.mark.parametrize(
    ("template", "parts"),
    [
        (TWEET, ("Tweet text : ", " Label :")),
        ("{text}", ("", "")),
        ("{text}\n\tLabel: ", ("", "\n\tLabel: ")),
        ("{a} {{text}} {0}", ("{a} {", "} {0}")),
        ("نص: {text}", ("نص: ", "")),
    ],
)
def test_a_template_is_what_stands_before_and_behind(template: str, parts: tuple[str, str]) -> None:
    assert around(checked_template(template)) == Around(*parts)
    assert around(None) == ("", "")


def test_what_was_given_wins_and_the_text_alone_is_no_template() -> None:
    assert settled_template(None, TWEET) == TWEET
    assert settled_template("{text}", TWEET) is None
    assert settled_template("{text}!", TWEET) == "{text}!"
    assert settled_template(None) is None


def test_a_card_without_a_template_has_the_bytes_it_always_had() -> None:
    assert "template" not in samples.card().to_json()
    assert samples.card().format_version == 1
    assert samples.card().text_form == TextForm("model", None)
    prompts = samples.prompt(1), samples.prompt(2)
    assert prompts[0].digest == DIGEST
    assert samples.ensemble(*prompts).digest == ENSEMBLE_DIGEST


def test_a_template_travels_in_the_card() -> None:
    card = PromptCard.model_validate({**samples.card().model_dump(), "template": TWEET} | NEW)
    made = samples.prompt(1, of_card=card)
    again = SoftPrompt.from_bytes(made.to_bytes())
    assert (again.card.template, again.card.format_version) == (TWEET, 3)
    assert again.digest == made.digest != samples.prompt(1).digest
    assert again.card.text_form == TextForm("model", TWEET)
    together = samples.ensemble(made, samples.prompt(2))
    read = read_prompt(together.to_bytes())
    assert isinstance(read, Ensemble)
    assert [each.card.template for each in read.prompts] == [TWEET, None]


def test_a_release_that_knows_no_templates_refuses_the_file_by_number() -> None:
    """A card that kept version 1 would be one whose template such a release might overlook."""
    with pytest.raises(InvalidPrompt, match="a template needs format_version 3"):
        SoftPrompt.from_bytes(with_card(template=TWEET))
    with pytest.raises(InvalidPrompt, match=r"unknown format version.*reads version 1 or 3"):
        SoftPrompt.from_bytes(with_card(template=TWEET, format_version=4))
    with pytest.raises(ValidationError):
        PromptCard.model_validate({**samples.card().model_dump(), "template": TWEET})
    assert SoftPrompt.from_bytes(with_card(format_version=3)).card.template is None


def test_a_template_must_leave_room_for_a_text() -> None:
    half = FakeBackbone.max_text_tokens // 2  # a token a character
    check_room("{text}" + "a" * half, FakeBackbone())
    check_room(None, FakeBackbone())
    with pytest.raises(InvalidPrompt, match=rf"takes {half + 1} of the {2 * half} tokens.*shorten"):
        check_room("{text}" + "a" * (half + 1), FakeBackbone())


class Words:
    def first_token(self, word: str, *, spaced: bool = True) -> tuple[int, str] | None:
        return len(word), f" {word}" if spaced else word


@pytest.mark.parametrize(
    ("template", "surface"),
    [(None, " glad"), (TWEET, " glad"), (f"{TWEET} ", "glad"), ("{text}\n", "glad")],
)
def test_a_word_has_a_space_before_it_unless_the_template_ends_in_one(
    template: str | None, surface: str
) -> None:
    assert speaker(Words(), template).first_token("glad") == (4, surface)
