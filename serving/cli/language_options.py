"""The languages that detection may choose among, as the command line takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from isogloss.prompts.errors import InvalidInput

if TYPE_CHECKING:
    from isogloss.serving.schemas import Languages

LanguagesOption = Annotated[
    str | None,
    typer.Option(
        help="What detection may choose among: codes or names with commas between them, such as "
        "sw,rw; sw=3,rw=1 makes the first three times as likely."
    ),
]


def parse_languages(text: str | None) -> Languages | None:
    """Read the option: names, or the weight of each where one has a weight; None: left out.

    Raises:
        InvalidInput: a name is empty, a weight is no number above 0, or there are too many.
    """
    if text is None:
        return None
    items = [item.partition("=") for item in text.split(",")]
    names = [name.strip() for name, _, _ in items]
    if not all(names):
        raise InvalidInput(f"--languages {text!r}: a name is empty; write them as in sw,rw")
    if not any(equals for _, equals, _ in items):
        return _checked(names)
    weights: dict[str, float] = {}
    for name, (_, equals, weight) in zip(names, items, strict=True):
        weights[name] = weights.get(name, 0.0) + (_weight(name, weight) if equals else 1.0)
    return _checked(weights)


def _checked(given: list[str] | dict[str, float]) -> Languages | None:
    """What HTTP takes, the command line takes."""
    from isogloss.serving.http.parsing import built
    from isogloss.serving.schemas import ClassifyRequest

    return built(ClassifyRequest, {"inputs": "", "languages": given}).languages


def _weight(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidInput(
            f"--languages: {text!r} is no weight of {name}; write a number, as in sw=3,rw=1"
        ) from error
