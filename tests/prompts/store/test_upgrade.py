"""A default store that began with one release is opened by the next, with retrained models."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isogloss.prompts.files import durable
from isogloss.prompts.format.card import ModelRef
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.routing.routes import RouteEvidence, RouteTable
from isogloss.prompts.store.generations import Generations
from isogloss.prompts.store.store import PromptStore, StoreState, open_default, open_store
from tests.prompts import samples
from tests.prompts.failing_disk import FailingDisk

RETRAINED = ModelRef(id="pocket-bloom", revision=None, fingerprint="sha256:" + "ef" * 32)
LINEAGES = (("Indo-European", "Italic", "Romance"), ("Uralic",), ())


def prompt_for(model: ModelRef, seed: int, task: str = "topic") -> SoftPrompt:
    return samples.prompt(seed, of_card=samples.card(model=model, task=task))


def table_for(model: ModelRef, universal: str, task: str = "topic", **clades: str) -> RouteTable:
    evidence = tuple(RouteEvidence(clade=c, prompt=p) for c, p in clades.items())
    return RouteTable(model=model, task=task, universal=universal, clades=clades, evidence=evidence)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """What the first release ships: two prompts of one model, and one of another."""
    store = PromptStore.open(tmp_path / "release-1", create=True)
    other = table_for(samples.OTHER_MODEL, "elsewhere")
    store.publish(
        {
            "world": prompt_for(samples.MODEL, 1),
            "romance": prompt_for(samples.MODEL, 2),
            "elsewhere": prompt_for(samples.OTHER_MODEL, 3),
        },
        [table_for(samples.MODEL, "world", Romance="romance"), other],
    )
    return store.root


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """The next: the first model was retrained, the other was not but has another prompt."""
    store = PromptStore.open(tmp_path / "release-2", create=True)
    other = table_for(samples.OTHER_MODEL, "elsewhere")
    store.publish(
        {
            "world": prompt_for(RETRAINED, 11),
            "romance": prompt_for(RETRAINED, 12),
            "uralic": prompt_for(RETRAINED, 13),
            "elsewhere": prompt_for(samples.OTHER_MODEL, 14),
        },
        [table_for(RETRAINED, "world", Romance="romance", Uralic="uralic"), other],
    )
    return store.root


@pytest.fixture
def mine(tmp_path: Path, first: Path) -> PromptStore:
    """A user's store of the first release, with prompts, routes and a task of the user's own."""
    store = open_default(tmp_path / "home" / "store", first)
    better, own = prompt_for(samples.MODEL, 4), prompt_for(samples.MODEL, 5)
    routes = table_for(samples.MODEL, "world", Romance="romance", Uralic="own")
    store.publish({"romance": better, "own": own}, [routes], "mine")
    tickets = prompt_for(samples.MODEL, 6, "tickets")
    store.publish({"tickets": tickets}, [table_for(samples.MODEL, "tickets", "tickets")])
    return store


def answers(state: StoreState, model: ModelRef, task: str = "topic") -> list[str]:
    """Digests that a model's routes lead to."""
    table = state.routes_for(model.fingerprint, task)
    assert table is not None
    return [state.resolve(table.route(lineage).reference)[2] for lineage in LINEAGES]


def test_the_retrained_model_gets_its_prompts_and_routes(mine: PromptStore, second: Path) -> None:
    before, shipped = mine.state(), PromptStore.open(second).state()
    state = open_default(mine.root, second).state()
    assert state.generation == before.generation + 1
    assert state.note.startswith("shipped with isogloss")
    assert answers(state, RETRAINED) == answers(shipped, RETRAINED)
    assert state.routes_for(*_key(RETRAINED)) == shipped.routes_for(*_key(RETRAINED))
    assert state.resolve("world")[1:] == (2, shipped.resolve("world")[2])
    for digest in answers(state, RETRAINED):
        assert mine.read(digest).card.model == RETRAINED


def test_nothing_that_the_user_had_goes_away(mine: PromptStore, second: Path) -> None:
    before = mine.state()
    state = open_default(mine.root, second).state()
    for name, entry in before.prompts.items():
        kept = state.prompts[name].versions[: len(entry.versions)]
        assert kept == entry.versions
        assert all(mine.read(version.digest) for version in kept)
    assert state.resolve("own") == before.resolve("own")
    assert state.resolve("romance")[1] == 3  # the user's is romance@2
    assert state.routes_for(*_key(samples.MODEL, "tickets")) is not None


