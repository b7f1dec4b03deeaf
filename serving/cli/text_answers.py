"""Answers of `isogloss classify` to any number of texts, request by request, and how they look.

A line of standard input that cannot be answered costs no other line its answer: it is told by its
number, and keeps its place among the results.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from isogloss.prompts.errors import InvalidInput, IsoglossError
from isogloss.serving.cli.texts import GivenText, print_table, shorten
from isogloss.serving.client.answering import (
    ClassifyOptions,
    Outcome,
    answering,
    drive_async,
    named,
)
from isogloss.serving.client.batches import MOST_TEXTS, batches, bytes_of
from isogloss.serving.config import ServingSettings
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse, Result

_SHOWN_REFUSALS = 10
Ask = Callable[[ClassifyRequest], Awaitable[ClassifyResponse]]


class Answers(Protocol):
    """What answers requests."""

    async def classify(self, request: ClassifyRequest) -> ClassifyResponse:
        """Answer a request; InvalidInput and TooLarge name the text at fault by its index."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that has no answer."""

    line: int
    error: str
    error_type: str


@dataclass(frozen=True, slots=True)
class TextAnswers:
    """What was answered to each text, in their order; `facts`: the answer's other fields."""

    facts: Mapping[str, Any]
    results: Sequence[Result | Refused]

    @property
    def refused(self) -> list[Refused]:
        """The lines without an answer."""
        return [each for each in self.results if isinstance(each, Refused)]

    def complaints(self) -> list[str]:
        """What to say of lines without an answer: of the first few, and how many more there are."""
        said = [f"not answered: {each.error}" for each in self.refused[:_SHOWN_REFUSALS]]
        more = len(self.refused) - len(said)
        return [*said, f"not answered: {more} more lines"] if more else said

    def as_json(self) -> dict[str, Any]:
        """One object like HTTP's answer; a line without one has its `error` in its place."""
        return {**self.facts, "results": [_as_json(each) for each in self.results]}


def _as_json(result: Result | Refused) -> dict[str, Any]:
    if isinstance(result, Refused):
        return {"line": result.line, "error": result.error, "error_type": result.error_type}
    return result.model_dump(mode="json")


def classify_texts(
    settings: ServingSettings,
    texts: Sequence[GivenText],
    options: ClassifyOptions,
    url: str | None = None,
) -> TextAnswers:
    """Answer texts in this process, or by the server at an address; raises as `answer_texts`."""

    async def answer() -> TextAnswers:
        if url is not None:
            from isogloss.serving.client.async_client import AsyncClient  # nobody else needs httpx

            async with AsyncClient(url) as client:
                return await answer_texts(client.ask, texts, options)
        async with in_process(settings) as answers:
            return await answer_texts(answers.classify, texts, options, settings.max_inputs)

    return asyncio.run(answer())


@contextlib.asynccontextmanager
async def in_process(settings: ServingSettings) -> AsyncIterator[Answers]:
    """What answers requests without a server, while open."""
    from isogloss.serving.pipeline import engine

    classifier = engine.build_classifier(settings)
    try:
        yield classifier
    finally:
        classifier.close()


async def answer_texts(
    ask: Ask, texts: Sequence[GivenText], options: ClassifyOptions, size: int = MOST_TEXTS
) -> TextAnswers:
    """Answer texts in requests of at most `size`.

    Raises:
        InvalidInput, TooLarge: an argument cannot be answered (it is named), or no line can.
        IsoglossError: the options cannot be met.
    """
    results: list[Result | Refused] = []
    facts: Mapping[str, Any] | None = None
    for own in batches(texts, lambda each: bytes_of(each.text), size):
        answered = await drive_async(answering([each.text for each in own], options), ask)
        results += map(_result, own, answered.outcomes)
        if answered.response is not None and facts is None:
            facts = answered.response.model_dump(mode="json", exclude={"results"})
    if facts is None:
        raise InvalidInput(_none_answered([each for each in results if isinstance(each, Refused)]))
    return TextAnswers(facts, results)


def _none_answered(refused: Sequence[Refused]) -> str:
    more = f" (and the {len(refused) - 1} others likewise)" if len(refused) > 1 else ""
    return refused[0].error + more


def _result(text: GivenText, outcome: Outcome) -> Result | Refused:
    """The answer to a text; raises what is wrong with one that is no line among others."""
    if not isinstance(outcome, IsoglossError):
        return outcome
    told = named(outcome, text.name)
    if not text.is_line:
        raise told
    return Refused(text.number, str(told), told.error_type)


def print_answers(texts: Sequence[GivenText], answers: TextAnswers) -> None:
    """Print one row a text."""
    print_table(
        ("text", "label", "score", "language", "route", "prompt"),
        [
            (shorten(each.text), *_cells(result))
            for each, result in zip(texts, answers.results, strict=True)
        ],
    )


def _cells(result: Result | Refused) -> tuple[str, ...]:
    if isinstance(result, Refused):
        return (f"(line {result.line} is not answered)", "", "", "", "")
    return (
        f"abstained ({result.label})" if result.abstained else result.cell,
        f"{result.score:.3f}",
        f"{result.language.name} ({result.language.code})",
        result.route.clade or result.route.reason,
        _prompts_of(result),
    )


def _prompts_of(result: Result) -> str:
    """The prompt that answered, or those that did and how much each counted."""
    if result.mixture is None:
        return f"{result.prompt.name}@{result.prompt.version}"
    return ", ".join(
        f"{part.prompt.name}@{part.prompt.version} {part.weight:.0%}" for part in result.mixture
    )
