"""A prompt file that training begins with or learns from."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.files.given_paths import expanded
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone


def load_prompt(path: str, model: Backbone, option: str) -> SoftPrompt:
    """Read it.

    Args:
        path: of its file.
        model: the backbone it must be for.
        option: what named it, for messages.

    Raises:
        NotFound: there is no such file.
        InvalidPrompt: it is no prompt file, is for another backbone, or stands before the text.
    """
    prompt = SoftPrompt.load(expanded(path, option))
    try:
        prompt.check_fits(model)
    except InvalidPrompt as error:
        raise InvalidPrompt(f"{option} {path}: {error}") from None
    if prompt.card.position != "suffix":
        raise InvalidPrompt(
            f"{option} {path}: it stands before the text, where trained prompts stand after it; "
            "choose a prompt that `isogloss train` made"
        )
    return prompt


def identity(path: str, prompt: SoftPrompt) -> dict[str, JsonValue]:
    """A prompt file for a card: moving the file does not make it another prompt."""
    return {"name": Path(path).stem, "digest": prompt.digest}
