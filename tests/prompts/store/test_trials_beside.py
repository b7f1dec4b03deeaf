"""Trials beside other changes, other publishers, and damage."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.errors import InvalidInput, InvalidPrompt, NotFound, StoreError
from isogloss.prompts.store.collect import collect
from isogloss.prompts.store.generations import Generations
from isogloss.prompts.store.store import PromptStore, StoreState
from isogloss.prompts.store.upgrade import add_shipped
from isogloss.prompts.store.verify import verify
from tests.prompts import samples
from tests.prompts.trial_cases import BETTER, KEY, OTHER, ROMANCE, canary, new_store


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return new_store(tmp_path)


def manifest(store: PromptStore, generation: int) -> Any:
    return json.loads((store.root / "generations" / f"{generation:08d}.json").read_text())


def test_publishing_another_version_leaves_the_trial(store: PromptStore) -> None:
    trials = canary(store, "romance", BETTER).trials
    state = store.publish({"romance": OTHER, "new": ROMANCE})
    assert state.trials == trials
    assert state.digest_of("romance") == OTHER.digest
    assert store.publish({}, [samples.table("new", Romance="world", Gascon="world")]).trials == (
        trials
    )


def test_publishing_the_candidate_promotes_it(store: PromptStore) -> None:
    canary(store, "romance", BETTER)
    state = store.publish({"romance": BETTER})
    assert (state.trials, state.digest_of("romance")) == ((), BETTER.digest)


def test_a_candidate_that_became_current_but_answers_nothing_stays_on_trial(
    store: PromptStore,
) -> None:
    trials = canary(store, "gascon", BETTER, clades=["Gascon"]).trials
    assert store.publish({"gascon": BETTER}).trials == trials
    state = store.publish({}, lambda now: [now.routes[0].with_routes("gascon", ["Gascon"])])
    assert state.trials == ()


def test_a_clade_that_loses_its_route_leaves_the_trial(store: PromptStore) -> None:
    (trial,) = canary(store, "romance", BETTER).trials
    state = store.publish({}, [samples.table("world", Romance="romance")])
    assert state.trials == (trial.model_copy(update={"clades": ("Romance",)}),)
    assert store.publish({}, [samples.table("world")]).trials == ()


def test_routes_that_the_candidate_would_not_fit_are_refused(store: PromptStore) -> None:
    state = canary(store, "romance", BETTER)
    others = samples.card(names=("sports", "health"))
    world, romance = (samples.prompt(seed, of_card=others) for seed in (7, 8))
    with pytest.raises(
        InvalidPrompt, match=r"'romance@2' is on trial for Romance, Gascon, but.*--trial romance"
    ):
        store.publish({"world": world, "romance": romance})
    assert store.state() == state
    store.end_trial("romance")
    assert store.publish({"world": world, "romance": romance}).generation == 4


def test_a_name_on_trial_is_not_deleted(store: PromptStore) -> None:
    canary(store, "gascon", BETTER, clades=["Gascon"])
    with pytest.raises(InvalidInput, match=r"'gascon' is on trial.*rollback --trial gascon"):
        store.delete("gascon")
    store.end_trial("gascon")
    assert "gascon" not in store.delete("gascon").prompts


def test_shipped_prompts_are_added_beside_a_trial(store: PromptStore, tmp_path: Path) -> None:
    trials = canary(store, "romance", BETTER).trials
    shipped = PromptStore.open(tmp_path / "shipped", create=True)
    xglm = samples.card(model=samples.OTHER_MODEL)
    table = samples.table("world", Romance="romance").model_copy(
        update={"model": samples.OTHER_MODEL}
    )
    prompts = {"world": samples.prompt(7, of_card=xglm), "romance": samples.prompt(8, of_card=xglm)}
    shipped.publish(prompts, [table])
    state = add_shipped(store, shipped, "shipped")
    assert state.trials == trials
    assert state.format_version == 3
    promoted = store.promote("romance")
    own = promoted.routes_for(*KEY)
    assert own is not None
    assert own.clades == {"Romance": "romance@2", "Gascon": "romance@2"}


# Several publishers


@pytest.fixture
def beaten(store: PromptStore, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Once, somebody else's generation appears after ours was made of the state before it."""
    append = Generations.append

    def arrange(rival: Callable[[PromptStore], object]) -> None:
        def losing(own: Generations, state: StoreState) -> bool:
            monkeypatch.setattr(Generations, "append", append)
            rival(PromptStore(store.root))
            return append(own, state)

        monkeypatch.setattr(Generations, "append", losing)

    return arrange


