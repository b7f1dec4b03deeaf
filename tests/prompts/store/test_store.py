from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidInput, InvalidPrompt, NotFound, StoreError
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.routing.routes import RouteEvidence
from isogloss.prompts.store.seed import default_store_path
from isogloss.prompts.store.store import PromptStore, StoreState, open_default, open_store
from tests.prompts import samples


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return PromptStore.open(tmp_path / "store", create=True)


def test_a_new_store_is_empty(store: PromptStore) -> None:
    assert store.latest() == 0
    assert store.state() == StoreState(generation=0)
    assert list(store.history()) == []


def test_what_was_published_is_read_back(store: PromptStore) -> None:
    romance, world = samples.prompt(1), samples.prompt(2)
    table = samples.table("world", Romance="romance@1")
    state = store.publish({"romance": romance, "world": world}, [table], note="first")
    assert (state.generation, state.parent, state.note) == (1, 0, "first")
    assert state.resolve("romance") == ("romance", 1, romance.digest)
    assert state.routes_for(samples.MODEL.fingerprint, "topic") == table
    assert state.routes_for(samples.MODEL.fingerprint, "other") is None
    again = PromptStore.open(store.root)
    assert again.state() == state
    assert again.read(world.digest).to_bytes() == world.to_bytes()
    assert again.read_bytes(world.digest) == world.to_bytes()


def test_versions_count_up_and_stay_addressable(store: PromptStore) -> None:
    prompts = [samples.prompt(seed) for seed in range(3)]
    for prompt in prompts:
        store.publish({"p": prompt})
    state = store.state()
    assert [state.resolve(f"p@{n}")[2] for n in (1, 2, 3)] == [p.digest for p in prompts]
    assert state.resolve("p")[1] == 3
    with pytest.raises(NotFound, match=r"p@4.*p@1 to p@3"):
        state.resolve("p@4")
    with pytest.raises(NotFound, match=r"'q'.*there are: p"):
        state.resolve("q")


def test_swapping_back_and_forth_makes_generations_but_no_versions(store: PromptStore) -> None:
    one, two = samples.prompt(1), samples.prompt(2)
    for prompt in (one, two, one, two, one):
        state = store.publish({"p": prompt})
    assert state.generation == 5
    assert len(state.prompts["p"].versions) == 2
    assert state.resolve("p") == ("p", 1, one.digest)
    assert len(list((store.root / "objects").iterdir())) == 2


def test_publishing_what_is_current_changes_nothing(store: PromptStore) -> None:
    table = samples.table("p")
    first = store.publish({"p": samples.prompt(1)}, [table])
    assert store.publish({"p": samples.prompt(1)}, [table], note="again") == first
    assert store.latest() == 1


def test_one_content_under_two_names_is_one_object(store: PromptStore) -> None:
    state = store.publish({"a": samples.prompt(1), "b": samples.prompt(1)})
    assert state.resolve("a")[2] == state.resolve("b")[2]
    assert len(list((store.root / "objects").iterdir())) == 1


def test_a_store_that_is_away_is_no_empty_store(store: PromptStore) -> None:
    store.publish({"p": samples.prompt(1)})
    shutil.rmtree(store.root)
    with pytest.raises(StoreError, match="cannot read"):
        store.latest()


# Rollback


def test_rollback_brings_back_routes_and_current_versions(store: PromptStore) -> None:
    one, two = samples.prompt(1), samples.prompt(2)
    before = store.publish({"p": one}, [samples.table("p", Romance="p@1")])
    store.publish({"p": two, "q": two}, [samples.table("q")])
    state = store.rollback()
    assert (state.generation, state.parent, state.restores) == (3, 2, 1)
    assert state.routes == before.routes
    assert state.resolve("p") == ("p", 1, one.digest)
    assert state.resolve("p@2") == ("p", 2, two.digest)
    with pytest.raises(NotFound, match=r"q@1 to q@1 exist"):
        state.resolve("q")
    assert state.resolve("q@1") == ("q", 1, two.digest)
    assert store.state() == state


def test_version_numbers_are_not_used_again_after_a_rollback(store: PromptStore) -> None:
    store.publish({"p": samples.prompt(1)})
    store.publish({"p": samples.prompt(2)})
    store.rollback()
    state = store.publish({"p": samples.prompt(3)})
    assert state.resolve("p")[1] == 3


def test_repeated_rollbacks_walk_further_back(store: PromptStore) -> None:
    digests = [samples.prompt(seed).digest for seed in range(3)]
    for seed in range(3):
        store.publish({"p": samples.prompt(seed)})
    assert store.rollback().resolve("p")[2] == digests[1]
    assert store.rollback().resolve("p")[2] == digests[0]
    with pytest.raises(NotFound, match="before generation 1"):
        store.rollback()
    assert store.rollback(to=3).resolve("p")[2] == digests[2]
    assert store.rollback().resolve("p")[2] == digests[1]
    assert [state.generation for state in store.history()] == [7, 6, 5, 4, 3, 2, 1]


