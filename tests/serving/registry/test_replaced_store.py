"""A store that was restored, emptied or switched: what is served is what it holds."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from isogloss.prompts.store.numbering import MAX_GENERATION, GenerationId
from isogloss.prompts.store.store import PromptStore
from isogloss.prompts.store.verify import verify
from isogloss.serving.registry.registry import Registry
from isogloss.serving.registry.replicas import LocalBoard, ReplicaReport, Wanted
from isogloss.serving.registry.succession import STANDS_STILL_S
from tests.fakes import (
    FakeBackbone,
    fake_classifier,
    fake_settings,
    fake_store,
    http_client,
    route_table,
    soft_prompt,
)
from tests.serving.replicas_of import Clock, polling, registry_of

ADMIN = {"authorization": "Bearer token"}
NEW = soft_prompt(99.0)


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    """Six generations, of which `backup` kept three."""
    store = fake_store(tmp_path / "store")
    for value in range(2, 7):
        store.publish({"romance": soft_prompt(10.0 * value)})
        if value == 3:
            shutil.copytree(store.root, tmp_path / "backup")
    return store


def restore(store: PromptStore) -> None:
    backup = store.root.parent / "backup"
    shutil.rmtree(store.root)
    shutil.copytree(backup, store.root)


def publish(store: PromptStore, *values: float) -> None:
    for value in values:
        store.publish({"romance": soft_prompt(value)})


def agree(live: Registry, store: PromptStore) -> bool:
    """Whether a replica that runs serves what one that starts does, and what the store says."""
    fresh = registry_of(store)
    return live.identity == fresh.identity == store.state().identity and (
        live.current.find("romance").digest == fresh.current.find("romance").digest
    )


@pytest.mark.parametrize(
    "since",
    [
        (1.0, 2.0, 3.0),  # the same number again, with other content
        (1.0, 2.0, 3.0, 4.0),  # past it, between two looks
    ],
)
def test_a_restored_store_that_caught_up_is_followed_at_once(
    store: PromptStore, since: tuple[float, ...], caplog: pytest.LogCaptureFixture
) -> None:
    live = registry_of(store)
    restore(store)
    publish(store, *since)
    assert live.refresh()
    assert agree(live, store)
    assert live.problem is None
    assert ("the store was replaced: generation 6" in caplog.text) == (len(since) == 3)


def test_a_store_that_went_back_is_followed_once_it_stands_still(store: PromptStore) -> None:
    clock = Clock()
    live = registry_of(store, clock)
    restore(store)
    assert not live.refresh()
    lost = f"has lost generation 6 ({live.identity.digest[:19]})"
    assert lost in (live.problem or "")
    assert "its newest is generation 3" in (live.problem or "")
    clock.now_s += STANDS_STILL_S / 2
    publish(store, 1.0)  # it moves: a copy may be under way
    assert not live.refresh()
    clock.now_s += STANDS_STILL_S / 2
    assert not live.refresh()
    assert live.generation == 6
    clock.now_s += STANDS_STILL_S / 2
    assert live.refresh()
    assert agree(live, store)
    assert (live.generation, live.problem) == (4, None)


def test_of_a_restored_store_the_newest_that_can_be_served_is_followed(
    store: PromptStore,
) -> None:
    clock = Clock()
    live = registry_of(store, clock)
    restore(store)
    publish(store, 1.0, 2.0)
    too_long = soft_prompt(1.0, length=FakeBackbone.max_prompt_length + 1)
    store.publish({"long": too_long}, [route_table("long")])
    assert store.latest() == live.generation
    assert not live.refresh()
    clock.now_s += STANDS_STILL_S
    assert live.refresh()
    assert live.identity == registry_of(store).identity == store.state(5).identity
    assert "generation 6 cannot be served" in (live.problem or "")


def test_a_copy_under_way_is_not_followed_through_the_ages(store: PromptStore) -> None:
    """Generations arrive one by one, faster than the store stands still, files after them."""
    clock = Clock()
    live = registry_of(store, clock)
    whole = {path: path.read_bytes() for path in sorted(store.root.rglob("*")) if path.is_file()}
    shutil.rmtree(store.root / "objects")
    shutil.rmtree(store.root / "generations")
    served = set()
    for path, data in whole.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        clock.now_s += STANDS_STILL_S / 4
        live.refresh()
        served.add(live.generation)
    assert served == {6}
    assert agree(live, store)
    assert live.problem is None


@pytest.mark.parametrize("gone", ["emptied", "away"])
def test_a_store_that_is_emptied_leaves_what_is_loaded(
    store: PromptStore, tmp_path: Path, gone: str
) -> None:
    clock = Clock()
    live = registry_of(store, clock)
    shutil.rmtree(store.root)
    if gone == "emptied":
        PromptStore.open(store.root, create=True)
    for _ in range(3):
        clock.now_s += STANDS_STILL_S
        assert not live.refresh()
    assert live.current.find("romance").digest == soft_prompt(60.0).digest
    assert live.problem is not None
    again = fake_store(store.root)  # and made anew: generation 1
    live.refresh()
    clock.now_s += STANDS_STILL_S
    assert live.refresh()
    assert agree(live, again)
    assert live.generation == 1


def test_a_link_that_is_switched_is_followed(store: PromptStore, tmp_path: Path) -> None:
    other = fake_store(tmp_path / "other")
    publish(other, 1.0, 2.0, 3.0, 4.0, 5.0)
    link = tmp_path / "link"
    link.symlink_to(store.root)
    live = registry_of(PromptStore(link))
    assert live.identity == store.state().identity
    (tmp_path / "switch").symlink_to(other.root)
    os.rename(tmp_path / "switch", link)
    assert live.refresh()
    assert live.identity == other.state().identity
    assert live.generation == store.latest()


# Numbers that are no generation's


@pytest.mark.parametrize(
    "name", [f"{MAX_GENERATION}.json", "00001000.json", "100000000.json", f"{10**30}.json", "0027x"]
)
def test_a_planted_number_is_said_and_followed_by_nobody(store: PromptStore, name: str) -> None:
    live = registry_of(store)
    text = (store.root / "generations" / "00000006.json").read_text()
    number = name.removesuffix(".json").lstrip("0")
    planted = store.root / "generations" / name
    planted.write_text(text.replace('"generation": 6', f'"generation": {number}'))
    assert not live.refresh()
    for replica in (live, registry_of(store)):
        assert replica.identity == store.state().identity
        assert name in (replica.problem or "")
        assert "verify --repair" in (replica.problem or "")
    publish(store, 1.0)
    assert store.latest() == 7
    assert live.refresh()
    assert agree(live, store)
    (problem,) = verify(store).problems
    assert (problem.kind, problem.what) == ("stray", str(planted))
    (mended,) = verify(store, repair=True).problems
    assert mended.quarantined is not None
    assert Path(mended.quarantined).read_text().startswith("{")
    live.refresh()
    assert live.problem is None
    assert verify(store).whole


def test_a_manifest_may_not_hold_a_number_that_no_file_has_room_for(store: PromptStore) -> None:
    path = store.root / "generations" / "00000006.json"
    path.write_text(path.read_text().replace('"parent": 5', f'"parent": {10**30}'))
    live = registry_of(store)
    assert live.generation == 5
    assert "parent" in (live.problem or "")


def test_the_last_number_there_is_is_not_published_past(tmp_path: Path) -> None:
    store = fake_store(tmp_path / "store")
    path = store.root / "generations" / "00000001.json"
    text = path.read_text().replace('"generation": 1', f'"generation": {MAX_GENERATION}')
    path.unlink()
    (store.root / "generations" / f"{MAX_GENERATION}.json").write_text(text)
    assert registry_of(store).generation == MAX_GENERATION
    with pytest.raises(Exception, match=f"no generation after {MAX_GENERATION} .*new store"):
        publish(store, 1.0)
    assert len(list((store.root / "generations").iterdir())) == 1


# What a publisher is told


def served(
    store: PromptStore, scenario: Callable[[httpx.AsyncClient, LocalBoard], Awaitable[None]]
) -> None:
    """Run a scenario on one replica's routes while it and another one look at the store."""
    settings = fake_settings(store.root, swap_timeout_s=60)

    async def run() -> None:
        classifier, board = fake_classifier(settings), LocalBoard()
        with (
            polling("other", registry_of(store), board),
            polling("replica-1", classifier.registry, board),
        ):
            async with http_client(classifier, store, settings, "token", board) as client:
                await scenario(client, board)

    asyncio.run(run())


