"""Trials in a store: begun, changed, promoted and ended by whole generations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prompts.errors import InvalidInput, InvalidPrompt, NotFound
from prompts.soft_prompt import SoftPrompt
from prompts.store import PromptStore, StoreState
from prompts.trials import TrialLimits
from tests.prompts import samples

WORLD, ROMANCE, BETTER, OTHER = (samples.prompt(seed) for seed in (1, 2, 3, 4))
KEY = samples.MODEL.fingerprint, "topic"


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    """One generation: world for everybody, romance for Romance and Gascon."""
    store = PromptStore.open(tmp_path / "store", create=True)
    table = samples.table("world", Romance="romance", Gascon="romance")
    store.publish({"world": WORLD, "romance": ROMANCE}, [table])
    return store


def canary(store: PromptStore, name: str, prompt: SoftPrompt, **given: Any) -> StoreState:
    return store.begin_trial(name, prompt, **{"kind": "canary", "share": 0.05, **given})


def manifest(store: PromptStore, generation: int) -> Any:
    return json.loads((store.root / "generations" / f"{generation:08d}.json").read_text())


def answers(state: StoreState) -> dict[str, str]:
    """The digest that answers for each route."""
    (table,) = state.routes
    return {clade: state.digest_of(own) for clade, own in table.by_clade.items()}


BEFORE = {"universal": WORLD.digest, "Romance": ROMANCE.digest, "Gascon": ROMANCE.digest}


def test_a_candidate_is_a_version_that_answers_nothing(store: PromptStore) -> None:
    state = canary(store, "romance", BETTER, note="why")
    assert (state.generation, state.note) == (2, "why")
    (trial,) = state.trials
    assert (trial.name, trial.candidate, trial.kind) == ("romance", "romance@2", "canary")
    assert (trial.key, trial.share, trial.limits) == (KEY, 0.05, None)
    assert trial.clades == ("Romance", "Gascon")
    assert trial.started_at == state.published_at
    assert answers(state) == BEFORE
    assert state.digest_of("romance") == ROMANCE.digest
    assert state.digest_of("romance@2") == BETTER.digest
    assert store.state() == state
    assert store.read(BETTER.digest).to_bytes() == BETTER.to_bytes()


def test_a_new_name_means_nothing_until_it_is_promoted(store: PromptStore) -> None:
    state = canary(store, "gascon", BETTER, clades=["Gascon"])
    with pytest.raises(NotFound, match="gascon@1 to gascon@1 exist"):
        state.resolve("gascon")
    state = store.promote("gascon")
    assert state.digest_of("gascon") == BETTER.digest
    assert answers(state) == {**BEFORE, "Gascon": BETTER.digest}
    assert state.routes[0].clades == {"Romance": "romance", "Gascon": "gascon"}
    assert state.trials == ()