def test_rollback_to_a_generation_that_is_not_there(store: PromptStore) -> None:
    store.publish({"p": samples.prompt(1)})
    for generation in (0, -1, 2, 10**9):
        with pytest.raises(NotFound):
            store.rollback(to=generation)
    assert store.latest() == 1


# What does not fit is refused, and nothing is written


def entries(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (samples.prompt(of_card=samples.card(model=samples.OTHER_MODEL)), "xglm.*cdcd.*abab"),
        (samples.prompt(of_card=samples.card(task="mood")), "task 'mood'.*task 'topic'"),
        (samples.prompt(of_card=samples.card(names=("sports", "health"))), "'health'.*'travel'"),
        (samples.prompt(of_card=samples.card(names=("travel", "sports"))), "same labels"),
        (samples.prompt(hidden=16), "hidden size 16"),
    ],
)  # fmt: skip
def test_a_routed_prompt_must_fit_its_table(
    store: PromptStore, prompt: SoftPrompt, reason: str
) -> None:
    table = samples.table("world", Romance="romance")
    store.publish({"world": samples.prompt(1), "romance": samples.prompt(2)}, [table])
    before = entries(store.root)
    with pytest.raises(InvalidPrompt, match=reason):
        store.publish({"romance": prompt})
    with pytest.raises(InvalidPrompt, match=reason):
        store.publish({"new": prompt}, [samples.table("world", Bantu="new")])
    assert entries(store.root) == before
    assert store.publish({"new": prompt}).generation == 2  # unrouted, it may be anything


@pytest.mark.parametrize("reference", ["nobody", "world@2"])
def test_a_route_to_nothing_is_refused(store: PromptStore, reference: str) -> None:
    with pytest.raises(InvalidPrompt, match=f"'{reference}'"):
        store.publish({"world": samples.prompt(1)}, [samples.table("world", Romance=reference)])
    assert store.latest() == 0


def test_routes_may_be_made_from_the_newest_state(store: PromptStore) -> None:
    first = store.publish({"a": samples.prompt(1), "b": samples.prompt(2)}, [samples.table("a")])
    state = store.publish({}, lambda now: [now.routes[0].with_routes("b", ["Romance"])])
    assert state.routes == (first.routes[0].with_routes("b", ["Romance"]),)


def test_tables_of_other_models_and_tasks_stay(store: PromptStore) -> None:
    mood = samples.prompt(3, of_card=samples.card(task="mood"))
    store.publish({"world": samples.prompt(1)}, [samples.table("world")])
    table = samples.table("mood").model_copy(update={"task": "mood"})
    state = store.publish({"mood": mood}, [table])
    assert {one.task for one in state.routes} == {"topic", "mood"}
    with pytest.raises(InvalidInput, match="same model and task"):
        store.publish({}, [samples.table("world"), samples.table("world", Romance="world")])


@pytest.mark.parametrize("name", ["..", "../p", "a/b", "/p", "", "P", "p@1", "a\0b"])
def test_a_name_cannot_leave_the_store(store: PromptStore, name: str) -> None:
    before = entries(store.root.parent)
    with pytest.raises(InvalidInput, match="prompt name"):
        store.publish({name: samples.prompt(1)})
    assert entries(store.root.parent) == before


def test_publishing_nothing_is_refused(store: PromptStore) -> None:
    with pytest.raises(InvalidInput, match="nothing to publish"):
        store.publish({})


# Damage


def test_bit_rot_is_found_and_healed_by_publishing_again(store: PromptStore) -> None:
    prompt = samples.prompt(1)
    store.publish({"p": prompt})
    [path] = (store.root / "objects").iterdir()
    rotten = bytearray(path.read_bytes())
    rotten[-1] ^= 1
    path.write_bytes(rotten)
    with pytest.raises(StoreError, match=rf"{path.name}.*damaged.*publish the prompt again"):
        store.read(prompt.digest)
    path.unlink()
    with pytest.raises(StoreError, match=path.name):
        store.read(prompt.digest)
    path.write_bytes(rotten)
    assert store.publish({"p": prompt}).generation == 1
    assert store.read(prompt.digest).digest == prompt.digest


@pytest.mark.parametrize("digest", ["", "sha256:..", "sha256:" + "A" * 64, "md5:" + "a" * 64])
def test_a_malformed_digest_is_refused(store: PromptStore, digest: str) -> None:
    with pytest.raises(InvalidInput, match="digest"):
        store.read(digest)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: {**m, "format_version": 6}, "format_version.*upgrade isogloss"),
        (lambda m: {**m, "generation": 5}, "says generation 5"),
        (lambda m: {**m, "surprise": 1}, "surprise"),
        (lambda m: {**m, "prompts": {"p": {"versions": [], "current": 1}}}, "versions"),
        (lambda m: {k: v for k, v in m.items() if k != "generation"}, "generation"),
    ],
)
def test_a_bad_manifest_is_refused_with_the_reason(
    store: PromptStore, change: object, reason: str
) -> None:
    store.publish({"p": samples.prompt(1)})
    path = store.root / "generations" / "00000001.json"
    assert callable(change)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(StoreError, match=rf"00000001\.json is refused: .*{reason}"):
        store.state()


