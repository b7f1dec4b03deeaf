"""Answers of `isogloss classify` to any number of texts, request by request, and how they look.

A line of standard input that cannot be answered costs no other line its answer: it is told by its
number, and keeps its place among the results.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from isogloss.prompts.errors import InvalidInput, IsoglossError, TooLarge
from isogloss.serving.api.parsing import built
from isogloss.serving.cli.texts import GivenText, print_table, shorten
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline import engine
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse, Result

_SHOWN_REFUSALS = 10
_ABOUT_ONE = re.compile(r"inputs[\[.](\d+)\]?: (.*)", re.DOTALL)


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
    settings: ServingSettings, texts: Sequence[GivenText], options: Mapping[str, Any]
) -> TextAnswers:
    """Answer texts in this process; raises as `answer_texts`."""

    async def answer() -> TextAnswers:
        classifier = engine.build_classifier(settings)
        try:
            return await answer_texts(classifier, texts, options, settings.max_inputs)
        finally:
            classifier.close()

    return asyncio.run(answer())


async def answer_texts(
    answers: Answers, texts: Sequence[GivenText], options: Mapping[str, Any], size: int
) -> TextAnswers:
    """Answer texts in requests of at most `size`.

    Raises:
        InvalidInput, TooLarge: an argument cannot be answered (it is named), or no line can.
        IsoglossError: the options cannot be met.
    """
    results: list[Result | Refused] = []
    facts: Mapping[str, Any] | None = None
    for start in range(0, len(texts), size):
        answer, own = await _answer(answers, texts[start : start + size], options)
        results += own
        if answer is not None and facts is None:
            facts = answer.model_dump(mode="json", exclude={"results"})
    if facts is None:
        raise InvalidInput(_none_answered([each for each in results if isinstance(each, Refused)]))
    return TextAnswers(facts, results)


def _none_answered(refused: Sequence[Refused]) -> str:
    more = f" (and the {len(refused) - 1} others likewise)" if len(refused) > 1 else ""
    return refused[0].error + more


async def _answer(
    answers: Answers, texts: Sequence[GivenText], options: Mapping[str, Any]
) -> tuple[ClassifyResponse | None, list[Result | Refused]]:
    """Answer one request's texts, without those that it is refused for."""
    kept, refused = list(range(len(texts))), dict[int, Refused]()
    answer: ClassifyResponse | None = None
    while kept and answer is None:
        try:
            answer = await answers.classify(_request([texts[i].text for i in kept], options))
        except (InvalidInput, TooLarge) as error:
            index, own = _about_one(error, [texts[i] for i in kept])
            refused[kept.pop(index)] = own
    answered = iter(answer.results if answer else ())
    return answer, [refused[i] if i in refused else next(answered) for i in range(len(texts))]


def _request(texts: Sequence[str], options: Mapping[str, Any]) -> ClassifyRequest:
    return built(ClassifyRequest, {"inputs": list(texts), **options})


def _about_one(error: IsoglossError, texts: Sequence[GivenText]) -> tuple[int, Refused]:
    """Which of these lines an error is about; raises an error that is about something else."""
    found = _ABOUT_ONE.fullmatch(str(error))
    if found is None:
        raise error
    index, text = int(found[1]), texts[int(found[1])]
    said = f"{text.name}: {found[2]}"
    if not text.is_line:
        raise type(error)(said) from error
    return index, Refused(text.number, said, error.error_type)


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
        f"abstained ({result.label})" if result.abstained else result.label,
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