def test_who_still_has_the_old_model_is_answered_as_before(mine: PromptStore, second: Path) -> None:
    before = mine.state()
    state = open_default(mine.root, second).state()
    for model, task in ((samples.MODEL, "topic"), (samples.MODEL, "tickets")):
        assert answers(state, model, task) == answers(before, model, task)
    table = state.routes_for(*_key(samples.MODEL))
    assert table is not None
    assert table.references == ("world@1", "romance@2", "own")
    assert {e.clade: e.prompt for e in table.evidence} == {"Romance": "romance@2", "Uralic": "own"}


def test_a_model_that_was_not_retrained_keeps_its_prompts(mine: PromptStore, second: Path) -> None:
    before = mine.state()
    state = open_default(mine.root, second).state()
    assert answers(state, samples.OTHER_MODEL) == answers(before, samples.OTHER_MODEL)
    assert state.prompts["elsewhere"] == before.prompts["elsewhere"]


def test_the_second_start_does_nothing(mine: PromptStore, second: Path, first: Path) -> None:
    generation = open_default(mine.root, second).latest()
    files = {p: p.stat().st_mtime_ns for p in mine.root.rglob("*")}
    assert open_default(mine.root, second).latest() == generation
    assert open_default(mine.root, first).latest() == generation  # nor does the older release
    assert {p: p.stat().st_mtime_ns for p in mine.root.rglob("*")} == files


def test_going_back_is_a_release_older_than_the_store(tmp_path: Path, first: Path) -> None:
    """Prompts of a newer release's models are of no use to an older one, and the reverse."""
    newest = PromptStore.open(tmp_path / "newest", create=True)
    newest.publish({"world": prompt_for(RETRAINED, 11)}, [table_for(RETRAINED, "world")])
    path = open_default(tmp_path / "store", newest.root).root
    state = open_default(path, first).state()
    assert answers(state, RETRAINED) == answers(newest.state(), RETRAINED)
    assert answers(state, samples.MODEL) == answers(PromptStore(first).state(), samples.MODEL)


def test_a_store_that_somebody_named_is_left_alone(
    mine: PromptStore, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isogloss.prompts.store.store.shipped_store", lambda: second)
    before = mine.latest()
    assert open_store(mine.root).latest() == before
    monkeypatch.setenv("ISOGLOSS_STORE", str(mine.root))
    assert open_store().latest() == before + 1


def test_what_a_user_publishes_meanwhile_stays_in_force(
    mine: PromptStore, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process adds the prompts first, and its user at once publishes a better one."""
    append, better = Generations.append, prompt_for(RETRAINED, 20)

    def beaten(self: Generations, state: StoreState) -> bool:
        monkeypatch.undo()
        open_default(mine.root, second).publish({"romance": better})
        return append(self, state)

    monkeypatch.setattr(Generations, "append", beaten)
    before = mine.latest()
    state = open_default(mine.root, second).state()
    assert state.generation == before + 2
    assert state.resolve("romance")[2] == better.digest


def test_processes_that_start_together_add_them_once(
    tmp_path: Path, mine: PromptStore, second: Path
) -> None:
    command = [sys.executable, "-m", "tests.prompts.store_processes"]
    before = mine.latest()
    subprocess.run(
        [*command, "start", str(mine.root), str(second)],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=120,
    )
    assert mine.latest() == before + 1
    assert answers(mine.state(), RETRAINED) == answers(PromptStore(second).state(), RETRAINED)


def test_a_store_that_cannot_be_written_serves_what_it_has_and_says_so(
    tmp_path: Path,
    mine: PromptStore,
    second: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def read_only() -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    before = mine.state()
    for call in range(1, 100):
        root = tmp_path / str(call) / "store"
        shutil.copytree(mine.root, root)
        caplog.clear()
        disk = FailingDisk(call, read_only)
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(durable, "os", disk)
            opened = open_default(root, second)
        if len(disk.calls) < call:
            break
        added = opened.latest() > before.generation
        assert added or opened.state() == before
        assert added or ("keeps what it has" in caplog.text and "writable" in caplog.text)
    assert call > 20
    assert opened.latest() == before.generation + 1


def _key(model: ModelRef, task: str = "topic") -> tuple[str, str]:
    return model.fingerprint, task
