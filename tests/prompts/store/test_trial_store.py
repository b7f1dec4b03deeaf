"""Trials begin: a candidate is a version like any other that nothing names yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.errors import InvalidInput, InvalidPrompt
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.routing.trials import TrialLimits
from isogloss.prompts.store.store import PromptStore
from tests.prompts import samples
from tests.prompts.trial_cases import (
    BEFORE,
    BETTER,
    KEY,
    OTHER,
    PREFIX,
    ROMANCE,
    answers,
    canary,
    new_store,
)


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return new_store(tmp_path)


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


def test_the_same_candidate_again_changes_what_is_given(store: PromptStore) -> None:
    limits = TrialLimits(min_agreement=0.9)
    first = canary(store, "romance", BETTER, clades=["Gascon"], limits=limits)
    more = canary(store, "romance", BETTER, share=0.2)
    assert more.generation == 3
    assert more.trials == (first.trials[0].model_copy(update={"share": 0.2}),)
    all_of_it = store.begin_trial(
        "romance", BETTER, kind="shadow", share=1, clades=["universal", "Romance"],
        limits=TrialLimits(max_score_drop=0.1),
    )  # fmt: skip
    (trial,) = all_of_it.trials
    assert (trial.kind, trial.share, trial.clades) == ("shadow", 1, ("universal", "Romance"))
    assert trial.limits == TrialLimits(max_score_drop=0.1)
    assert trial.started_at == first.published_at
    assert len(all_of_it.prompts["romance"].versions) == 2


def test_beginning_what_runs_already_changes_nothing(store: PromptStore) -> None:
    first = canary(store, "romance", BETTER, clades=["Gascon", "Romance", "Gascon"])
    assert canary(store, "romance", BETTER, note="again") == first
    assert canary(store, "romance", BETTER, clades=["Romance", "Gascon"]) == first
    assert store.latest() == 2


def test_another_candidate_takes_the_backend_of_the_first(store: PromptStore) -> None:
    canary(store, "romance", BETTER, clades=["Gascon"], limits=TrialLimits(min_agreement=0.9))
    (trial,) = canary(store, "romance", OTHER).trials
    assert (trial.candidate, trial.limits) == ("romance@3", None)
    assert trial.clades == ("Romance", "Gascon")


def test_an_old_version_is_tried_again_under_its_number(store: PromptStore) -> None:
    store.publish({"romance": BETTER})
    state = canary(store, "romance", ROMANCE)
    assert state.trials[0].candidate == "romance@1"
    assert state.prompts["romance"].current == 2
    assert len(state.prompts["romance"].versions) == 2


def test_numbers_of_deleted_versions_are_not_used_for_candidates(store: PromptStore) -> None:
    store.publish({"gascon": OTHER})
    store.delete("gascon")
    state = canary(store, "gascon", BETTER, clades=["Gascon"])
    assert state.trials[0].candidate == "gascon@2"


def test_a_clade_has_one_trial_at_a_time(store: PromptStore) -> None:
    canary(store, "romance", BETTER, clades=["Romance"])
    with pytest.raises(InvalidInput, match=r"'Romance' has 'romance@2' on trial.*--trial romance"):
        canary(store, "gascon", OTHER, clades=["Gascon", "Romance"])
    state = canary(store, "gascon", OTHER, clades=["Gascon"])
    assert [(own.name, own.clades) for own in state.trials] == [
        ("gascon", ("Gascon",)),
        ("romance", ("Romance",)),
    ]
    with pytest.raises(InvalidInput, match="'Gascon' has 'gascon@1' on trial"):
        canary(store, "romance", BETTER, clades=["Romance", "Gascon"])
    assert store.state() == state


def test_models_and_tasks_are_tried_apart(store: PromptStore) -> None:
    mood = samples.prompt(7, of_card=samples.card(task="mood"))
    table = samples.table("mood").model_copy(update={"task": "mood"})
    store.publish({"mood": mood}, [table])
    canary(store, "better", BETTER, clades=["universal"])
    other = samples.prompt(8, of_card=samples.card(task="mood"))
    state = canary(store, "mood", other)
    assert [(own.candidate, own.task, own.clades) for own in state.trials] == [
        ("better@1", "topic", ("universal",)),
        ("mood@2", "mood", ("universal",)),
    ]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"clades": ["Bantu"]}, r"'Bantu' has no route of its own.*universal, Romance, Gascon"),
        ({"clades": ["Romanse"]}, "'Romanse' has no route"),
        ({}, r"no route takes 'new' yet: give --route.*universal, Romance, Gascon"),
        ({"clades": ["Romance"], "share": 0}, "share 0"),
        ({"clades": ["Romance"], "share": 5}, "share 5"),
        ({"clades": ["Romance"], "kind": "race"}, "kind 'race'"),
    ],
)
def test_a_trial_of_nothing_is_refused(
    store: PromptStore, given: dict[str, Any], reason: str
) -> None:
    before = sorted(store.root.rglob("*"))
    with pytest.raises(InvalidInput, match=reason):
        canary(store, "new", BETTER, **given)
    assert sorted(store.root.rglob("*")) == before


def test_what_answers_already_is_not_tried(store: PromptStore) -> None:
    with pytest.raises(InvalidInput, match="'romance@1' is already what answers for Romance, Gasc"):
        canary(store, "romance", ROMANCE)
    with pytest.raises(InvalidInput, match="'twin@1' is already what answers for Gascon"):
        canary(store, "twin", ROMANCE, clades=["universal", "Gascon"])
    with pytest.raises(InvalidInput, match="prompt name"):
        canary(store, "../twin", BETTER, clades=["universal"])
    assert canary(store, "twin", ROMANCE, clades=["universal"]).generation == 2
    assert store.latest() == 2


def test_without_a_route_table_nothing_is_tried(store: PromptStore) -> None:
    for card in (samples.card(task="mood"), samples.card(model=samples.OTHER_MODEL)):
        with pytest.raises(InvalidInput, match=r"no route table for .*--route universal"):
            canary(store, "new", samples.prompt(5, of_card=card), clades=["universal"])
    empty = PromptStore.open(store.root.parent / "empty", create=True)
    with pytest.raises(InvalidInput, match="no route table"):
        canary(empty, "new", BETTER)
    assert empty.latest() == 0


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (samples.prompt(of_card=samples.card(names=("sports", "health"))), "'health'.*'travel'"),
        (samples.prompt(of_card=samples.card(names=("travel", "sports"))), "same labels"),
        (samples.prompt(hidden=16), "hidden size 16"),
    ],
)
def test_a_candidate_must_fit_the_routes(
    store: PromptStore, prompt: SoftPrompt, reason: str
) -> None:
    before = sorted(store.root.rglob("*"))
    with pytest.raises(InvalidPrompt, match=reason):
        canary(store, "romance", prompt)
    assert sorted(store.root.rglob("*")) == before


def test_prompts_that_stand_before_the_text_are_tried_and_tried_beside(store: PromptStore) -> None:
    table = samples.table("world", Romance="romance", Gascon="old")
    store.publish({"old": PREFIX}, [table])
    assert canary(store, "gascon", BETTER, clades=["Gascon"]).generation == 3
    before = samples.prompt(7, of_card=PREFIX.card)
    (_, trial) = canary(store, "romance", before, clades=["Romance"]).trials
    assert trial.candidate == "romance@2"
    assert store.promote("romance").digest_of("romance") == before.digest
