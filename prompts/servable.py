"""What a prompt must be for any server to answer under it: what can be told without its model.

A server reads a short text under every prompt before it answers under it (`serving.rehearsal`);
this is for those who publish without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import torch

from prompts.errors import InvalidPrompt, NotFound
from prompts.soft_prompt import SoftPrompt
from prompts.store_state import StoreState

LARGEST = float(torch.finfo(torch.float16).max)
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
    sizes = prompt.vectors.abs()
    largest = float(sizes.max())
    if largest > LARGEST:
        row, column = divmod(int(sizes.argmax()), prompt.hidden_size)
        raise InvalidPrompt(
            f"prompt {name!r}: tensor 'prompt' holds {float(prompt.vectors[row, column]):g} at "
            f"[{row}, {column}], and no model can calculate with more than {LARGEST:g}; train it "
            "again with a smaller learning rate, and nothing was published"
        )


def newly_answering(
    before: StoreState, following: StoreState, fingerprint: str | None = None
) -> Mapping[str, str]:
    """Return the prompts that a change brings into routes and trials: references by digest.

    With `fingerprint`, those of one model.
    """
    known = _answering(before, fingerprint)
    found = _answering(following, fingerprint)
    return {digest: reference for digest, reference in found.items() if digest not in known}


def names_of(state: StoreState) -> Mapping[str, str]:
    """Return a name of every prompt in a state, by digest."""
    return {
        version.digest: name for name, entry in state.prompts.items() for version in entry.versions
    }


def _answering(state: StoreState, fingerprint: str | None) -> dict[str, str]:
    chosen = [(table.model.fingerprint, own) for table in state.routes for own in table.references]
    chosen += [(trial.fingerprint, trial.candidate) for trial in state.trials]
    found: dict[str, str] = {}
    for model, reference in chosen:
        if fingerprint in (None, model):
            with suppress(NotFound):  # a change may mend a route to nothing
                found[state.digest_of(reference)] = reference
    return found
