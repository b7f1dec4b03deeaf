"""Trials end: by promotion, by themselves, by a rollback."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.prompts.routing.routes import RouteEvidence
from isogloss.prompts.store.store import PromptStore
from tests.prompts import samples
from tests.prompts.trial_cases import (
    BEFORE,
    BETTER,
    KEY,
    OTHER,
    ROMANCE,
    answers,
    canary,
    new_store,
)


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return new_store(tmp_path)


def test_a_new_name_means_nothing_until_it_is_promoted(store: PromptStore) -> None:
    state = canary(store, "gascon", BETTER, clades=["Gascon"])
    with pytest.raises(NotFound, match="gascon@1 to gascon@1 exist"):
        state.resolve("gascon")
    state = store.promote("gascon")
    assert state.digest_of("gascon") == BETTER.digest
    assert answers(state) == {**BEFORE, "Gascon": BETTER.digest}
    assert state.routes[0].clades == {"Romance": "romance", "Gascon": "gascon"}
    assert state.trials == ()


MEASURED = {
    "temperatures": {"universal": 1.1, "Romance": 0.8, "Gascon": 0.9, "Slavic": 1.2},
    "evidence": (
        RouteEvidence(clade=None, prompt="world"),
        RouteEvidence(clade="Romance", prompt="romance"),
    ),
}


def test_a_promoted_name_means_the_candidate_and_forgets_what_was_measured(
    store: PromptStore,
) -> None:
    store.publish({}, lambda now: [now.routes[0].model_copy(update=MEASURED)])
    canary(store, "romance", BETTER)
    state = store.promote("romance", "it did well")
    assert (state.generation, state.note, state.trials) == (4, "it did well", ())
    assert state.digest_of("romance") == BETTER.digest
    assert answers(state) == {**BEFORE, "Romance": BETTER.digest, "Gascon": BETTER.digest}
    (table,) = state.routes
    assert table.clades == {"Romance": "romance", "Gascon": "romance"}
    assert table.temperatures == {"universal": 1.1}
    assert [own.clade for own in table.evidence] == [None]
    assert store.state() == state


def test_a_route_outside_the_trial_keeps_what_the_name_meant(store: PromptStore) -> None:
    canary(store, "romance", BETTER, clades=["Gascon"])
    state = store.promote("romance")
    assert state.digest_of("romance") == ROMANCE.digest
    assert state.routes[0].clades == {"Romance": "romance", "Gascon": "romance@2"}
    assert answers(state) == {**BEFORE, "Gascon": BETTER.digest}


def test_so_does_a_route_of_another_task(store: PromptStore) -> None:
    """The name may mean one prompt here and another there, for references fix the version."""
    mood = samples.prompt(7, of_card=samples.card(task="mood"))
    table = samples.table("better").model_copy(update={"task": "mood"})
    store.publish({"better": mood}, [table])
    canary(store, "better", BETTER, clades=["Gascon"])
    state = store.promote("better")
    assert state.digest_of("better") == mood.digest
    assert state.routes_for(*KEY) == samples.table("world", Romance="romance", Gascon="better@2")


def test_a_pinned_route_outside_the_trial_is_in_nobodys_way(store: PromptStore) -> None:
    table = samples.table("world", Romance="romance@1", Gascon="romance")
    store.publish({}, [table])
    canary(store, "romance", BETTER)
    state = store.promote("romance")
    assert state.routes == (table,)
    assert answers(state) == {**BEFORE, "Gascon": BETTER.digest}


def test_routes_of_other_prompts_change_to_the_candidates_name(store: PromptStore) -> None:
    store.publish({"new": OTHER})
    canary(store, "new", BETTER, clades=["universal", "Gascon"])
    state = store.promote("new")
    assert (state.routes[0].universal, state.prompts["new"].current) == ("new", 2)
    assert answers(state) == {
        "universal": BETTER.digest,
        "Romance": ROMANCE.digest,
        "Gascon": BETTER.digest,
    }


def test_a_promotion_is_rolled_back_like_any_change(store: PromptStore) -> None:
    canary(store, "gascon", BETTER, clades=["Gascon"])
    store.promote("gascon")
    state = store.rollback()
    assert answers(state) == BEFORE
    assert state.trials == ()
    assert state.digest_of("gascon@1") == BETTER.digest


def test_what_is_not_on_trial_is_not_promoted(store: PromptStore) -> None:
    with pytest.raises(
        NotFound, match=r"'romance' is not on trial in generation 1; on trial: noth"
    ):
        store.promote("romance")
    canary(store, "gascon", BETTER, clades=["Gascon"])
    for act in (store.promote, store.end_trial):
        with pytest.raises(NotFound, match=r"'romance' is not on trial.*on trial: gascon@1"):
            act("romance")
        with pytest.raises(InvalidInput, match="prompt name"):
            act("gascon@1")
    assert store.latest() == 2


# Ending


def test_an_ended_trial_leaves_its_version(store: PromptStore) -> None:
    before = store.state()
    canary(store, "romance", BETTER)
    state = store.end_trial("romance", "too slow")
    assert (state.note, state.trials, state.answering) == ("too slow", (), before.answering)
    assert state.digest_of("romance@2") == BETTER.digest
    assert store.read(BETTER.digest).digest == BETTER.digest
    again = canary(store, "romance", BETTER).trials[0]
    assert (again.candidate, again.started_at) == ("romance@2", store.state().published_at)


def test_any_number_of_servers_may_end_one_trial(store: PromptStore) -> None:
    canary(store, "romance", BETTER)
    canary(store, "gascon", OTHER, clades=["universal"])
    ended = store.end_trial("romance", candidate="romance@2")
    assert [own.name for own in ended.trials] == ["gascon"]
    for _ in range(3):
        assert PromptStore(store.root).end_trial("romance", candidate="romance@2") == ended
    newer = canary(store, "romance", samples.prompt(9))
    assert store.end_trial("romance", candidate="romance@2") == newer
    assert store.latest() == newer.generation


def test_a_trial_judged_in_another_history_does_not_end_this_ones(store: PromptStore) -> None:
    """In a store that was restored, the same `name@version` may be another prompt."""
    state = canary(store, "romance", BETTER)
    (trial,) = state.trials
    own, before = trial.started_at, trial.started_at - timedelta(seconds=1)
    assert store.end_trial("romance", candidate=trial.candidate, begun_at=before) == state
    assert not store.end_trial("romance", candidate=trial.candidate, begun_at=own).trials


def test_a_rollback_ends_every_trial(store: PromptStore) -> None:
    store.publish({"romance": OTHER})
    canary(store, "romance", BETTER)
    canary(store, "world", BETTER)
    state = store.rollback(to=1)
    assert (state.trials, answers(state)) == ((), BEFORE)
    assert store.rollback(to=3).trials == ()  # nor does that generation's begin again


def test_the_first_rollback_takes_a_trial_back_and_nothing_else(store: PromptStore) -> None:
    store.publish({"romance": OTHER})
    before = canary(store, "romance", BETTER)
    state = store.rollback()
    assert (state.restores, state.trials) == (2, ())
    assert state.answering == before.answering
    assert answers(store.rollback()) == BEFORE


def test_a_rollback_passes_over_trials_that_are_over(store: PromptStore) -> None:
    store.publish({"romance": OTHER})
    canary(store, "romance", BETTER)
    canary(store, "romance", BETTER, share=0.5)
    store.end_trial("romance")
    state = store.rollback()
    assert (state.restores, answers(state)) == (1, BEFORE)
    with pytest.raises(NotFound, match="before generation 1"):
        store.rollback()
