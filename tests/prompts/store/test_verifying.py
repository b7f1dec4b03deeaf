"""Damage is found by digest, moved aside, and mended where there is something to mend it with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isogloss.prompts.cli.commands import app
from isogloss.prompts.store.store import PromptStore
from isogloss.prompts.store.verify import verify
from tests.prompts import samples

ONE, TWO = samples.prompt(1), samples.prompt(2)


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish({"a": ONE, "b": ONE}, [samples.table("a")])
    store.publish({"a": TWO})
    return store


def object_path(store: PromptStore, digest: str) -> Path:
    return store.root / "objects" / f"{digest.removeprefix('sha256:')}.safetensors"


def manifest_path(store: PromptStore, generation: int) -> Path:
    return store.root / "generations" / f"{generation:08d}.json"


def spoiled(path: Path) -> bytes:
    rotten = bytearray(path.read_bytes())
    rotten[len(rotten) // 2] ^= 1
    path.write_bytes(rotten)
    return bytes(rotten)


def test_a_whole_store_is_said_to_be_whole(store: PromptStore) -> None:
    (store.root / "objects" / f"{'0' * 64}.safetensors").touch()
    report = verify(store)
    assert report.whole
    assert (report.newest, report.generations, report.objects, report.unreferenced) == (2, 2, 2, 1)


def test_an_empty_store_is_whole(tmp_path: Path) -> None:
    assert verify(PromptStore.open(tmp_path / "store", create=True), repair=True).whole


def test_bit_rot_is_found_and_named(store: PromptStore) -> None:
    path = object_path(store, ONE.digest)
    rotten = spoiled(path)
    (problem,) = verify(store).problems
    assert (problem.kind, problem.what) == ("damaged", str(path))
    assert problem.needed_by == ("a@1", "b@1")
    assert ONE.digest in problem.reason
    assert path.read_bytes() == rotten  # nobody asked for more


def test_a_damaged_file_is_moved_aside_and_healed_by_publishing_again(store: PromptStore) -> None:
    path = object_path(store, ONE.digest)
    rotten = spoiled(path)
    report = verify(store, repair=True, copies=())
    (problem,) = report.problems
    assert not report.whole
    assert problem.quarantined is not None
    assert Path(problem.quarantined).parent == store.root / "quarantine"
    assert Path(problem.quarantined).read_bytes() == rotten
    assert not path.exists()
    (missing,) = verify(store).problems
    assert missing.kind == "missing"
    store.publish({"b": ONE})
    assert verify(store).whole


def test_a_file_comes_back_from_a_copy_that_is_whole(store: PromptStore, tmp_path: Path) -> None:
    bad, good = (PromptStore.open(tmp_path / name, create=True) for name in ("bad", "good"))
    for copy in (bad, good):
        copy.publish({"x": ONE, "y": TWO})
        spoiled(object_path(bad, ONE.digest)) if copy is bad else None
    spoiled(object_path(store, ONE.digest))
    object_path(store, TWO.digest).unlink()
    report = verify(store, repair=True, copies=[bad, good])
    assert report.whole
    assert {problem.repaired for problem in report.problems} == {
        f"copied from {good.root}",
        f"copied from {bad.root}",
    }
    assert store.read(ONE.digest).digest == ONE.digest
    assert verify(store).problems == ()


@pytest.mark.parametrize("harm", ["rot", "loss"])
def test_a_generation_in_the_middle_takes_the_content_before_it(
    store: PromptStore, harm: str
) -> None:
    store.publish({"c": TWO})
    path = manifest_path(store, 2)
    path.write_bytes(b"rot")
    if harm == "loss":
        path.unlink()
    (problem,) = verify(store).problems
    assert problem.kind == ("damaged" if harm == "rot" else "missing")
    assert verify(store, repair=True).whole
    assert store.latest() == 3
    assert store.state(2).same_content(store.state(1))
    assert (store.root / "quarantine").is_dir() == (harm == "rot")


def test_readers_of_a_damaged_newest_generation_are_taken_on(store: PromptStore) -> None:
    manifest_path(store, 2).write_bytes(b"rot")
    report = verify(store, repair=True)
    assert report.whole
    assert report.newest == 3
    assert store.latest() == 3
    state = store.state()
    assert state.resolve("a") == ("a", 1, ONE.digest)
    assert state.restores == 1
    assert store.publish({"a": TWO}).generation == 4


def test_the_oldest_generation_is_done_without(store: PromptStore) -> None:
    manifest_path(store, 1).write_bytes(b"rot")
    assert verify(store, repair=True).whole
    assert store.generations.numbers() == [2]
    assert verify(store).problems == ()


@pytest.mark.parametrize("name", ["99999999.json", "100000000.json", "00000003x", "7.json"])
def test_what_only_looks_like_a_generation_is_moved_aside(store: PromptStore, name: str) -> None:
    planted = store.root / "generations" / name
    planted.write_bytes(b"planted")
    (problem,) = verify(store).problems
    assert (problem.kind, problem.what) == ("stray", str(planted))
    assert planted.exists()
    report = verify(store, repair=True)
    assert report.whole
    assert report.newest == 2
    (mended,) = report.problems
    assert Path(mended.quarantined or "").read_bytes() == b"planted"
    assert not planted.exists()
    assert verify(store).problems == ()


def test_a_manifest_of_a_later_release_is_whole_for_others(store: PromptStore) -> None:
    path = manifest_path(store, 2)
    later = path.read_bytes().replace(b'"format_version": 1', b'"format_version": 99')
    path.write_bytes(later)
    (problem,) = verify(store, repair=True).problems
    assert (problem.kind, problem.repaired) == ("unreadable", None)
    assert "upgrade isogloss" in problem.reason
    assert path.read_bytes() == later
    assert store.generations.numbers() == [1, 2]


def test_a_folder_in_a_manifests_place_is_said_and_left_alone(store: PromptStore) -> None:
    for name in ("00000003.json", "00000099.json"):
        (store.root / "generations" / name).mkdir()
    kinds = [problem.kind for problem in verify(store, repair=True).problems]
    assert kinds == ["stray", "unreadable"]
    assert not verify(store).whole


def test_the_history_shows_what_cannot_be_read(store: PromptStore) -> None:
    store.publish({"c": TWO})
    manifest_path(store, 2).write_bytes(b"rot")
    result = CliRunner().invoke(
        app, ["list", "--history", "--json", "--store", str(store.root)], catch_exceptions=False
    )
    newest, damaged, oldest = json.loads(result.stdout)["generations"]
    assert newest["digest"] == store.state(3).identity.digest
    assert (damaged["digest"], damaged["current"]) == (None, {})
    assert "00000002.json is refused" in damaged["problem"]
    assert (oldest["problem"], oldest["current"]) == (None, {"a": 1, "b": 1})
    table = CliRunner().invoke(app, ["list", "--history", "--store", str(store.root)])
    assert table.exit_code == 0
    assert "is refused" in table.stdout.replace("\n", "")


def test_a_store_whose_only_generation_is_damaged_stays_as_it_is(tmp_path: Path) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish({"a": ONE})
    manifest_path(store, 1).write_bytes(b"rot")
    assert not verify(store, repair=True).whole
    assert manifest_path(store, 1).read_bytes() == b"rot"


def test_the_files_of_deleted_prompts_are_not_missed(store: PromptStore) -> None:
    store.delete("b")
    store.publish({"c": TWO}, [samples.table("c")])
    store.delete("a")
    object_path(store, ONE.digest).unlink()
    assert verify(store).whole


def test_the_command_says_so_and_exits_with_1(store: PromptStore) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["verify", *arguments, "--store", str(store.root)])
        return result.exit_code, result.stdout

    assert run()[0] == 0
    assert "nothing is wrong" in run()[1]
    spoiled(object_path(store, ONE.digest))
    code, said = run()
    assert code == 1
    assert "a@1, b@1" in said
    code, said = run("--repair", "--json")
    answer = json.loads(said)
    assert (code, answer["whole"], len(answer["problems"])) == (1, False, 1)
    assert "/quarantine/" in answer["problems"][0]["quarantined"]
