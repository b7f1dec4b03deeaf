"""The card of a prompt: all that is known about it besides its vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails

from isogloss.prompts.console.refusals import describe_first, problems
from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.files.json_bounds import holds_more_values
from isogloss.prompts.format.labels import MOST_LABELS, Named
from isogloss.prompts.format.verbalizer import LabelToken

Card = TypeVar("Card", bound=BaseModel)

FORMAT_VERSION = 1
_MOST_VALUES = 1 << 16
"""Of a card; a long training's history has a few thousand."""


class ModelRef(BaseModel):
    """The backbone a prompt was trained for; only the fingerprint decides whether it fits."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    id: str = Field(min_length=1, max_length=1024)
    revision: str | None = Field(default=None, max_length=1024)
    fingerprint: str = Field(min_length=1, max_length=128)


class PromptCard(BaseModel):
    """All that is known about a prompt besides its vectors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format_version: Literal[1] = 1
    model: ModelRef
    position: Literal["suffix", "prefix"]
    kind: Literal["plain", "residual"]
    task: Annotated[Named, Field(min_length=1, max_length=64)]
    labels: tuple[LabelToken, ...] = Field(min_length=2, max_length=MOST_LABELS, fail_fast=True)
    training: dict[str, JsonValue] = Field(default_factory=dict)
    dev_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    created_at: AwareDatetime

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[LabelToken, ...]) -> tuple[LabelToken, ...]:
        if len({label.label for label in labels}) < len(labels):
            raise ValueError("each label may appear once")
        if len({label.token_id for label in labels}) < len(labels):
            raise ValueError("each label needs a token of its own")
        return labels

    @field_validator("training")
    @classmethod
    def _training_is_json(cls, training: dict[str, JsonValue]) -> dict[str, JsonValue]:
        json.dumps(training, allow_nan=False)  # JSON has no NaN: raises ValueError
        return training

    @property
    def text_start(self) -> Literal["model", "none"]:
        """What stands before a text that this prompt reads: the model's own start, or nothing."""
        return "none" if self.training.get("text_start") == "none" else "model"

    def to_json(self) -> str:
        """One JSON document; equal cards give equal text."""
        return card_document(self)


def card_document(card: BaseModel) -> str:
    """A card as one JSON document; equal cards give equal text."""
    return json.dumps(
        card.model_dump(mode="json"),
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    )


def read_card(metadata: Mapping[str, str]) -> PromptCard:
    """Return the card in a prompt file's metadata.

    Raises:
        InvalidPrompt: there is none, it is invalid, or its format version is unknown.
    """
    return parse_card(metadata, PromptCard, FORMAT_VERSION)


def parse_card(metadata: Mapping[str, str], model: type[Card], version: int) -> Card:
    """Return the card in a file's metadata, as a model of its format version.

    Raises:
        InvalidPrompt: there is none, it is invalid, or its format version is another.
    """
    if "card" not in metadata:
        raise InvalidPrompt("the prompt file has no card: its metadata lacks the key 'card'")
    card = metadata["card"].encode()
    if holds_more_values(card, _MOST_VALUES):
        raise InvalidPrompt(
            f"the prompt's card is invalid: it has more than {_MOST_VALUES} values; leave out most "
            "of its training history"
        )
    try:
        return model.model_validate_json(card)
    except ValidationError as error:
        raise _refused(problems(error), version) from error


def _refused(listed: Sequence[ErrorDetails], version: int) -> InvalidPrompt:
    said = describe_first(listed)
    if any(problem["loc"] == ("format_version",) for problem in listed):
        return InvalidPrompt(
            f"unknown format version of the prompt file: {said}; this release reads version "
            f"{version}"
        )
    return InvalidPrompt(f"the prompt's card is invalid: {said}")