async def asked(client: httpx.AsyncClient) -> dict[str, Any]:
    return dict((await client.post("/v1/classify", json={"inputs": "fra_Latn: oui"})).json())


@pytest.mark.parametrize("since", [(), (1.0, 2.0), (1.0, 2.0, 3.0), (1.0, 2.0, 3.0, 4.0)])
def test_what_is_published_to_a_restored_store_is_served(
    store: PromptStore, since: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isogloss.serving.registry.succession.STANDS_STILL_S", 0.0)

    async def scenario(client: httpx.AsyncClient, board: LocalBoard) -> None:
        restore(store)
        publish(store, *since)
        done = await client.put("/v1/prompts/romance", content=NEW.to_bytes(), headers=ADMIN)
        assert done.status_code == 200, done.text
        state = store.state()
        assert (done.json()["generation"], done.json()["generation_digest"]) == state.identity
        assert {each.serves for each in board.reports()} == {state.identity}
        answer = await asked(client)
        assert answer["generation"] == state.generation
        assert answer["results"][0]["prompt"]["digest"] == NEW.digest
        for path in ("/ready", "/v1/prompts", "/v1/routes", "/v1/trials"):
            page = (await client.get(path)).json()
            assert (page["generation"], page["generation_digest"]) == state.identity, path

    served(store, scenario)


async def test_a_replica_that_has_a_higher_number_of_another_history_is_waited_for(
    store: PromptStore,
) -> None:
    """It does not look at the store any more: the publisher must not be told that it serves."""
    settings = fake_settings(store.root, swap_timeout_s=0.3)
    waits: list[Wanted] = []

    class Counting(LocalBoard):
        def wait_for(self, wanted: Wanted, timeout_s: float) -> list[ReplicaReport]:
            waits.append(wanted)
            return super().wait_for(wanted, timeout_s)

    classifier, board = fake_classifier(settings), Counting()
    async with http_client(classifier, store, settings, "token", board) as client:
        restore(store)
        publish(store, 1.0, 2.0)
        done = await client.put("/v1/prompts/romance", content=NEW.to_bytes(), headers=ADMIN)
        own = store.state()
        assert own.generation == 6
        assert done.status_code == 200
        report = board.reports()[0]
        stuck = type(report)("stuck", report.model, 30, None, digest="sha256:" + "ab" * 32)
        board.report(stuck)
        late = await client.put(
            "/v1/prompts/romance", content=soft_prompt(98.0).to_bytes(), headers=ADMIN
        )
        assert (late.status_code, late.json()["error_type"]) == (503, "unavailable")
        assert "replica stuck of fake-bloom serves generation 30" in late.json()["error"]
        assert "sha256:abababababab" in late.json()["error"]
    assert len(waits) < 6, "it waits, and does not ask again and again"
    assert waits[-1].strangers == {GenerationId(30, "sha256:" + "ab" * 32)}


async def test_a_replica_that_went_on_with_the_same_history_is_not_waited_for(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others publish right after: whoever serves theirs has ours, too."""
    real = PromptStore.publish

    def overtaken(own: PromptStore, *given: Any, **more: Any) -> Any:
        state = real(own, *given, **more)
        real(own, {"spare": soft_prompt(5.0)})
        return state

    settings = fake_settings(store.root, swap_timeout_s=60)
    classifier, board = fake_classifier(settings), LocalBoard()
    async with http_client(classifier, store, settings, "token", board) as client:
        monkeypatch.setattr(PromptStore, "publish", overtaken)
        done = await client.put("/v1/prompts/romance", content=NEW.to_bytes(), headers=ADMIN)
        assert (done.status_code, done.json()["generation"]) == (200, 7)
        assert [each.generation for each in board.reports()] == [8]


def test_a_store_restored_while_its_publisher_waits_is_said(
    store: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PromptStore.publish

    def undone(own: PromptStore, *given: Any, **more: Any) -> Any:
        state = real(own, *given, **more)
        restore(own)
        for value in range(5):
            real(own, {"romance": soft_prompt(float(value))})
        return state

    async def scenario(client: httpx.AsyncClient, board: LocalBoard) -> None:
        monkeypatch.setattr(PromptStore, "publish", undone)
        gone = await client.put("/v1/prompts/romance", content=NEW.to_bytes(), headers=ADMIN)
        assert (gone.status_code, gone.json()["error_type"]) == (503, "unavailable")
        assert "was replaced since and does not hold it" in gone.json()["error"]

    served(store, scenario)
