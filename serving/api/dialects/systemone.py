"""TypeSafe's System One: `POST /v1/systemone`, as its client of November 2026 has it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import Field
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

_MOST_QUESTIONS = 400
_MOST_OPTIONS = 255
_MOST_VALUES = 1 << 15
_Option = Annotated[str, Field(max_length=256)]
_Content = str | dict[str, Any] | list[Any]
_WORDS = ("text", "content", "message", "body")
"""Fields of a state that hold its text, the likeliest first."""


class NoulQuestion(Lenient):
    """Whether something is true of the text."""

    type: Literal["noul"]
    instructions: _Content | None = None

    def asked(self, name: str) -> Question:
        """Without the words."""
        return Question("predicate", name)


class ChoiceQuestion(Lenient):
    """Which of some labels the text has."""

    type: Literal["choice"]
    instructions: _Content | None = None
    criteria: dict[_Option, _Content | None] = Field(min_length=1, max_length=_MOST_OPTIONS)

    def asked(self, name: str) -> Question:
        """Without the words."""
        return Question("choice", name, tuple(self.criteria))


class ScoreQuestion(Lenient):
    """Where the text stands on a scale, the lowest level first."""

    type: Literal["score"]
    instructions: _Content | None = None
    criteria: list[_Option] = Field(min_length=1, max_length=_MOST_OPTIONS, fail_fast=True)

    def asked(self, name: str) -> Question:
        """Without the words."""
        return Question("score", name, tuple(self.criteria))


class SystemOneRequest(Lenient):
    """Questions about one state, by name."""

    model: str | None = Field(default=None, max_length=4096, description="A served model.")
    state: _Content = Field(description="A text; or an object or a list that holds texts.")
    questions: dict[
        Annotated[str, Field(max_length=256)],
        Annotated[NoulQuestion | ChoiceQuestion | ScoreQuestion, Field(discriminator="type")],
    ] = Field(
        min_length=1,
        max_length=_MOST_QUESTIONS,
        description="Each is about a task by its name or by its criteria.",
    )


def add_systemone(api: FastAPI, service: Service, bodies: Bodies) -> None:
    """Add `POST /v1/systemone`."""

    @api.post(
        "/v1/systemone",
        openapi_extra=json_body(SystemOneRequest),
        responses=_ERRORS,
        summary="TypeSafe System One",
    )
    async def systemone(request: Request) -> Response:
        async def read(caller: Caller) -> Call[Meant]:
            body = await bodies.parsed(request, SystemOneRequest, most_values=_MOST_VALUES)
            asked = [each.asked(name) for name, each in body.questions.items()]
            meant = await questions.meant(service, body.model, asked, caller)
            for question, meaning in zip(meant.questions, meant.meanings, strict=True):
                if meaning is None:  # its client knows no answer that is none
                    raise InvalidInput(
                        f"questions.{question.name}: no task of this model is about it; leave it "
                        "out, or name it or its criteria after a task in GET /v1/routes"
                    )
            text = words_of(body.state)
            return Call(ClassifyRequest(inputs=text, model=meant.model), meant, meant.tasks)

        meant, answers = await answer(service, request, read)
        told = {each[0].name: _answer(*each) for each in meant.answered(answers)}
        usage = {"input_tokens": served.tokens(answers[0]), "output_tokens": 0}
        whole = {"model": meant.name, "answers": told, "usage": usage}
        return Response(to_json(whole), media_type="application/json")


def words_of(state: Any) -> str:
    """The text of a state: itself, an object's likeliest field, or all parts of a list."""
    return "\n".join(_words(state))


def _words(state: Any) -> Iterator[str]:
    if isinstance(state, str):
        yield state
    elif isinstance(state, list):
        for each in state:
            yield from _words(each)
    elif isinstance(state, dict) and (
        held := [state[name] for name in _WORDS if isinstance(state.get(name), str | list)]
    ):
        yield from _words(held[0])
    else:
        yield json.dumps(state, ensure_ascii=False)


def _answer(question: Question, shares: Sequence[float] | None) -> dict[str, Any]:
    assert shares is not None  # refused before
    if question.kind == "predicate":
        return {"type": "noul", "noul": shares[0]}
    options, sure = question.options, questions.confidence(shares)
    if question.kind == "score":
        places = [str(place) for place in range(len(options))]
        return {
            "type": "score",
            "score": expected_level(shares),
            "confidence": sure,
            "legend": dict(zip(places, options, strict=True)),
            "probabilities": dict(zip(places, shares, strict=True)),
        }
    return {
        "type": "choice",
        "choice": options[shares.index(max(shares))],
        "confidence": sure,
        "probabilities": dict(zip(options, shares, strict=True)),
    }
