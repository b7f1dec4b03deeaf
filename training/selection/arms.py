"""Prompts that were tuned for a clade, and the controls that tell tailoring from more training.

Found by their cards alone: a tuned prompt learned a clade's labels and started from a prompt, the
universal one. A continued prompt started from the same, learned from diverse languages, and took as
many steps of the same size, or the next larger number there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, JsonValue, PositiveFloat, PositiveInt, ValidationError

from isogloss.prompts.errors import InvalidInput

SHORTEST, LONGEST = 0.97, 4 / 3
"""Steps of a control over those of a tuned prompt. What chooses checkpoints is held out by article,
so that the same settings train on one or two per cent more or less."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a tuned and a continued prompt have in common."""

    start: str  # digest of the prompt that it began with
    seed: int
    steps: int
    batch_size: int
    learning_rate: float


class _Facts(BaseModel):
    """What a card tells of how long a prompt was trained."""

    seed: int
    train_examples: PositiveInt
    batch_size: PositiveInt
    epochs_run: PositiveInt
    learning_rate: PositiveFloat


@dataclass(frozen=True, slots=True)
class Tailored:
    """A prompt tuned on a clade's own labels, and its controls by name."""

    clade: str
    sources: tuple[str, ...]  # the clade's languages, sorted
    seed: int
    prompt: str
    steps: int
    universal: str | None  # None: it was not evaluated
    continued: str | None  # None: there is none that was trained so, or it was not evaluated


def find_arms(
    cards: Mapping[str, Mapping[str, JsonValue]], digests: Mapping[str, str]
) -> list[Tailored]:
    """Tuned prompts that were evaluated, each with its controls.

    Args:
        cards: digest -> how the prompt was made, as its card says.
        digests: of each evaluated prompt, by name.

    Raises:
        InvalidInput: two prompts are the same arm, or none is tuned.
    """
    names = {digest: name for name, digest in sorted(digests.items(), reverse=True)}
    evaluated = {digest: facts for digest, facts in cards.items() if digest in names}
    tunings = {digest: made for digest, facts in evaluated.items() if (made := _tuning(facts))}
    of_way = {
        way: [digest for digest in tunings if evaluated[digest].get("way") == way]
        for way in ("clade", "diverse")
    }
    continued = _once(((tunings[d], names[d]) for d in of_way["diverse"]), "continued")
    tuned = [(_sources(evaluated[d]), tunings[d], d) for d in of_way["clade"]]
    _once((((sources, made.seed), names[d]) for sources, made, d in tuned), "tuned on one clade")
    if not tuned:
        raise InvalidInput(
            "--prompts: none that was evaluated is tuned on a clade's labels from another prompt; "
            "train some with `isogloss train --init prompt:FILE`, and evaluate them on test"
        )
    called = _clade_names({sources: evaluated[d].get("clade") for sources, _, d in tuned})
    return [
        Tailored(
            clade=called[sources],
            sources=sources,
            seed=made.seed,
            prompt=names[digest],
            steps=made.steps,
            universal=names.get(made.start),
            continued=_as_long(made, continued),
        )
        for sources, made, digest in sorted(tuned, key=lambda each: (each[0], each[1].seed))
    ]


def _as_long(made: Tuning, continued: Mapping[object, str]) -> str | None:
    """The control that was trained as long as a tuned prompt, or as little longer as there is.

    A longer one is held to more than it must show; a third longer is no control any more.
    """
    fitting = {
        other.steps: name
        for other, name in continued.items()
        if isinstance(other, Tuning)
        and replace(other, steps=made.steps) == made
        and SHORTEST * made.steps <= other.steps <= LONGEST * made.steps
    }
    return fitting[min(fitting)] if fitting else None


def _tuning(facts: Mapping[str, JsonValue]) -> Tuning | None:
    """How a prompt that starts from another was trained; None: it does not, or does not say."""
    start = facts.get("start")
    if not isinstance(start, dict):
        return None
    try:
        made = _Facts.model_validate(facts)
    except ValidationError:  # a card of other hands may say anything
        return None
    steps = made.epochs_run * math.ceil(made.train_examples / made.batch_size)
    return Tuning(str(start.get("digest")), made.seed, steps, made.batch_size, made.learning_rate)


def _sources(facts: Mapping[str, JsonValue]) -> tuple[str, ...]:
    listed = facts.get("sources")
    return tuple(sorted(str(code) for code in listed)) if isinstance(listed, list) else ()


def _once(arms: Iterable[tuple[object, str]], what: str) -> dict[object, str]:
    """By what they are; one name each."""
    names: dict[object, str] = {}
    for key, name in arms:
        if names.setdefault(key, name) != name:
            raise InvalidInput(
                f"--prompts: {names[key]!r} and {name!r} are both {what} with the same seed; "
                "name one of them"
            )
    return names


def _clade_names(clades: Mapping[tuple[str, ...], JsonValue]) -> dict[tuple[str, ...], str]:
    """A clade's name; its languages' codes where it has none, or two sets of languages share it."""
    shared = list(clades.values())
    return {
        sources: str(clade) if clade and shared.count(clade) == 1 else " ".join(sources)
        for sources, clade in clades.items()
    }


def controls_of(arms: Sequence[Tailored], arm: Tailored) -> dict[str, tuple[str, ...]]:
    """Prompts that each control of a tuned prompt is the mean of; none where it is absent.

    Mismatched are the other clades' of the same seed, that learned none of this one's languages.
    """
    others = tuple(
        other.prompt
        for other in arms
        if other.seed == arm.seed and not set(other.sources) & set(arm.sources)
    )
    return {
        "universal": (arm.universal,) if arm.universal else (),
        "continued": (arm.continued,) if arm.continued else (),
        "mismatched": others,
    }
