"""From prompts and the clades they are for to a generation of a store, and what to say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.console.suggestions import spelled_like
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.languages.languages import languages
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.listing import changed, trials
from isogloss.prompts.store.store import PromptStore, StoreState
from isogloss.prompts.store.trial_state import TrialPlan, trial_named


def name_from(path: Path) -> str:
    """Make a prompt's name of a file's: lower case, "-" for what a name cannot hold.

    Raises:
        InvalidInput: nothing is left.
    """
    stem = path.name.removesuffix(".safetensors").lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:64].rstrip("-._")
    if not name:
        raise InvalidInput(f"no prompt name can be made of {path.name!r}; give --name")
    return name


def publish(
    store: PromptStore, prompts: Mapping[str, SoftPrompt], clades: Sequence[str], note: str
) -> dict[str, Any]:
    """Publish prompts, route the clades (if any) to them, and return what changed.

    The routes are made from the state they are published on top of, so that nobody's are lost.

    Raises:
        InvalidInput: a clade is in no language's lineage, or the first routes of a model and task
            lack the universal prompt.
        InvalidPrompt: a prompt does not fit its route table.
        StoreError: the store cannot be read or written.
    """

    def routes(state: StoreState) -> list[RouteTable]:
        return [_routed(state, name, p, clades) for name, p in prompts.items()] if clades else []

    _check_clades(clades)
    before = store.latest()
    return changed(store, before, store.publish(prompts, routes, note), list(prompts))


def begin_trial(
    store: PromptStore, name: str, prompt: SoftPrompt, plan: TrialPlan, note: str
) -> dict[str, Any]:
    """Put a prompt on trial, and return what changed.

    Raises:
        InvalidInput, InvalidPrompt, StoreError: see `PromptStore.begin_trial`.
    """
    before = store.latest()
    state = store.begin_trial(
        name,
        prompt,
        kind=plan.kind,
        share=plan.share,
        clades=plan.clades,
        limits=plan.limits,
        note=note,
    )
    answer = changed(store, before, state, [trial_named(state, name).candidate])
    running = trials(store, state)["trials"]
    return {**answer, "trials": [trial for trial in running if trial["name"] == name]}


def _check_clades(clades: Sequence[str]) -> None:
    """Require clades that some language has: a misspelt one would never match."""
    known = {clade for language in languages().values() for clade in language.lineage}
    for clade in clades:
        if clade not in known | {"universal"}:
            close = spelled_like(clade, known) or ["universal"]
            raise InvalidInput(
                f"--route {shown(clade)}: no language has this clade; did you mean "
                f"{', '.join(close)}?"
            )


def _routed(state: StoreState, name: str, prompt: SoftPrompt, clades: Sequence[str]) -> RouteTable:
    """Return the route table of the prompt's model and task, with these clades routed to it."""
    card = prompt.card
    table = state.routes_for(card.model.fingerprint, card.task)
    if table is None:
        if "universal" not in clades:
            raise InvalidInput(
                f"there is no route table for {card.model.id} and task {card.task!r} yet, and it "
                "needs a universal prompt: publish one with --route universal first"
            )
        table = RouteTable(model=card.model, task=card.task, universal=name)
    return table.with_routes(name, clades)
