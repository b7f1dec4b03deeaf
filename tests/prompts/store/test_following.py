"""A reader that knows a store sees what one sees that opens it anew, whatever was done to it."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from isogloss.prompts.store.filesystems import Folder, LocalFolder
from isogloss.prompts.store.generations import Follower, Generations
from isogloss.prompts.store.numbering import name_of
from isogloss.prompts.store.remote import RemoteBackend, RemoteFolder
from isogloss.prompts.store.state import StoreState
from isogloss.prompts.store.store import PromptStore
from tests.prompts import samples

ADDRESS = "memory://followed/store"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(params=["folder", "address"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "folder":
        (tmp_path / "generations").mkdir()
        yield LocalFolder(tmp_path / "generations", tmp_path)
        return
    MemoryFileSystem.store.clear()
    yield RemoteBackend(ADDRESS).folder("generations")
    MemoryFileSystem.store.clear()


Held = dict[str, bytes]


def held(folder: Folder) -> Held:
    return {name: folder.read(name, 1000) for name in folder.names()}


def put(folder: Folder, files: Held) -> None:
    """Make a folder hold these files and no others, as a backup is restored."""
    for name in set(folder.names()) - set(files):
        folder.remove(name)
    for name, data in files.items():
        if folder.names().count(name) == 0 or folder.read(name, 1000) != data:
            folder.write(name, data)


def publish(folder: Folder, chance: random.Random) -> None:
    number = Generations(folder, "store").latest() + 1
    folder.write(name_of(number), chance.randbytes(8))


def lose(folder: Folder, chance: random.Random) -> None:
    if names := folder.names():
        folder.remove(chance.choice(sorted(names)))


def rot(folder: Folder, chance: random.Random) -> None:
    if names := folder.names():
        folder.write(chance.choice(sorted(names)), chance.randbytes(8))


def plant(folder: Folder, chance: random.Random) -> None:
    name = chance.choice([name_of(chance.choice([3, 30, 99_999_999])), "00000004x", "9.json"])
    folder.write(name, chance.randbytes(8))


def empty(folder: Folder, chance: random.Random) -> None:
    put(folder, {})


HARMS: tuple[Callable[[Folder, random.Random], None], ...] = (
    publish, publish, publish, lose, rot, plant, empty,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_done_to_a_store_is_seen(folder: Folder, seed: int) -> None:
    chance, clock = random.Random(seed), Clock()
    generations = Generations(folder, "store")
    follower = Follower(generations, clock)
    backups: list[Held] = [{}]
    newest = set()
    for _ in range(40):
        if chance.random() < 0.25:
            put(folder, chance.choice(backups))
        else:
            chance.choice(HARMS)(folder, chance)
        backups.append(held(folder))
        clock.now_s += folder.patience_s
        seen = follower.poll()
        assert seen == Follower(generations).poll()
        assert follower.poll() == seen
        newest.add(seen.newest)
    assert len(newest) > 10


def test_a_store_that_stands_still_is_neither_listed_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    state = store.publish({"p": samples.prompt(1)})
    follower = Follower(store.generations)
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)  # nothing changed a moment ago
    follower.poll()

    def forbidden(*_: object) -> list[str]:
        raise AssertionError("nothing has changed")

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "names", forbidden)
        patch.setattr(LocalFolder, "read", forbidden)
        for _ in range(5):
            assert follower.poll().newest == state.identity
    following = store.publish({"p": samples.prompt(2)})
    assert follower.poll().newest == following.identity


def test_a_mark_equals_another_only_where_nothing_changed_a_moment_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = LocalFolder(tmp_path, tmp_path)
    (tmp_path / "a").touch()
    for name in ("a", None):
        assert folder.mark(name) != folder.mark(name)
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    for name in ("a", None):
        assert folder.mark(name) == folder.mark(name)
    assert folder.mark("b") is None


def overwrite(generations: Path) -> None:
    (generations / "00000002.json").write_bytes(b"other content, in the same file")


def come_out_of_order(generations: Path) -> None:
    (generations / "00000004.json").touch()
    os.utime(generations, (1, 1))  # as if a while had passed


def replace(generations: Path) -> None:
    data = (generations / "00000001.json").read_bytes()
    (generations / "new").write_bytes(data)
    os.rename(generations / "new", generations / "00000002.json")
    os.utime(generations, (2, 2))


@pytest.mark.parametrize("change", [overwrite, come_out_of_order, replace])
def test_a_change_of_a_store_that_stood_still_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    for seed in (1, 2):
        store.publish({"p": samples.prompt(seed)})
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    follower = Follower(store.generations)
    before = follower.poll()
    change(store.root / "generations")
    assert follower.poll() == Follower(store.generations).poll() != before


def test_a_switched_link_is_seen_where_the_numbers_are_the_same(tmp_path: Path) -> None:
    stores = [PromptStore.open(tmp_path / name, create=True) for name in ("blue", "green")]
    states = [own.publish({"p": samples.prompt(n)}) for n, own in enumerate(stores)]
    link = tmp_path / "current"
    link.symlink_to("blue")
    follower = Follower(PromptStore.open(link).generations)
    assert follower.poll().newest == states[0].identity
    (tmp_path / "next").symlink_to("green")
    os.rename(tmp_path / "next", link)
    assert follower.poll().newest == states[1].identity
    assert states[0].identity.number == states[1].identity.number


def test_a_restored_backup_is_seen_though_it_was_published_past_the_known_number(
    tmp_path: Path,
) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    for seed in range(3):
        store.publish({"p": samples.prompt(seed)})
        if seed == 1:
            shutil.copytree(store.root, tmp_path / "backup")
    known = store.state()
    follower = Follower(store.generations)
    assert follower.poll().newest == known.identity
    shutil.rmtree(store.root)
    shutil.copytree(tmp_path / "backup", store.root)
    for seed in range(10, 14):
        state = store.publish({"p": samples.prompt(seed)})
    assert follower.poll().newest == state.identity
    assert not store.generations.holds(known.identity)
    assert store.generations.holds(state.identity)


def test_far_away_a_replaced_newest_generation_is_seen_within_seconds() -> None:
    MemoryFileSystem.store.clear()
    store, clock = PromptStore.open(ADDRESS, create=True), Clock()
    before = store.publish({"p": samples.prompt(1)})
    follower = Follower(store.generations, clock)
    assert follower.poll().newest == before.identity
    MemoryFileSystem.store.clear()
    after = store.publish({"p": samples.prompt(2)})
    clock.now_s += RemoteFolder.patience_s
    assert follower.poll().newest == after.identity
    assert store.read(after.resolve("p")[2]).digest == samples.prompt(2).digest


def test_a_newest_generation_that_cannot_be_read_is_seen_without_a_digest(tmp_path: Path) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish({"p": samples.prompt(1)})
    follower = Follower(store.generations)
    (store.root / "generations" / "00000002.json").mkdir()
    assert follower.poll().newest == (2, "")
    (store.root / "generations" / "00000002.json").rmdir()
    assert follower.poll().newest == store.state().identity


def test_the_empty_store_is_generation_0(tmp_path: Path) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    assert Follower(store.generations).poll().newest == StoreState(generation=0).identity
