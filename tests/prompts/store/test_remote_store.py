"""Stores at addresses: the same behaviour without renames, hard links or folders."""

from __future__ import annotations

import errno
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from typer.testing import CliRunner

from isogloss.prompts.cli.commands import app
from isogloss.prompts.errors import NotFound, StoreError
from isogloss.prompts.store import remote
from isogloss.prompts.store.collect import collect, free_deleted
from isogloss.prompts.store.filesystems import LocalBackend, address_of, backend_of
from isogloss.prompts.store.generations import Follower
from isogloss.prompts.store.objects import ObjectCache
from isogloss.prompts.store.remote import RemoteBackend, RemoteFolder
from isogloss.prompts.store.store import PromptStore, open_store
from isogloss.prompts.store.verify import verify
from tests.prompts import samples

ONE, TWO = samples.prompt(1), samples.prompt(2)
ADDRESS = "memory://team/prompts"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISOGLOSS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "objects"


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    files = MemoryFileSystem()
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()


@pytest.fixture
def store(memory: MemoryFileSystem) -> PromptStore:
    return PromptStore.open(ADDRESS, create=True)


# Addresses


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("s3://bucket/a/", "s3://bucket/a"),
        (Path("s3://bucket/a"), "s3://bucket/a"),  # pathlib has made one slash of two
        ("memory://x", "memory://x"),
        ("/srv/prompts", None),
        ("prompts", None),
        ("C:/prompts", None),
        ("file:///srv/prompts", None),
    ],
)
def test_an_address_is_told_from_a_folder(given: str | Path, address: str | None) -> None:
    assert address_of(given) == address


def test_a_file_address_is_a_folder(tmp_path: Path) -> None:
    place = backend_of(f"file://{tmp_path}/store")
    assert isinstance(place, LocalBackend)
    assert place.root == tmp_path / "store"


def test_an_address_that_nothing_knows_is_named() -> None:
    with pytest.raises(StoreError, match=r"gopher://x: .*give a folder, or an address such as"):
        PromptStore.open("gopher://x")


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(remote, "url_to_fs", missing)
    with pytest.raises(StoreError, match=r"Install s3fs.*pip install 'isogloss\[s3\]'"):
        PromptStore.open("s3://bucket/x")


def test_a_store_that_is_not_there_is_named(memory: MemoryFileSystem) -> None:
    with pytest.raises(StoreError, match=rf"no prompt store at {ADDRESS}"):
        PromptStore.open(ADDRESS)
    memory.pipe_file("/team/prompts/thesis.tex", b"x")
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        PromptStore.open(ADDRESS, create=True)


