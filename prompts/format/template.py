"""What stands around every text that a prompt reads: `Tweet text : {text} Label :`.

Prompts of PEFT's guide were trained on texts in a template, and without it they read what they were
not trained on. A template is part of a prompt, as its position is: its card keeps it, and whoever
hands the prompt a text puts the text in.

`{text}` is a mark and no format: braces in a text are text, and so is a `{text}` in it. What is
longer than the model reads is cut in the text, so that the template's end stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, Protocol

from pydantic import AfterValidator

from isogloss.prompts.console.refusals import HARMFUL, shown
from isogloss.prompts.errors import InvalidInput, InvalidPrompt

SLOT = "{text}"
LONGEST_TEMPLATE = 1000
"""Characters."""

TextStart = Literal["model", "none"]
"""What stands before a text's own tokens: what the model expects there, or nothing."""


class Around(NamedTuple):
    """What stands before and behind each text."""

    before: str = ""
    behind: str = ""


class TextForm(NamedTuple):
    """All that decides which tokens a prompt is given of a text; equal forms share one reading."""

    start: TextStart = "model"
    template: str | None = None


class _Tokenized(Protocol):
    @property
    def ids(self) -> tuple[int, ...]: ...


class _Tokenizer(Protocol):
    def encode(
        self, texts: Sequence[str], max_tokens: int, around: tuple[str, str] = ("", "")
    ) -> Sequence[_Tokenized]: ...


class ReadsTexts(Protocol):
    """What a template needs of a model."""

    @property
    def model_id(self) -> str:
        """What the user called it."""

    @property
    def max_text_tokens(self) -> int:
        """Longer texts are cut here."""

    @property
    def tokenizer(self) -> _Tokenizer:
        """Its own."""


class SpeaksWords(Protocol):
    """What words need of a tokenizer."""

    def first_token(self, word: str, *, spaced: bool = True) -> tuple[int, str] | None:
        """Id and surface of a word's first token, with a space before the word or without."""


class _AfterSpace:
    def __init__(self, tokenizer: SpeaksWords) -> None:
        self._tokenizer = tokenizer

    def first_token(self, word: str) -> tuple[int, str] | None:
        """Id and surface of the word's own first token."""
        return self._tokenizer.first_token(word, spaced=False)


def speaker(tokenizer: SpeaksWords, template: str | None) -> SpeaksWords | _AfterSpace:
    """Speaks words as they follow a template: where it ends in a blank, without one of their own.

    That is for prompts before the text, where a word follows the template itself.
    """
    ends_in_blank = template is not None and template[-1:].isspace()
    return _AfterSpace(tokenizer) if ends_in_blank else tokenizer


def problem_of(template: str) -> str | None:
    """What is wrong with a template, and what to do; None where nothing is."""
    if (slots := template.count(SLOT)) != 1:
        return (
            f"it has {slots} {SLOT}, and one is needed: write {SLOT} where the text goes, as in "
            f"'Tweet text : {SLOT} Label :'"
        )
    if len(template) > LONGEST_TEMPLATE:
        return f"{len(template)} characters are too many, at most {LONGEST_TEMPLATE} are allowed"
    if HARMFUL.search(template):
        return "it holds control characters other than tabs and line feeds; leave them out"
    return None


def _checked(template: str) -> str:
    if problem := problem_of(template):
        raise ValueError(problem)
    return template


Template = Annotated[str, AfterValidator(_checked)]
"""A template, as a card or a setting has it."""


def checked_template(given: str) -> str:
    """What a person gave as --template, as it is: blanks at its ends are tokens to a model.

    Raises:
        InvalidInput: it has another number of `{text}` than one, or may not be a template.
    """
    if problem := problem_of(given):
        raise InvalidInput(f"--template {shown(given, 200)}: {problem}")
    return given


def settled_template(given: str | None, usual: str | None = None) -> str | None:
    """What was given, else what is usual; `{text}` alone says that nothing stands around texts."""
    return usual if given is None else None if given == SLOT else given


def around(template: str | None) -> Around:
    """What a template puts before and behind a text."""
    if template is None:
        return Around()
    before, _, behind = template.partition(SLOT)
    return Around(before, behind)


def check_room(template: str | None, model: ReadsTexts) -> None:
    """Require that a template leaves texts half of what a model reads.

    Raises:
        InvalidPrompt: it does not; the message names both lengths.
    """
    if template is None:
        return
    (alone,) = model.tokenizer.encode([""], model.max_text_tokens, around(template))
    if len(alone.ids) > model.max_text_tokens // 2:
        raise InvalidPrompt(
            f"template {shown(template, 200)} takes {len(alone.ids)} of the "
            f"{model.max_text_tokens} tokens that {model.model_id} reads, and at most half may be "
            "its own; shorten it"
        )
