"""Snapshots of the store: built aside, validated, swapped whole."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidInput, NotFound, StoreError
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.registry.loaded import LoadedPrompt
from isogloss.serving.registry.loader import PromptLoader
from isogloss.serving.registry.registry import Registry
from isogloss.serving.registry.snapshot import Snapshot, SnapshotRefused, build_snapshot
from isogloss.serving.telemetry.metrics import ServingMetrics
from tests.fakes import FakeBackbone, fake_store, route_table, soft_prompt

LANGUAGE = ("Indo-European", "Italic", "Romance", "Oil")


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return fake_store(tmp_path / "store")


@pytest.fixture
def live(store: PromptStore) -> Registry:
    return Registry(store, FakeBackbone(), ServingMetrics())


def damage(store: PromptStore, digest: str) -> Path:
    path = store.root / "objects" / f"{digest.removeprefix('sha256:')}.safetensors"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    return path


def problem_of(live: Registry) -> str:
    return live.problem or ""


def test_the_deepest_routed_clade_decides(live: Registry) -> None:
    prompt, route = live.current.choose("topic", LANGUAGE)
    assert (prompt.name, prompt.version, route.clade, route.reason) == (
        "romance",
        1,
        "Romance",
        "clade",
    )
    prompt, route = live.current.choose("topic", ())
    assert (prompt.name, route.clade, route.reason) == ("everywhere", None, "universal")


def test_a_task_without_routes_is_not_found_and_the_others_are_named(live: Registry) -> None:
    with pytest.raises(NotFound, match=r"task: 'mood' has no routes .*tasks with routes: topic"):
        live.current.choose("mood", LANGUAGE)


def test_routes_for_other_weights_of_the_model_are_told_apart_from_none(
    store: PromptStore,
) -> None:
    retrained = FakeBackbone()
    retrained.fingerprint = "sha256:retrained"
    live = Registry(store, retrained, ServingMetrics())
    with pytest.raises(NotFound, match="has routes for fake-bloom, but for other weights"):
        live.current.choose("topic", LANGUAGE)


def test_a_new_generation_takes_over_what_has_not_changed(
    store: PromptStore, live: Registry
) -> None:
    before = live.current
    store.publish({"romance": soft_prompt(9.0)})
    assert live.refresh()
    after = live.current
    assert (before.generation, after.generation) == (1, 2)
    assert after.find("everywhere").loaded is before.find("everywhere").loaded
    assert after.find("romance").digest != before.find("romance").digest
    assert (before.find("romance").version, after.find("romance").version) == (1, 2)
    assert not live.refresh()


def test_an_older_version_is_read_when_it_is_asked_for(store: PromptStore, live: Registry) -> None:
    old = live.current.find("romance")
    store.publish({"romance": soft_prompt(9.0)})
    live.refresh()
    again = live.current.find("romance@1")
    assert (again.version, again.digest) == (1, old.digest)
    assert again.loaded.members[0].vectors.equal(old.loaded.members[0].vectors)
    assert live.current.find("romance@1").loaded is again.loaded  # and then remembered
    with pytest.raises(NotFound):
        live.current.find("romance@3")
    with pytest.raises(InvalidInput):
        live.current.find("romance@latest")


def test_prompts_of_another_model_are_passed_over(store: PromptStore, live: Registry) -> None:
    store.publish(
        {"foreign": soft_prompt(1.0, model="fake-xglm")},
        [route_table("foreign", model="fake-xglm")],
    )
    live.refresh()
    assert live.current.generation == 2
    assert set(live.current.routes) == {"topic"}
    assert "foreign" not in live.current.served
    with pytest.raises(InvalidInput, match="trained for fake-xglm"):
        live.current.find("foreign")
    assert problem_of(live) == ""


def test_a_damaged_prompt_nobody_is_routed_to_stops_nothing(
    store: PromptStore, live: Registry
) -> None:
    state = store.publish({"spare": soft_prompt(4.0)})
    path = damage(store, state.resolve("spare")[2])
    assert live.refresh()
    with pytest.raises(StoreError, match="damaged"):
        live.current.find("spare")
    path.write_bytes(soft_prompt(4.0).to_bytes())  # repaired: found again, without a restart
    assert live.current.find("spare").version == 1


def test_a_damaged_routed_prompt_keeps_the_generation_before(
    store: PromptStore, live: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    state = store.publish({"romance": soft_prompt(9.0)})
    path = damage(store, state.resolve("romance")[2])
    for _ in range(3):
        assert not live.refresh()
    assert live.current.generation == 1
    assert live.current.find("romance").version == 1
    assert "damaged" in problem_of(live)
    assert len(caplog.records) == 1  # said once, not at every look
    path.write_bytes(soft_prompt(9.0).to_bytes())
    assert live.refresh()
    assert (live.current.generation, problem_of(live)) == (2, "")


def test_a_route_to_a_prompt_that_does_not_fit_is_refused_until_it_is_mended(
    store: PromptStore, live: Registry
) -> None:
    too_long = soft_prompt(1.0, length=FakeBackbone.max_prompt_length + 1)
    store.publish({"long": too_long}, [route_table("long")])  # the store cannot know the limit
    assert not live.refresh()
    assert live.current.generation == 1
    assert "routes name 'long'" in problem_of(live)
    assert "takes at most 50" in problem_of(live)
    store.rollback()
    assert live.refresh()
    assert (live.current.generation, problem_of(live)) == (3, "")


def test_a_server_does_not_start_on_routes_it_cannot_serve(tmp_path: Path) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish({"long": soft_prompt(1.0, length=51)}, [route_table("long")])
    with pytest.raises(SnapshotRefused):
        Registry(store, FakeBackbone(), ServingMetrics())


def test_a_store_that_disappears_leaves_what_is_loaded(
    store: PromptStore, live: Registry, tmp_path: Path
) -> None:
    store.root.rename(tmp_path / "elsewhere")
    assert not live.refresh()
    assert live.current.choose("topic", LANGUAGE)[0].name == "romance"
    assert "cannot read" in problem_of(live)
    (tmp_path / "elsewhere").rename(store.root)
    live.refresh()
    assert problem_of(live) == ""


def test_prompts_with_one_verbalizer_share_its_rows(live: Registry) -> None:
    rows = {id(r.label_rows) for r in loaded(live.current)}
    assert len(loaded(live.current)) == 3
    assert len(rows) == 1


def loaded(snapshot: Snapshot) -> list[LoadedPrompt]:
    return [each for each in snapshot.loaded.values() if isinstance(each, LoadedPrompt)]


def test_vectors_are_in_the_backbones_precision(store: PromptStore) -> None:
    import torch

    backbone = FakeBackbone()
    backbone.dtype = torch.bfloat16
    snapshot = build_snapshot(store.state(), PromptLoader(store, backbone))
    assert {each.members[0].vectors.dtype for each in loaded(snapshot)} == {torch.bfloat16}


def test_generations_that_are_over_are_let_go(tmp_path: Path) -> None:
    """Also where a prompt of another model is refused with every generation anew."""
    store = fake_store(tmp_path / "store")
    store.publish({"elsewhere": soft_prompt(4.0, model="another")})
    live = Registry(store, FakeBackbone(), ServingMetrics())
    over = []
    for number in range(5):
        over.append(weakref.ref(live.current))
        store.publish({"romance": soft_prompt(10.0 + number)})
        live.refresh()
    gc.collect()
    assert [each() for each in over] == [None] * 5
    with pytest.raises(InvalidInput, match="cannot answer here"):
        live.current.find("elsewhere")
