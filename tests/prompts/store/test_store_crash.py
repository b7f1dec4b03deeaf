"""A failure at any point leaves the old state or the new one, and nothing in the way of a retry."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from isogloss.prompts.errors import StoreError
from isogloss.prompts.files import durable
from isogloss.prompts.store.store import PromptStore, open_default
from tests.prompts import samples
from tests.prompts.failing_disk import FailingDisk
from tests.prompts.store_processes import PUBLISHES, WRITERS, run_processes

NEVER = 10**9
OLD, NEW = samples.prompt(1), samples.prompt(2)
ROUTES = [samples.table("p@1", Romance="p")]


def disk_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only() -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def refused(action: Callable[[], object]) -> str | None:
    """Message of the StoreError that `action` raised, None if it raised none."""
    try:
        action()
    except StoreError as error:
        return str(error)
    return None


def new_store(root: Path) -> PromptStore:
    store = PromptStore.open(root, create=True)
    store.publish({"p": OLD}, [samples.table("p")])
    return store


def calls_of_a_publish(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    store, disk = new_store(root), FailingDisk(NEVER, disk_full)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "os", disk)
        store.publish({"p": NEW}, ROUTES)
    return disk.calls


@pytest.mark.parametrize("after", [False, True])
def test_a_failing_call_leaves_the_old_state_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    total = len(calls_of_a_publish(tmp_path / "dry", monkeypatch))
    assert total > 15
    outcomes = set()
    for at in range(1, total + 1):
        store = new_store(tmp_path / str(at))
        before = store.state()
        disk = FailingDisk(at, disk_full, after=after)
        with monkeypatch.context() as patch:
            patch.setattr(durable, "os", disk)
            refusal = refused(functools.partial(store.publish, {"p": NEW}, ROUTES))
        assert refusal is None or f"{store.root}" in refusal
        assert refusal is None or "No space left" in refusal
        if refusal is not None and "may be published" not in refusal:
            assert store.state() == before
        outcomes.add(store.latest())
        leftovers = list((store.root / "tmp").iterdir())
        assert not leftovers or disk.calls[at - 1][0] == "unlink"
        assert store.publish({"p": NEW}, ROUTES).generation == 2
        assert store.read(store.state().resolve("p")[2]).digest == NEW.digest
    assert outcomes == {1, 2}


def test_a_full_or_read_only_disk_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path / "store")
    for fail, remedy in ((disk_full, "free some space"), (read_only, "make it writable")):
        monkeypatch.setattr(durable, "os", FailingDisk(1, fail))
        with pytest.raises(StoreError, match=rf"{store.root}.*{remedy}"):
            store.publish({"p": NEW})


def test_everything_is_on_the_disk_before_its_name_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = calls_of_a_publish(tmp_path / "store", monkeypatch)
    names = [name for name, _ in calls]
    for appears in ("replace", "link"):
        at = names.index(appears)
        assert names[at - 4 : at] == ["open", "write", "fsync", "close"]
        assert calls[at - 4][1] == calls[at][1]  # the very file that was synced
        assert names[at + 1 : at + 4] == ["unlink", "open", "fsync"]  # and then its folder
    assert names.index("replace") < names.index("link")  # objects before the manifest


def test_a_link_that_nfs_repeated_is_recognised_as_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path / "store")

    def already_there() -> None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    store.publish({"p": NEW})
    store.publish({"p": samples.prompt(3)})
    dry = FailingDisk(NEVER, disk_full)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "os", dry)
        store.rollback()
    link = [name for name, _ in dry.calls].index("link") + 1
    store.rollback(to=3)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "os", FailingDisk(link, already_there, after=True))
        state = store.rollback()
    assert (state.generation, state.restores) == (6, 2)  # not rolled back twice
    assert store.latest() == 6


def test_a_failure_while_seeding_leaves_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, path = new_store(tmp_path / "shipped"), tmp_path / "home" / "store"
    dry = FailingDisk(NEVER, disk_full)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "os", dry)
        open_default(tmp_path / "dry" / "store", shipped.root)
    for at in range(1, len(dry.calls) + 1):
        with monkeypatch.context() as patch:
            patch.setattr(durable, "os", FailingDisk(at, disk_full))
            refusal = refused(lambda: open_default(path, shipped.root))
        assert refusal is None or str(path) in refusal
        if path.exists():
            break
    assert open_default(path, shipped.root).state() == shipped.state()
    assert [entry.name for entry in path.parent.iterdir()] == ["store"]


def test_sigkill_at_every_system_call_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    assert run_processes("kill", tmp_path) > 15


def test_concurrent_publishers_each_land_exactly_once(tmp_path: Path) -> None:
    assert run_processes("race", tmp_path) == WRITERS * PUBLISHES + 1
