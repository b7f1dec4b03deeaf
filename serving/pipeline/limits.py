"""What a request's texts must be: checked before any work is done on them."""

from __future__ import annotations

from collections.abc import Sequence

from isogloss.prompts.errors import InvalidInput, TooLarge
from isogloss.serving.config import ServingSettings


def check_texts(texts: Sequence[str], settings: ServingSettings) -> Sequence[str]:
    """Return the texts if every one can be answered.

    Raises:
        InvalidInput: no texts, too many, an empty one, or one that is not whole Unicode; its index
            is named.
        TooLarge: a text has too many characters.
    """
    if not texts:
        raise InvalidInput("inputs: the list is empty; send 1 or more texts")
    if len(texts) > settings.max_inputs:
        raise InvalidInput(
            f"inputs: {len(texts)} texts are more than one request may have; send at most "
            f"{settings.max_inputs} at a time"
        )
    for index, text in enumerate(texts):
        _check_text(index, text, settings.max_text_chars)
    return texts


def _check_text(index: int, text: str, max_chars: int) -> None:
    if len(text) > max_chars:
        raise TooLarge(
            f"inputs[{index}]: {len(text)} characters are too many; send at most {max_chars} "
            "(the model reads only the beginning of a long text)"
        )
    if not text or text.isspace():
        raise InvalidInput(f"inputs[{index}]: the text is empty; send at least one word")
    if text.isascii():  # known of every string without a look at it
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise InvalidInput(
            f"inputs[{index}]: character {problem.start} is a lone surrogate, no whole character; "
            "send the text in UTF-8"
        ) from None
