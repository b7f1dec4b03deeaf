"""A replica serves the newest generation that can be served, and says why it is not the newest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from isogloss.prompts.errors import StoreError
from isogloss.prompts.store.store import PromptStore, StoreState
from isogloss.prompts.store.verify import verify
from isogloss.serving.registry.registry import Registry
from isogloss.serving.registry.succession import STANDS_STILL_S
from tests.fakes import FakeBackbone, fake_store, route_table, soft_prompt
from tests.serving.replicas_of import Clock, registry_of

TOO_LONG = soft_prompt(1.0, length=FakeBackbone.max_prompt_length + 1)


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    """Three generations; the romance prompt's value is 10 times its version from 2 on."""
    store = fake_store(tmp_path / "store")
    for value in (20.0, 30.0):
        store.publish({"romance": soft_prompt(value)})
    return store


def manifest(store: PromptStore, generation: int) -> Path:
    return store.root / "generations" / f"{generation:08d}.json"


def file_of(store: PromptStore, value: float) -> Path:
    digest = soft_prompt(value).digest.removeprefix("sha256:")
    return store.root / "objects" / f"{digest}.safetensors"


def rot(store: PromptStore) -> None:
    manifest(store, 3).write_bytes(b"rot")


def cut(store: PromptStore) -> None:
    manifest(store, 3).write_bytes(manifest(store, 3).read_bytes()[:-20])


def copied(store: PromptStore) -> None:
    shutil.copy(manifest(store, 2), manifest(store, 3))


def of_a_later_release(store: PromptStore) -> None:
    text = manifest(store, 3).read_text()
    manifest(store, 3).write_text(text.replace('"format_version": 1', '"format_version": 99'))


def no_file(store: PromptStore) -> None:
    manifest(store, 3).unlink()
    manifest(store, 3).mkdir()


def prompt_lost(store: PromptStore) -> None:
    file_of(store, 30.0).unlink()


def prompt_rot(store: PromptStore) -> None:
    file_of(store, 30.0).write_bytes(b"rot")


HARMS = (rot, cut, copied, of_a_later_release, no_file, prompt_lost, prompt_rot)


def metric(live: Registry) -> float | None:
    return live._metrics.registry.get_sample_value("isogloss_store_problem")


@pytest.mark.parametrize("harm", HARMS)
def test_a_replica_starts_on_the_newest_generation_that_can_be_served(
    store: PromptStore, harm: Callable[[PromptStore], None], caplog: pytest.LogCaptureFixture
) -> None:
    harm(store)
    live = registry_of(store)
    assert live.generation == 2
    assert live.current.find("romance").digest == soft_prompt(20.0).digest
    problem = live.problem or ""
    assert problem.startswith("generation 3 cannot be served: ")
    remedies = (
        "verify --repair",
        "upgrade isogloss",
        "publish the prompt again",
        "check the folder",
    )
    assert any(remedy in problem for remedy in remedies)
    assert f"serving generation 2: {problem}" in caplog.text
    assert metric(live) == 1
    assert not live.refresh()
    assert live.problem == problem


@pytest.mark.parametrize("harm", HARMS)
def test_a_replica_that_runs_goes_on_with_what_it_has_loaded(
    store: PromptStore, harm: Callable[[PromptStore], None]
) -> None:
    clock = Clock()
    loaded = registry_of(store, clock)
    harm(store)
    for _ in range(5):
        clock.now_s += STANDS_STILL_S
        assert not loaded.refresh()
    assert loaded.generation == 3
    assert loaded.current.find("romance").digest == soft_prompt(30.0).digest


def test_the_prompt_of_another_release_is_passed_over_too(store: PromptStore) -> None:
    store.publish({"long": TOO_LONG}, [route_table("long")])
    live = registry_of(store)
    assert live.generation == 3
    problem = live.problem or ""
    assert "generation 4 cannot be served: " in problem
    assert "its routes name 'long'" in problem
    assert "or roll back" in problem
    store.rollback()
    assert live.refresh()
    assert (live.generation, live.problem, metric(live)) == (5, None, 0)


@pytest.mark.parametrize("harm", [rot, cut, copied, prompt_lost, prompt_rot])
def test_once_it_is_mended_the_newest_generation_is_served(
    store: PromptStore, harm: Callable[[PromptStore], None], tmp_path: Path
) -> None:
    copy = PromptStore(shutil.copytree(store.root, tmp_path / "copy"))
    harm(store)
    live = registry_of(store)
    assert verify(store, repair=True, copies=[copy]).whole
    assert live.refresh()
    assert (live.identity, live.problem) == (store.state().identity, None)
    assert metric(live) == 0


def test_a_manifest_put_back_is_served(store: PromptStore) -> None:
    whole = manifest(store, 3).read_bytes()
    rot(store)
    live = registry_of(store)
    manifest(store, 3).write_bytes(whole)
    assert live.refresh()
    assert (live.generation, live.problem) == (3, None)


def test_a_replica_that_was_behind_takes_what_a_starting_one_would(store: PromptStore) -> None:
    clock = Clock()
    behind = registry_of(store, clock)
    store.publish({"romance": soft_prompt(40.0)})
    store.publish({"long": TOO_LONG}, [route_table("long")])
    assert not behind.refresh()  # it may be a copy under way
    assert behind.generation == 3
    clock.now_s += STANDS_STILL_S
    assert behind.refresh()
    assert behind.identity == registry_of(store).identity
    assert behind.generation == 4
    assert "generation 5 cannot be served" in (behind.problem or "")


def test_a_store_in_which_nothing_can_be_served_is_refused_until_it_is_mended(
    store: PromptStore,
) -> None:
    whole = {path: path.read_bytes() for path in (store.root / "generations").iterdir()}
    for path in whole:
        path.write_bytes(b"rot")
    with pytest.raises(StoreError) as refusal:
        registry_of(store)
    said = str(refusal.value)
    assert f"no generation of prompt store {store.root} can be served: generation 3" in said
    assert "verify --repair" in said
    oldest = min(whole)
    oldest.write_bytes(whole[oldest])
    assert registry_of(store).generation == 1


def test_nothing_is_published_on_top_of_a_generation_that_cannot_be_read(
    store: PromptStore,
) -> None:
    whole = manifest(store, 3).read_bytes()
    rot(store)
    changes: tuple[Callable[[], StoreState], ...] = (
        lambda: store.publish({"romance": soft_prompt(40.0)}),
        lambda: store.rollback(1),
        lambda: store.delete("congo"),
    )
    for change in changes:
        with pytest.raises(StoreError, match=r"00000003\.json is refused.*verify --repair"):
            change()
    assert manifest(store, 3).read_bytes() == b"rot"
    assert store.generations.numbers() == [1, 2, 3]
    manifest(store, 3).write_bytes(whole)
    assert store.publish({"romance": soft_prompt(40.0)}).generation == 4


def test_an_empty_store_is_served_as_it_is(tmp_path: Path) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    live = registry_of(store)
    assert (live.generation, live.problem) == (0, None)
    store.publish({"p": soft_prompt(1.0)}, [route_table("p")])
    assert live.refresh()
    assert live.generation == 1
