"""What a prompt must be for any server to answer under it: what can be told without its model.

A server reads a short text under every prompt before it answers under it
(`serving.registry.rehearsal`); this is for those who publish without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

import numpy as np

from isogloss.prompts.errors import InvalidPrompt, NotFound
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.store.state import StoreState

LARGEST = float(np.finfo(np.float16).max)
"""The least of what the precisions hold that servers run in. Beyond it a number is infinite in
float16; beyond 1e19 its square is in float32, too, so that a layer's norm forgets every text. What
is trained stays within some tens."""


def check_servable(name: str, prompt: SoftPrompt) -> None:
    """Require numbers that every precision holds.

    Args:
        name: what to call the prompt.
        prompt: to be published, or to answer from now on.

    Raises:
        InvalidPrompt: one is too large; the message says which.
    """
    numbers = prompt.arrays["prompt"]
    sizes = np.abs(numbers)
    largest = float(sizes.max())
    if largest > LARGEST:
        row, column = divmod(int(sizes.argmax()), prompt.hidden_size)
        raise InvalidPrompt(
            f"prompt {name!r}: tensor 'prompt' holds {float(numbers[row, column]):g} at "
            f"[{row}, {column}], and nothing may be beyond {LARGEST:g}, the most that float16 "
            "holds; train it again with a smaller learning rate (nothing was changed)"
        )


def newly_answering(
    before: StoreState, following: StoreState, fingerprint: str | None = None
) -> Mapping[str, str]:
    """Return the prompts that a change brings into routes and trials: references by digest.

    With `fingerprint`, those of one model.
    """
    routed, tried = _routed(before, fingerprint), _tried(before, fingerprint)
    now_routed, now_tried = _routed(following, fingerprint), _tried(following, fingerprint)
    new = {digest: own for digest, own in now_tried.items() if digest not in {**tried, **routed}}
    return new | {digest: own for digest, own in now_routed.items() if digest not in routed}


def names_of(state: StoreState) -> Mapping[str, str]:
    """Return a name of every prompt in a state, by digest."""
    return {
        version.digest: name for name, entry in state.prompts.items() for version in entry.versions
    }


def _routed(state: StoreState, fingerprint: str | None) -> dict[str, str]:
    tables = [each for each in state.routes if fingerprint in (None, each.model.fingerprint)]
    return _by_digest(state, (reference for table in tables for reference in table.references))


def _tried(state: StoreState, fingerprint: str | None) -> dict[str, str]:
    trials = [each for each in state.trials if fingerprint in (None, each.fingerprint)]
    return _by_digest(state, (trial.candidate for trial in trials))


def _by_digest(state: StoreState, references: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for reference in references:
        with suppress(NotFound):  # a change may mend a route to nothing
            found[state.digest_of(reference)] = reference
    return found
