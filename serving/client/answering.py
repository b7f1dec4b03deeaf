"""Texts to results, where one that cannot be answered costs no other its answer.

Nothing is sent here: what is to be asked is yielded, so that threads, an event loop and a
classifier in this process can all drive it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypedDict

from isogloss.prompts.errors import (
    InvalidInput,
    IsoglossError,
    Overloaded,
    TooLarge,
    Unavailable,
)
from isogloss.serving.http.parsing import built
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse, Languages, Result

Outcome = Result | IsoglossError
"""A text's answer, or why there is none."""

_ABOUT_ONE = re.compile(r"inputs[\[.](\d+)\]?: (.*)", re.DOTALL)


class ClassifyOptions(TypedDict, total=False):
    """The fields of a request beside its texts."""

    model: str | None
    task: str | None
    language: str | None
    languages: Languages | None
    prompt: str | None
    top_k: int | None
    abstain: float | None


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome of each text, in order; `response` is the whole answer, None where there is none.

    Errors do not say which text they are about.
    """

    outcomes: list[Outcome]
    response: ClassifyResponse | None


Steps = Generator[ClassifyRequest, ClassifyResponse, Answered]


def request_of(texts: str | Sequence[str], options: ClassifyOptions) -> ClassifyRequest:
    """Make a request.

    Raises:
        InvalidInput: an option is unknown or has a wrong value.
    """
    inputs = texts if isinstance(texts, str) else list(texts)
    return built(ClassifyRequest, {"inputs": inputs, **options})


def answering(texts: Sequence[str], options: ClassifyOptions) -> Steps:
    """Yield requests about texts, a request's worth, until each has its outcome; take responses.

    Raises:
        IsoglossError: what was thrown in, where it is about no text in particular; that is so also
            where a server fails on every one of several texts.
    """
    found = yield from _each(texts, options)
    failed = [each for each in found.outcomes if _is_failure(each)]
    if len(texts) > 1 and len(failed) == len(texts) and isinstance(failed[0], IsoglossError):
        raise failed[0]
    return found


def _each(texts: Sequence[str], options: ClassifyOptions) -> Steps:
    """As `answering`, but where a server fails on every text, each has that error."""
    outcomes: dict[int, Outcome] = {
        index: problem for index, text in enumerate(texts) if (problem := _unanswerable(text))
    }
    response: ClassifyResponse | None = None
    while kept := [index for index in range(len(texts)) if index not in outcomes]:
        asked = [texts[index] for index in kept]
        try:
            response = yield request_of(asked, options)
        except IsoglossError as error:
            if _is_failure(error):
                found = yield from _apart(asked, options, error)
                outcomes |= zip(kept, found.outcomes, strict=True)
                response = found.response
            else:
                index, own = _about_one(error, asked)
                outcomes[kept[index]] = own
        else:
            outcomes |= zip(kept, response.results, strict=True)
    return Answered([outcomes[index] for index in range(len(texts))], response)


def _apart(texts: Sequence[str], options: ClassifyOptions, error: IsoglossError) -> Steps:
    """Find the texts that a server fails on, half by half."""
    if len(texts) == 1:
        return Answered([error], None)
    middle = len(texts) // 2
    first = yield from _each(texts[:middle], options)
    second = yield from _each(texts[middle:], options)
    return Answered(first.outcomes + second.outcomes, first.response or second.response)


def _is_failure(outcome: Outcome) -> bool:
    """Whether it is a server's own failure, which may be due to any text of the request."""
    return isinstance(outcome, IsoglossError) and outcome.error_type == IsoglossError.error_type


def drive(steps: Steps, ask: Callable[[ClassifyRequest], ClassifyResponse]) -> Answered:
    """Have every request answered; raises as `answering`."""
    try:
        request = next(steps)
        while True:
            try:
                response = ask(request)
            except IsoglossError as error:
                request = steps.throw(error)
            else:
                request = steps.send(response)
    except StopIteration as done:
        answered: Answered = done.value
        return answered


async def drive_async(
    steps: Steps, ask: Callable[[ClassifyRequest], Awaitable[ClassifyResponse]]
) -> Answered:
    """Have every request answered; raises as `answering`."""
    try:
        request = next(steps)
        while True:
            try:
                response = await ask(request)
            except IsoglossError as error:
                request = steps.throw(error)
            else:
                request = steps.send(response)
    except StopIteration as done:
        answered: Answered = done.value
        return answered


def named(error: IsoglossError, where: str) -> IsoglossError:
    """The same error, which says what it is about."""
    return _of_kind(error, f"{where}: {error}")


def _unanswerable(text: str) -> IsoglossError | None:
    """Why no server answers a text, as a server says it; None: perhaps one does."""
    if not text or text.isspace():
        return InvalidInput("the text is empty; send at least one word")
    if text.isascii():
        return None
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        return InvalidInput(
            f"character {problem.start} is a lone surrogate, no whole character; send the text in "
            "UTF-8"
        )
    return None


def _about_one(error: IsoglossError, texts: Sequence[str]) -> tuple[int, IsoglossError]:
    """Which of these texts an error is about; raises an error that is about something else."""
    found = _ABOUT_ONE.fullmatch(str(error))
    if found and int(found[1]) < len(texts) and not isinstance(error, Overloaded | Unavailable):
        return int(found[1]), _of_kind(error, found[2])
    if len(texts) == 1 and isinstance(error, TooLarge):  # the body is, and it is all there is in it
        return 0, error
    raise error


def _of_kind(error: IsoglossError, sentence: str) -> IsoglossError:
    try:
        return type(error)(sentence)
    except TypeError:  # a kind that is made of more than its sentence
        return (
            InvalidInput(sentence) if isinstance(error, InvalidInput) else IsoglossError(sentence)
        )
