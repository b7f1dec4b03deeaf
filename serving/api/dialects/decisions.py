"""OpenAI's Decisions: `POST /v1/decisions`, as its client of November 2026 sends and reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import Field, StrictBool, StrictStr, field_validator
from pydantic_core import to_json

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.problem import expected_level
from isogloss.serving.api.dialects import questions, served
from isogloss.serving.api.dialects.questions import Meant, Question
from isogloss.serving.api.dialects.served import Lenient
from isogloss.serving.api.dialects.shapes import OpenAIErrorBody
from isogloss.serving.http.bodies import Bodies
from isogloss.serving.http.calls import Call, answer
from isogloss.serving.http.openapi import errors, json_body
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.caller import Caller
from isogloss.serving.schemas import ClassifyRequest

_ERRORS = errors(OpenAIErrorBody)

MOST_QUESTIONS = 400
MOST_CHARS = 256
"""Of an option: no label has more."""
_MOST_OPTIONS = 255
_MOST_VALUES = 1 << 15
_Name = Annotated[str, Field(max_length=256)]
_Words = str | list[Any] | None
_SPOKEN = ("user", "assistant")
"""Whose messages are read: what developers and the system say are instructions."""


class Part(Lenient):
    """A piece of a message."""

    type: str = Field(max_length=64)
    text: str | None = None


class Message(Lenient):
    """A message of a conversation."""

    role: str = Field(default="user", max_length=64)
    content: str | Annotated[list[Part], Field(fail_fast=True)]

    def text(self, place: int) -> str:
        """Its words, part by part.

        Raises:
            InvalidInput: it has others than words.
        """
        if isinstance(self.content, str):
            return self.content
        return "\n".join(_words_of(place, n, part) for n, part in enumerate(self.content))


class Choice(Lenient):
    """An option of a question."""

    value: Annotated[StrictStr, Field(max_length=MOST_CHARS)] | StrictBool
    description: str | None = None


class Level(Lenient):
    """A step of a scale."""

    label: str = Field(max_length=MOST_CHARS)
    description: str | None = None


class PredicateQuestion(Lenient):
    """How likely something is true of the text."""

    type: Literal["predicate"]
    name: _Name | None = None
    instructions: _Words = None

    def asked(self) -> Question:
        """Without the words."""
        return Question("predicate", self.name)


class ChoiceQuestion(Lenient):
    """Which of some options the text is about."""

    type: Literal["choice"]
    name: _Name | None = None
    instructions: _Words = None
    choices: list[Choice] = Field(min_length=2, max_length=_MOST_OPTIONS, fail_fast=True)

    @field_validator("choices")
    @classmethod
    def _differ(cls, choices: list[Choice]) -> list[Choice]:
        if len({(type(each.value), each.value) for each in choices}) < len(choices):
            raise ValueError("each choice may appear once")
        return choices

    def asked(self) -> Question:
        """Without the words."""
        return Question("choice", self.name, tuple(each.value for each in self.choices))


class ScoreQuestion(Lenient):
    """Where the text stands on a scale, the lowest level first."""

    type: Literal["score"]
    name: _Name | None = None
    instructions: _Words = None
    levels: list[Level] = Field(min_length=2, max_length=_MOST_OPTIONS, fail_fast=True)

    def asked(self) -> Question:
        """Without the words."""
        return Question("score", self.name, tuple(each.label for each in self.levels))


class DecisionsRequest(Lenient):
    """Questions about one text."""

    model: str | None = Field(default=None, max_length=4096, description="A served model.")
    input: str | Annotated[list[Message], Field(fail_fast=True)] = Field(
        description="The text, or the messages of a conversation."
    )
    questions: list[
        Annotated[PredicateQuestion | ChoiceQuestion | ScoreQuestion, Field(discriminator="type")]
    ] = Field(
        min_length=1,
        max_length=MOST_QUESTIONS,
        fail_fast=True,
        description="1 to 400 questions; each is about a task by its name or by its options.",
    )

    def text(self) -> str:
        """What is asked about.

        Raises:
            InvalidInput: a message has others than words.
        """
        if isinstance(self.input, str):
            return self.input
        spoken = [(n, each) for n, each in enumerate(self.input) if each.role in _SPOKEN]
        return "\n".join(message.text(place) for place, message in spoken)


def add_decisions(api: FastAPI, service: Service, bodies: Bodies) -> None:
    """Add `POST /v1/decisions`."""

    @api.post(
        "/v1/decisions",
        openapi_extra=json_body(DecisionsRequest),
        responses=_ERRORS,
        summary="OpenAI Decisions",
    )
    async def decisions(request: Request) -> Response:
        async def read(caller: Caller) -> Call[Meant]:
            body = await bodies.parsed(request, DecisionsRequest, most_values=_MOST_VALUES)
            asked = [each.asked() for each in body.questions]
            meant = await questions.meant(service, body.model, asked, caller)
            return Call(ClassifyRequest(inputs=body.text(), model=meant.model), meant, meant.tasks)

        meant, answers = await answer(service, request, read)
        told = [_answer(*each) for each in meant.answered(answers)]
        whole = {"model": meant.name, "answers": told, "usage": _usage(served.tokens(answers[0]))}
        return Response(to_json(whole), media_type="application/json")


def _answer(question: Question, shares: Sequence[float] | None) -> dict[str, Any]:
    name, options = question.name, question.options
    if shares is None:
        return {"type": "refusal", "name": name}
    if question.kind == "predicate":
        return {"type": "predicate", "name": name, "probability": shares[0]}
    if question.kind == "score":
        levels = [
            {"value": place, "label": label, "probability": share}
            for place, (label, share) in enumerate(zip(options, shares, strict=True))
        ]
        return {
            "type": "score",
            "name": name,
            "score": expected_level(shares),
            "confidence": questions.confidence(shares),
            "probabilities": levels,
        }
    return {
        "type": "choice",
        "name": name,
        "choice": options[shares.index(max(shares))],
        "confidence": questions.confidence(shares),
        "probabilities": [
            {"value": value, "probability": share}
            for value, share in zip(options, shares, strict=True)
        ],
    }


def _usage(tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens,
    }


def _words_of(message: int, place: int, part: Part) -> str:
    if part.text is None or "text" not in part.type:
        raise InvalidInput(
            f"input[{message}].content[{place}]: a part of type {part.type[:40]!r} is not read "
            "here; send parts of type input_text"
        )
    return part.text
