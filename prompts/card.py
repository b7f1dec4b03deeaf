"""The card of a prompt: all that is known about it besides its vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
)

from prompts.errors import InvalidPrompt
from prompts.tensor_file import describe
from prompts.verbalizer import LabelToken

FORMAT_VERSION = 1


class ModelRef(BaseModel):
    """The backbone a prompt was trained for; only the fingerprint decides whether it fits."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    id: str = Field(min_length=1, max_length=1024)
    revision: str | None = None
    fingerprint: str = Field(min_length=1, max_length=128)


class PromptCard(BaseModel):
    """All that is known about a prompt besides its vectors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format_version: Literal[1] = 1
    model: ModelRef
    position: Literal["suffix", "prefix"]
    kind: Literal["plain", "residual"]
    task: str = Field(min_length=1, max_length=64)
    labels: tuple[LabelToken, ...] = Field(min_length=2)
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

    def to_json(self) -> str:
        """One JSON document; equal cards give equal text."""
        return json.dumps(
            self.model_dump(mode="json"),
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
    if "card" not in metadata:
        raise InvalidPrompt("the prompt file has no card: its metadata lacks the key 'card'")
    try:
        return PromptCard.model_validate_json(metadata["card"])
    except ValidationError as error:
        if any(problem["loc"] == ("format_version",) for problem in error.errors()):
            raise InvalidPrompt(
                f"unknown format version of the prompt file: {describe(error)}; this release "
                f"reads version {FORMAT_VERSION}"
            ) from error
        raise InvalidPrompt(f"the prompt's card is invalid: {describe(error)}") from error