@pytest.mark.parametrize("data", [b"", b'{"generation": 1', b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_no_json_is_refused(store: PromptStore, data: bytes) -> None:
    store.publish({"p": samples.prompt(1)})
    (store.root / "generations" / "00000001.json").write_bytes(data)
    with pytest.raises(StoreError, match="JSON") as refusal:
        store.state()
    assert len(str(refusal.value)) < 500
    with pytest.raises(StoreError, match="JSON"):
        store.publish({"p": samples.prompt(2)})


# Opening


def test_a_store_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no prompt store at .*nowhere.*isogloss prompts publish"):
        PromptStore.open(tmp_path / "nowhere")
    assert entries(tmp_path) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(StoreError, match=f"{path}.*give another --store"):
            PromptStore.open(path, create=True)


def test_a_folder_of_other_things_does_not_become_a_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        PromptStore.open(tmp_path, create=True)
    assert entries(tmp_path) == ["thesis.tex"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_store_is_read_but_not_written(store: PromptStore) -> None:
    store.publish({"p": samples.prompt(1)})
    folders = [store.root, *(path for path in store.root.iterdir() if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert store.read(store.state().resolve("p")[2]).length == 3
        with pytest.raises(StoreError, match="writable"):
            store.publish({"p": samples.prompt(2)})
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert store.latest() == 1


def test_leftovers_of_a_crash_are_removed_once_they_are_old(store: PromptStore) -> None:
    old, young = store.root / "tmp" / ".tmp-old", store.root / "tmp" / ".tmp-young"
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    store.publish({"p": samples.prompt(1)})
    assert [path.name for path in (store.root / "tmp").iterdir()] == [".tmp-young"]


# The default store


def test_the_default_store_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISOGLOSS_STORE", str(tmp_path / "mine"))
    assert default_store_path() == tmp_path / "mine"
    monkeypatch.delenv("ISOGLOSS_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_store_path().parts[-2:] == ("isogloss", "store")


def test_a_new_default_store_begins_with_the_shipped_prompts(tmp_path: Path) -> None:
    shipped = PromptStore.open(tmp_path / "shipped", create=True)
    shipped.publish({"world": samples.prompt(1)}, [samples.table("world")])
    shutil.rmtree(shipped.root / "tmp")  # a package does not carry empty folders
    for path in shipped.root.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    path = tmp_path / "home" / "isogloss" / "store"
    mine = open_default(path, shipped.root)
    assert mine.state() == shipped.state()
    assert mine.publish({"world": samples.prompt(2)}).generation == 2
    assert open_default(path, shipped.root).latest() == 2  # seeded once only
    assert [entry.name for entry in path.parent.iterdir()] == ["store"]


def test_an_empty_default_store_is_seeded_once_there_is_something_to_ship(tmp_path: Path) -> None:
    path = tmp_path / "store"
    assert open_default(path, tmp_path / "shipped").latest() == 0
    shipped = PromptStore.open(tmp_path / "shipped", create=True)
    shipped.publish({"world": samples.prompt(1)})
    (path / "tmp" / ".tmp-young").touch()  # somebody is publishing: hands off
    assert open_default(path, shipped.root).latest() == 0
    (path / "tmp" / ".tmp-young").unlink()
    assert open_default(path, shipped.root).latest() == 1


def test_losing_the_race_to_seed_keeps_the_winners_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = PromptStore.open(tmp_path / "shipped", create=True)
    shipped.publish({"world": samples.prompt(1)})
    path = tmp_path / "home" / "store"
    rename = os.rename

    def beaten(source: Path, target: Path) -> None:
        monkeypatch.undo()
        open_default(path, shipped.root).publish({"mine": samples.prompt(2)})
        rename(source, target)

    monkeypatch.setattr(os, "rename", beaten)
    assert open_default(path, shipped.root).latest() == 2
    assert [entry.name for entry in path.parent.iterdir()] == ["store"]


def test_without_shipped_prompts_the_default_store_begins_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_default(tmp_path / "store", tmp_path / "none").latest() == 0
    monkeypatch.setenv("ISOGLOSS_STORE", str(tmp_path / "store"))
    assert open_store().root == tmp_path / "store"
    assert open_store(tmp_path / "other", create=True).latest() == 0


def test_a_new_version_of_a_routed_prompt_forgets_what_was_measured_with_the_old(
    store: PromptStore,
) -> None:
    measured = samples.table("world", Romance="romance", Bantu="world@1").model_copy(
        update={
            "temperatures": {"universal": 1.1, "Romance": 0.8, "Bantu": 0.9},
            "evidence": (
                RouteEvidence(clade=None, prompt="world"),
                RouteEvidence(clade="Romance", prompt="romance"),
            ),
        }
    )
    store.publish({"world": samples.prompt(0), "romance": samples.prompt(1)}, [measured])
    (unchanged,) = store.publish({"other": samples.prompt(2)}).routes
    assert unchanged == measured
    (table,) = store.publish({"world": samples.prompt(3)}).routes
    assert table.temperatures == {"Romance": 0.8, "Bantu": 0.9}
    assert [own.clade for own in table.evidence] == ["Romance"]
