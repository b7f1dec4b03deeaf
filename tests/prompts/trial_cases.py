"""A store with routes to try prompts on, and what tests of trials ask of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.store.store import PromptStore, StoreState
from tests.prompts import samples

WORLD, ROMANCE, BETTER, OTHER = (samples.prompt(seed) for seed in (1, 2, 3, 4))
PREFIX = samples.prompt(6, of_card=samples.card(position="prefix"))
KEY = samples.MODEL.fingerprint, "topic"
BEFORE = {"universal": WORLD.digest, "Romance": ROMANCE.digest, "Gascon": ROMANCE.digest}


def new_store(folder: Path) -> PromptStore:
    """One generation: world for everybody, romance for Romance and Gascon."""
    store = PromptStore.open(folder / "store", create=True)
    table = samples.table("world", Romance="romance", Gascon="romance")
    store.publish({"world": WORLD, "romance": ROMANCE}, [table])
    return store


def canary(store: PromptStore, name: str, prompt: SoftPrompt, **given: Any) -> StoreState:
    return store.begin_trial(name, prompt, **{"kind": "canary", "share": 0.05, **given})


def answers(state: StoreState) -> dict[str, str]:
    """The digest that answers for each route."""
    table = state.routes_for(*KEY)
    assert table is not None
    return {clade: state.digest_of(own) for clade, own in table.by_clade.items()}
