"""The card of a prompt: all that is known about it besides its vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from isogloss.prompts.console.refusals import describe_first, problems
from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.files.json_bounds import holds_more_values
from isogloss.prompts.format.labels import MOST_LABELS, Named
from isogloss.prompts.format.problem import Problem
from isogloss.prompts.format.template import Template, TextForm, TextStart
from isogloss.prompts.format.verbalizer import LabelToken, Verbalizer

Card = TypeVar("Card", bound=BaseModel)

FORMAT_VERSIONS = "1 or 3"
"""Of the files of one prompt; 2 is an ensemble's."""
_WITH_MORE = 3
"""Of cards with a template, a head of the prompt's own, or several labels or levels. Releases that
know none of these would answer without them: they know 1, and refuse this by number."""
_MOST_VALUES = 1 << 16
"""Of a card; a long training's history has a few thousand."""


class ModelRef(BaseModel):
    """The backbone a prompt was trained for; only the fingerprint decides whether it fits."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    id: str = Field(min_length=1, max_length=1024)
    revision: str | None = Field(default=None, max_length=1024)
    fingerprint: str = Field(min_length=1, max_length=128)


def _json(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    json.dumps(values, allow_nan=False)  # JSON has no NaN: raises ValueError
    return values


Training = Annotated[dict[str, JsonValue], AfterValidator(_json)]
"""How a prompt was made, under names of whoever made it."""


class PromptCard(BaseModel):
    """All that is known about a prompt besides its vectors."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format_version: Literal[1, 3] = 1
    model: ModelRef
    position: Literal["suffix", "prefix"]
    # Left out of the document where there is none, so that cards of before keep their bytes.
    template: Template | None = Field(default=None, exclude_if=lambda given: given is None)
    # Where the labels' rows are: in the model's head, at their tokens, or in the prompt's own file
    # (tensor `label_rows`). There a label has no token, and `token_id` is its row in that tensor.
    head: Literal["model", "prompt"] = Field(
        default="model", exclude_if=lambda given: given == "model"
    )
    kind: Literal["plain", "residual"]
    task: Annotated[Named, Field(min_length=1, max_length=64)]
    labels: tuple[LabelToken, ...] = Field(min_length=2, max_length=MOST_LABELS, fail_fast=True)
    # Left out of the file where one label is right, as before there were others.
    problem: Problem = Field(
        default="single_label", exclude_if=lambda value: value == "single_label"
    )
    none: LabelToken | None = Field(default=None, exclude_if=lambda value: value is None)
    training: Training = Field(default_factory=dict)
    dev_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    created_at: AwareDatetime

    @model_validator(mode="after")
    def _none_goes_with_several(self) -> Self:
        if (self.none is not None) != (self.problem == "multi_label"):
            raise ValueError("a token for none of the labels goes with multi_label, and only there")
        if self.none and self.none.token_id in self.verbalizer.token_ids:
            raise ValueError("the token for none of the labels is that of a label")
        return self

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[LabelToken, ...]) -> tuple[LabelToken, ...]:
        if len({label.label for label in labels}) < len(labels):
            raise ValueError("each label may appear once")
        if len({label.token_id for label in labels}) < len(labels):
            raise ValueError("each label needs a token of its own")
        return labels

    @model_validator(mode="before")
    @classmethod
    def _version_by_content(cls, given: Any) -> Any:
        """Whoever makes a card need not know which version its content takes."""
        if isinstance(given, dict) and _more(given):
            return {"format_version": _WITH_MORE, **given}
        return given

    @model_validator(mode="after")
    def _version_tells_of_more(self) -> Self:
        more = _more({"template": self.template, "head": self.head, "problem": self.problem})
        if more and self.format_version < _WITH_MORE:
            raise ValueError(f"{more} needs format_version {_WITH_MORE}")
        return self

    @model_validator(mode="after")
    def _own_rows_are_counted(self) -> Self:
        if self.head == "model":
            return self
        if self.position != "prefix":
            raise ValueError("head 'prompt' goes with position 'prefix': only PEFT makes such")
        if [label.token_id for label in self.labels] != list(range(len(self.labels))):
            raise ValueError("with head 'prompt' token_id counts the labels' rows from 0")
        if self.problem == "multi_label":
            raise ValueError(
                "head 'prompt' has no row for none of the labels, as multi_label wants"
            )
        return self

    @property
    def verbalizer(self) -> Verbalizer:
        """What answers are read from."""
        return Verbalizer(self.labels, self.problem, self.none)

    @property
    def text_start(self) -> TextStart:
        """What stands before a text that this prompt reads: the model's own start, or nothing."""
        return "none" if self.training.get("text_start") == "none" else "model"

    @property
    def text_form(self) -> TextForm:
        """All that decides which tokens this prompt is given of a text."""
        return TextForm(self.text_start, self.template)

    def to_json(self) -> str:
        """One JSON document; equal cards give equal text."""
        return card_document(self)


def _more(fields: Mapping[str, Any]) -> str:
    """What of a card's fields releases of format 1 know nothing of; empty: nothing."""
    if (problem := fields.get("problem", "single_label")) != "single_label":
        return f"problem {problem!r}"
    if fields.get("template"):
        return "a template"
    return "head 'prompt'" if fields.get("head") == "prompt" else ""


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
    return parse_card(metadata, PromptCard, FORMAT_VERSIONS)


def parse_card(metadata: Mapping[str, str], model: type[Card], versions: str) -> Card:
    """Return the card in a file's metadata, as a model of these format versions.

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
        raise _refused(problems(error), versions) from error


def _refused(listed: Sequence[ErrorDetails], versions: str) -> InvalidPrompt:
    said = describe_first(listed)
    if any(problem["loc"] == ("format_version",) for problem in listed):
        return InvalidPrompt(
            f"unknown format version of the prompt file: {said}; this release reads version "
            f"{versions}"
        )
    return InvalidPrompt(f"the prompt's card is invalid: {said}")
