"""Collection takes what nothing needs, and nothing else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isogloss.prompts.cli.commands import app
from isogloss.prompts.errors import InvalidInput, NotFound, StoreError
from isogloss.prompts.store.collect import Collected, collect, free_deleted
from isogloss.prompts.store.generations import Follower, Generations
from isogloss.prompts.store.objects import Objects
from isogloss.prompts.store.state import StoreState
from isogloss.prompts.store.store import PromptStore
from tests.prompts import samples

LATER_S = 7200.0


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    """Three generations, each with a further version of p."""
    store = PromptStore.open(tmp_path / "store", create=True)
    for seed in (1, 2, 3):
        store.publish({"p": samples.prompt(seed)})
    return store


def later(store: PromptStore, keep: int = 1, **given: float) -> Collected:
    return collect(store, keep=keep, now_s=time.time() + LATER_S, **given)  # type: ignore[arg-type]


def orphan(store: PromptStore, seed: int = 9) -> str:
    prompt = samples.prompt(seed)
    store.objects.write(prompt.digest, prompt.to_bytes())
    return prompt.digest


def test_old_generations_go_and_every_version_stays(store: PromptStore) -> None:
    assert later(store, keep=2).generations == (1,)
    collected = later(store)
    assert (collected.generations, collected.objects) == ((2,), ())
    assert (collected.oldest_kept, collected.newest) == (3, 3)
    assert [state.generation for state in store.history()] == [3]
    state = store.state()
    for number in (1, 2, 3):
        assert store.read(state.resolve(f"p@{number}")[2]).length == 3
    assert store.publish({"p": samples.prompt(4)}).generation == 4
    with pytest.raises(NotFound, match=r"no generation 2.*newest is 4.*oldest that was kept 3"):
        store.state(2)
    with pytest.raises(NotFound, match="no generation 2"):
        store.rollback(to=2)


def test_a_reader_that_was_behind_goes_on(store: PromptStore) -> None:
    reader = Follower(store.generations)
    assert reader.poll().newest.number == 3
    store.publish({"p": samples.prompt(4)})
    assert later(store).generations == (1, 2, 3)
    assert reader.poll().newest == store.state().identity


def test_what_is_young_stays(store: PromptStore) -> None:
    digest = orphan(store)
    (store.root / "tmp" / ".tmp-writing").touch()
    assert collect(store, keep=1) == Collected(3, 1, (), (), ())
    collected = later(store)
    assert (collected.objects, collected.leftovers) == ((digest,), (".tmp-writing",))
    assert len(list((store.root / "objects").iterdir())) == 3
    assert not any((store.root / "tmp").iterdir())


def test_a_generation_is_as_old_as_the_one_that_took_its_place(store: PromptStore) -> None:
    folder, now_s = store.root / "generations", time.time()
    os.utime(folder / "00000001.json", (0, 0))
    assert collect(store, keep=1).generations == ()
    os.utime(folder / "00000002.json", (now_s - LATER_S, now_s - LATER_S))
    assert collect(store, keep=1, older_than_s=2 * LATER_S).generations == ()
    assert collect(store, keep=1).generations == (1,)


def test_a_dry_run_only_says(store: PromptStore) -> None:
    orphan(store)
    before = sorted(store.root.rglob("*"))
    would = collect(store, keep=1, now_s=time.time() + LATER_S, dry_run=True)
    assert sorted(store.root.rglob("*")) == before
    assert would == later(store)


def test_other_files_are_left_alone(store: PromptStore) -> None:
    for place in ("objects/README", "generations/notes.txt", "tmp/mine", "objects/ab.safetensors"):
        (store.root / place).touch()
    later(store)
    assert {p.name for p in store.root.rglob("*") if not p.stat().st_size and p.is_file()} == {
        "README", "notes.txt", "mine", "ab.safetensors"
    }  # fmt: skip


def test_nothing_goes_while_a_kept_generation_cannot_be_read(store: PromptStore) -> None:
    digest = orphan(store)
    (store.root / "generations" / "00000003.json").write_bytes(b"rot")
    with pytest.raises(StoreError, match="00000003"):
        later(store)
    assert store.objects.has(digest)
    assert store.generations.numbers() == [1, 2, 3]


# At the same time as a publish


def test_a_file_collected_in_the_middle_of_a_publish_is_written_again(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Generations.append

    def after_a_long_pause(generations: Generations, state: StoreState) -> bool:
        assert samples.prompt(9).digest in later(store).objects
        return append(generations, state)

    monkeypatch.setattr(Generations, "append", after_a_long_pause)
    state = store.publish({"q": samples.prompt(9)})
    assert store.read(state.resolve("q")[2]).digest == samples.prompt(9).digest


def test_a_file_published_in_the_middle_of_a_collection_is_put_back(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt, remove = samples.prompt(9), Objects.remove
    orphan(store)

    def published_meanwhile(objects: Objects, digest: str) -> None:
        monkeypatch.undo()
        store.publish({"q": prompt})
        remove(objects, digest)

    monkeypatch.setattr(Objects, "remove", published_meanwhile)
    assert later(store).objects == ()
    assert store.read(store.state().resolve("q")[2]).digest == prompt.digest


def test_publishing_again_keeps_an_old_file_from_collection(store: PromptStore) -> None:
    digest = orphan(store)
    path = store.root / "objects" / f"{digest.removeprefix('sha256:')}.safetensors"
    os.utime(path, (0, 0))
    orphan(store)  # a publish that has not come to its generation yet
    assert collect(store).objects == ()


# Deletion


def test_a_deleted_prompt_is_gone_in_all_versions(store: PromptStore) -> None:
    store.publish({"q": samples.prompt(2)})  # the content of p@2, by another name
    state = store.delete("p", note="asked to")
    assert (state.generation, state.note, list(state.prompts)) == (5, "asked to", ["q"])
    for reference in ("p", "p@1"):
        with pytest.raises(NotFound, match="no prompt 'p'"):
            state.resolve(reference)
    assert sorted(free_deleted(store)) == sorted(samples.prompt(seed).digest for seed in (1, 3))
    assert [path.stem for path in (store.root / "objects").iterdir()] == [
        samples.prompt(2).digest.removeprefix("sha256:")
    ]
    assert free_deleted(store) == ()
    assert PromptStore.open(store.root).state() == state


def test_collection_frees_what_a_crash_left_of_a_deletion(store: PromptStore) -> None:
    store.delete("p")
    assert len(later(store, keep=10).objects) == 3


def test_a_deleted_names_versions_are_not_used_again(store: PromptStore) -> None:
    store.delete("p")
    state = store.publish({"p": samples.prompt(1)})
    assert state.resolve("p") == ("p", 4, samples.prompt(1).digest)
    assert state.resolve("p@4") == state.resolve("p")
    with pytest.raises(NotFound, match=r"p@4 to p@4 exist"):
        state.resolve("p@1")
    free_deleted(store)
    assert store.read(samples.prompt(1).digest).length == 3
    assert store.publish({"p": samples.prompt(7)}).resolve("p")[1] == 5
    assert store.delete("p").deleted["p"].newest == 5
    assert len(free_deleted(store)) == 2


def test_a_routed_prompt_is_not_deleted(store: PromptStore) -> None:
    store.publish({"world": samples.prompt(5)}, [samples.table("world", Romance="p@1")])
    with pytest.raises(InvalidInput, match=r"'p' answers for Romance .*route them to another"):
        store.delete("p")
    with pytest.raises(InvalidInput, match="universal"):
        store.delete("world")
    with pytest.raises(NotFound, match="no prompt 'nobody'"):
        store.delete("nobody")
    assert store.latest() == 4


def test_a_rollback_cannot_bring_a_deleted_prompt_back(store: PromptStore) -> None:
    store.publish({}, [samples.table("p")])
    store.publish({"q": samples.prompt(5)}, [samples.table("q")])
    store.delete("p")
    with pytest.raises(NotFound, match=r"generation 4 routes to 'p', which was deleted"):
        store.rollback(to=4)
    assert store.rollback(to=3).prompts["q"].current is None
    assert store.rollback(to=5).resolve("q")[1] == 1


def test_manifests_change_their_format_only_where_something_was_deleted(
    store: PromptStore,
) -> None:
    def manifest(generation: int) -> dict[str, object]:
        path = store.root / "generations" / f"{generation:08d}.json"
        found: dict[str, object] = json.loads(path.read_text())
        return found

    assert manifest(3)["format_version"] == 1
    assert "deleted" not in manifest(3)
    store.delete("p")
    assert manifest(4)["format_version"] == 2
    assert store.publish({"q": samples.prompt(1)}).format_version == 2


# The command line


def command(store: PromptStore, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--store", str(store.root)])
    return result.exit_code, result.stdout + result.stderr


def test_the_commands_say_what_they_did(store: PromptStore) -> None:
    for path in (store.root / "generations").iterdir():
        os.utime(path, (0, 0))
    code, said = command(store, "gc", "--keep", "2", "--dry-run", "--json")
    answer = json.loads(said)
    assert (code, answer["generations"], answer["dry_run"]) == (0, [1], True)
    assert command(store, "gc", "--keep", "2") == (
        0,
        "removed 1 generations, 0 prompt files and 0 leftovers; generations 2 to 3 stay\n",
    )
    code, said = command(store, "delete", "p", "--json")
    assert (code, len(json.loads(said)["freed"])) == (0, 3)
    assert command(store, "delete", "p")[0] == 2