def test_the_environment_may_name_an_address(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish({"p": ONE})
    monkeypatch.setenv("ISOGLOSS_STORE", ADDRESS)
    assert open_store().location == ADDRESS
    with pytest.raises(StoreError, match="not a local folder"):
        _ = open_store().root


# What a store does


def test_prompts_are_published_read_rolled_back_and_deleted(store: PromptStore) -> None:
    store.publish({"p": ONE}, [samples.table("p")])
    state = store.publish({"p": TWO, "q": TWO})
    assert store.publish({"p": TWO}) == state
    other = PromptStore.open(ADDRESS)
    assert other.state() == state
    assert other.read(state.resolve("p@1")[2]).digest == ONE.digest
    assert other.rollback().resolve("p")[1] == 1
    assert other.delete("q").generation == 4
    assert [own.generation for own in store.history()] == [4, 3, 2, 1]
    with pytest.raises(NotFound, match="no generation 9"):
        store.state(9)


def test_the_loser_of_a_race_publishes_on_top(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = RemoteFolder.create

    def beaten(folder: RemoteFolder, name: str, data: bytes) -> bool:
        if name == "00000001.json":
            monkeypatch.undo()
            PromptStore.open(ADDRESS, create=True).publish({"first": ONE})
        return create(folder, name, data)

    monkeypatch.setattr(RemoteFolder, "create", beaten)
    state = store.publish({"second": TWO})
    assert (state.generation, sorted(state.prompts)) == (2, ["first", "second"])


def test_an_upload_whose_answer_was_lost_is_recognised_as_our_own(
    store: PromptStore, memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish({"p": ONE})
    pipe_file = MemoryFileSystem.pipe_file

    def lost(files: MemoryFileSystem, path: str, data: bytes, **given: Any) -> None:
        pipe_file(files, path, data, **given)
        if given.get("mode") == "create":
            raise TimeoutError("no answer")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", lost)
    assert store.publish({"p": TWO}).generation == 2
    assert store.latest() == 2


def test_an_upload_that_was_refused_for_now_is_tried_again(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish({"p": ONE})
    pipe_file, failures = MemoryFileSystem.pipe_file, iter([True, True])

    def busy(files: MemoryFileSystem, path: str, data: bytes, **given: Any) -> None:
        if given.get("mode") == "create" and next(failures, False):
            raise OSError(errno.EBUSY, "ConditionalRequestConflict")
        pipe_file(files, path, data, **given)

    monkeypatch.setattr(remote, "_RETRY_AFTER_S", 0.0)
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", busy)
    assert store.publish({"p": TWO}).generation == 2


class PowerCut(BaseException):
    """A process ends here."""


@pytest.mark.parametrize("after", [False, True])
def test_a_publish_that_ends_at_any_request_leaves_the_old_state_or_the_new(
    memory: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    call = RemoteFolder._call
    for at in range(1, 100):
        memory.store.clear()
        store = PromptStore.open(ADDRESS, create=True)
        before = store.publish({"p": ONE}, [samples.table("p")])
        count = iter(range(1, 1000))

        def cut(folder: RemoteFolder, work: Callable[[], Any], at: int = at, n: Any = count) -> Any:
            this = next(n)
            if this == at and not after:
                raise PowerCut
            answer = call(folder, work)
            if this == at:
                raise PowerCut
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(RemoteFolder, "_call", cut)
            try:
                store.publish({"p": TWO}, [samples.table("p@1", Romance="p")])
                break
            except PowerCut:
                pass
        seen = PromptStore.open(ADDRESS)
        state = seen.state()
        assert state == before or state.routes[0].clades == {"Romance": "p"}
        assert seen.read(state.resolve("p")[2])
        done = seen.publish({"p": TWO}, [samples.table("p@1", Romance="p")])
        assert done.generation == 2
        collect(seen, now_s=time.time() + 7200)
        report = verify(seen)
        assert (report.whole, report.unreferenced, report.objects) == (True, 0, 2)
    assert at > 5


def test_damage_is_found_quarantined_and_collected(
    store: PromptStore, memory: MemoryFileSystem
) -> None:
    store.publish({"p": ONE})
    name = f"{ONE.digest.removeprefix('sha256:')}.safetensors"
    memory.pipe_file(f"/team/prompts/objects/{name}", b"rot")
    (problem,) = verify(store, repair=True, copies=()).problems
    assert problem.quarantined is not None
    quarantined = problem.quarantined.removeprefix("memory://")
    assert memory.cat_file(f"/{quarantined}") == b"rot"
    store.publish({"p": ONE})
    store.publish({"p": TWO})
    assert verify(store).whole
    assert collect(store, keep=1, now_s=time.time() + 7200).generations == (1,)
    assert PromptStore.open(ADDRESS).latest() == 2


def test_the_command_line_takes_an_address(memory: MemoryFileSystem, tmp_path: Path) -> None:
    ONE.save(tmp_path / "p.safetensors")

    def run(*arguments: str) -> Any:
        given = [*arguments, "--store", ADDRESS, "--json"]
        result = CliRunner().invoke(app, given, catch_exceptions=False)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    published = run("publish", str(tmp_path / "p.safetensors"), "--route", "universal")
    assert (published["store"], published["generation"]) == (ADDRESS, 1)
    assert run("list")["prompts"][0]["digest"] == ONE.digest
    assert run("verify")["whole"] is True


# Polling and the cache


def test_a_poll_is_one_request(store: PromptStore, calls: list[str]) -> None:
    now_s = 0.0
    state = store.publish({"p": ONE})
    reader = Follower(store.generations, clock=lambda: now_s)
    reader.poll()
    calls.clear()
    for _ in range(10):
        assert reader.poll().newest == state.identity
    assert calls == ["generations"] * 10
    now_s = RemoteFolder.patience_s  # now and then: is it the same still, and all there is?
    assert reader.poll().newest == state.identity
    assert calls == ["generations"] * 13


def test_a_prompt_is_fetched_once(store: PromptStore, calls: list[str], cache: Path) -> None:
    store.publish({"p": ONE})
    calls.clear()
    for _ in range(3):
        assert PromptStore.open(ADDRESS).read(ONE.digest).digest == ONE.digest
    assert calls.count("objects") == 1
    (kept,) = cache.iterdir()
    kept.write_bytes(b"rot")
    assert store.read(ONE.digest).digest == ONE.digest
    assert calls.count("objects") == 2
    assert kept.read_bytes() == ONE.to_bytes()


def test_a_deleted_prompt_leaves_the_cache(store: PromptStore, cache: Path) -> None:
    store.publish({"p": ONE})
    store.read(ONE.digest)
    store.delete("p")
    assert free_deleted(store) == (ONE.digest,)
    assert not any(cache.iterdir())
    with pytest.raises(StoreError, match="cannot read"):
        store.read(ONE.digest)


def test_a_cache_that_cannot_be_used_is_left_out(
    store: PromptStore, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.publish({"p": ONE})
    cache.parent.write_text("in the way")
    assert store.read(ONE.digest).digest == ONE.digest
    assert "cannot keep a prompt" in caplog.text


def test_the_cache_makes_room(tmp_path: Path) -> None:
    prompts = [samples.prompt(seed) for seed in range(4)]
    size = len(prompts[0].to_bytes())
    cache = ObjectCache(tmp_path / "cache", kept_bytes=2 * size)
    for number, prompt in enumerate(prompts):
        cache.put(str(number), prompt.to_bytes())
        time.sleep(0.01)  # file systems count time in ticks
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["2", "3"]
    assert cache.get(prompts[3].digest, "3") == prompts[3].to_bytes()


# What a file system cannot do


def test_a_file_system_without_exclusive_creation_is_told_of_once(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", AbstractFileSystem.pipe_file)
    with caplog.at_level(logging.WARNING):
        store.publish({"p": ONE})
        store.publish({"p": TWO})
    assert caplog.text.count("only one publisher at a time") == 1
    assert store.latest() == 2


def test_a_server_that_ignores_the_condition_is_told_of(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pipe_file = MemoryFileSystem.pipe_file

    def ignores(files: MemoryFileSystem, path: str, data: bytes, **_: Any) -> None:
        pipe_file(files, path, data)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", ignores)
    with caplog.at_level(logging.WARNING):
        store.publish({"p": ONE})
    assert "only one publisher at a time" in caplog.text


def test_without_a_network_the_error_says_where(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoRoute(Exception):
        """As libraries have their own."""

    def unreachable(*_: object, **__: object) -> bytes:
        raise NoRoute("no route to host")

    store.publish({"p": ONE})
    reader = Follower(store.generations)
    reader.poll()
    monkeypatch.setattr(MemoryFileSystem, "cat_file", unreachable)
    with pytest.raises(StoreError, match=rf"{ADDRESS}/generations.*NoRoute: no route.*network"):
        reader.poll()


def test_a_remote_place_has_an_address() -> None:
    assert RemoteBackend(ADDRESS).location == ADDRESS