def test_changes_at_the_same_time_are_all_kept(
    store: PromptStore, beaten: Callable[..., None]
) -> None:
    beaten(lambda rival: rival.publish({"world": OTHER}))
    state = canary(store, "romance", BETTER)
    assert (state.generation, state.digest_of("world")) == (3, OTHER.digest)
    beaten(lambda rival: canary(rival, "world", BETTER))
    state = store.promote("romance")
    assert (state.generation, state.digest_of("romance")) == (5, BETTER.digest)
    assert [own.name for own in state.trials] == ["world"]
    beaten(lambda rival: canary(rival, "world", BETTER, share=0.5))
    assert store.publish({"new": OTHER}).trials[0].share == 0.5


def test_of_two_trials_of_one_clade_the_first_wins(
    store: PromptStore, beaten: Callable[..., None]
) -> None:
    beaten(lambda rival: canary(rival, "romance", BETTER))
    with pytest.raises(InvalidInput, match="'Gascon' has 'romance@2' on trial"):
        canary(store, "gascon", OTHER, clades=["Gascon"])
    assert store.latest() == 2


def test_two_who_end_one_trial_end_it_once(store: PromptStore, beaten: Callable[..., None]) -> None:
    canary(store, "romance", BETTER)
    beaten(lambda rival: rival.end_trial("romance", "the other"))
    assert store.end_trial("romance", candidate="romance@2").note == "the other"
    canary(store, "romance", BETTER)
    beaten(lambda rival: rival.end_trial("romance"))
    with pytest.raises(NotFound, match="on trial: nothing"):
        store.end_trial("romance")
    canary(store, "romance", BETTER)
    beaten(lambda rival: rival.promote("romance"))
    assert store.end_trial("romance", candidate="romance@2").digest_of("romance") == BETTER.digest
    assert store.latest() == 7


# Manifests


def test_manifests_without_trials_are_what_they_were(store: PromptStore) -> None:
    assert "trials" not in manifest(store, 1)
    assert manifest(store, 1)["format_version"] == 1
    canary(store, "romance", BETTER)
    assert manifest(store, 2)["format_version"] == 3
    assert len(manifest(store, 2)["trials"]) == 1
    store.end_trial("romance")
    assert set(manifest(store, 3)) == set(manifest(store, 1))
    assert manifest(store, 3)["format_version"] == 1
    store.publish({"gone": OTHER})
    store.delete("gone")
    canary(store, "romance", BETTER)
    store.rollback(to=1)
    assert [manifest(store, number)["format_version"] for number in (4, 5, 6, 7)] == [1, 2, 3, 2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"candidate": "romance@9"}, r"'romance@9' is on trial, but .*no such version"),
        ({"candidate": "romance@1"}, "no route to be tried on"),
        ({"clades": ["Romance", "Bantu"]}, "no route to be tried on"),
        ({"task": "mood"}, "no route to be tried on"),
        ({"share": 0}, "share"),
    ],
)
def test_a_trial_that_cannot_be_is_refused_and_mended(
    store: PromptStore, change: dict[str, Any], reason: str
) -> None:
    canary(store, "romance", BETTER)
    path = store.root / "generations" / "00000002.json"
    found = json.loads(path.read_text())
    found["trials"][0].update(change)
    path.write_text(json.dumps(found))
    with pytest.raises(StoreError, match=rf"00000002\.json is refused: .*{reason}"):
        store.state()
    (problem,) = verify(store).problems
    assert (problem.kind, problem.what) == ("damaged", str(path))
    assert verify(store, repair=True, copies=()).whole
    assert store.state().answering == store.state(1).answering


def test_candidates_files_are_needed(store: PromptStore) -> None:
    canary(store, "gascon", BETTER, clades=["Gascon"])
    later_s = time.time() + 7200
    assert collect(store, keep=1, now_s=later_s).objects == ()
    report = verify(store)
    assert (report.whole, report.objects, report.unreferenced) == (True, 3, 0)
    (store.root / "objects" / f"{BETTER.digest.removeprefix('sha256:')}.safetensors").unlink()
    (problem,) = verify(store).problems
    assert (problem.kind, problem.needed_by) == ("missing", ("gascon@1",))
    assert canary(store, "gascon", BETTER, clades=["Gascon"]).generation == 2
    assert verify(store).whole  # beginning again put it back
