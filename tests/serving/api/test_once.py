"""A change asked for under one request id: made once, whoever is asked and whatever came since."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from isogloss.prompts.store.store import PromptStore
from tests.fakes import fake_classifier, fake_settings, fake_store, http_client, soft_prompt

ADMIN = {"authorization": "Bearer token"}
OURS, THEIRS = soft_prompt(70.0), soft_prompt(80.0)
ROMANCE = "/v1/prompts/romance"


def json_of(**body: Any) -> bytes:
    return json.dumps(body).encode()


async def ask(
    client: httpx.AsyncClient, asked: tuple[str, str, bytes], request_id: str | None = "r-1"
) -> httpx.Response:
    method, path, body = asked
    headers = {**ADMIN, "x-request-id": request_id} if request_id else ADMIN
    return await client.request(method, path, content=body, headers=headers)


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    """Three generations of romance, a spare prompt, and a trial of congo: generation 5."""
    store = fake_store(tmp_path / "store")
    for value in (20.0, 30.0):
        store.publish({"romance": soft_prompt(value)})
    store.publish({"spare": soft_prompt(4.0)})
    store.begin_trial("congo", soft_prompt(33.0), kind="canary", share=1.0)
    return store


def replica(store: PromptStore, scenario: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    """Run a scenario against a replica that starts for it and stops after it."""
    settings = fake_settings(store.root)

    async def run() -> None:
        own = PromptStore.open(store.root)
        async with http_client(fake_classifier(settings), own, settings, "token") as client:
            await scenario(client)

    asyncio.run(run())


CHANGES = {
    "publish": ("PUT", ROMANCE, OURS.to_bytes()),
    "rollback": ("POST", "/v1/rollback", b""),
    "rollback to": ("POST", "/v1/rollback", json_of(to=2)),
    "promote": ("POST", "/v1/promote", json_of(trial="congo")),
    "end": ("POST", "/v1/rollback", json_of(trial="congo")),
    "begin": ("PUT", f"{ROMANCE}?canary=1", OURS.to_bytes()),
    "delete": ("DELETE", "/v1/prompts/spare", b""),
    "routes": ("PUT", "/v1/routes", b"filled in"),
}


def change_of(name: str, store: PromptStore) -> tuple[str, str, bytes]:
    method, path, body = CHANGES[name]
    if name == "routes":
        (table,) = store.state().routes
        table = table.model_copy(update={"clades": {"Germanic": "congo"}})
        body = json_of(routes=[table.model_dump(mode="json")])
    return method, path, body


@pytest.mark.parametrize("name", CHANGES)
def test_a_retry_after_others_changes_gets_the_first_answer_and_changes_nothing(
    store: PromptStore, name: str
) -> None:
    """At another replica, as where the first one died before its answer was out."""
    change, answers = change_of(name, store), []

    async def first(client: httpx.AsyncClient) -> None:
        done = await ask(client, change)
        assert (done.status_code, done.json()["generation"]) == (200, 6), done.text
        answers.append(done.json())

    async def again(client: httpx.AsyncClient) -> None:
        before = store.state()
        done = await ask(client, change)
        assert (done.status_code, done.json()) == (200, answers[0]), done.text
        assert store.state() == before

    replica(store, first)
    replica(store, again)
    store.publish({"romance": THEIRS, "spare": THEIRS})
    replica(store, again)
    assert store.state().resolve("romance")[2] == THEIRS.digest
    assert store.latest() == 7


OTHERS = {
    "publish": ("PUT", ROMANCE, soft_prompt(71.0).to_bytes()),
    "rollback": CHANGES["rollback to"],
    "rollback to": ("POST", "/v1/rollback", json_of(to=3)),
    "promote": CHANGES["end"],
    "end": CHANGES["promote"],
    "begin": ("PUT", f"{ROMANCE}?canary=0.5", OURS.to_bytes()),
    "delete": ("DELETE", "/v1/prompts/romance", b""),
    "routes": CHANGES["publish"],
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_change_under_the_same_id_is_refused_by_name(store: PromptStore, name: str) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await ask(client, change_of(name, store))).status_code == 200
        before = store.state()
        refused = await ask(client, OTHERS[name])
        assert (refused.status_code, refused.json()["error_type"]) == (422, "validation")
        said = refused.json()["error"]
        assert said.startswith("request id 'r-1' stands for ")
        assert "which made generation 6, and cannot stand for " in said
        assert store.state() == before
        assert (await ask(client, change_of(name, store))).json()["generation"] == 6
        assert (await ask(client, CHANGES["publish"], "r-2")).status_code == 200

    replica(store, scenario)


def test_the_same_name_with_other_content_is_another_change(store: PromptStore) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await ask(client, CHANGES["publish"])
        refused = await ask(client, ("PUT", "/v1/prompts/spare", OURS.to_bytes()))
        assert refused.status_code == 422
        for part in ("'romance'", "'spare'", OURS.digest):
            assert part in refused.json()["error"]

    replica(store, scenario)


def test_a_rollback_is_not_undone_by_the_retry_of_what_it_took_back(store: PromptStore) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        published = await ask(client, CHANGES["publish"])
        await ask(client, CHANGES["rollback to"], "r-2")
        again = await ask(client, CHANGES["publish"])
        assert again.json() == published.json()
        assert store.state().resolve("romance")[1] == 2
        await client.delete("/v1/prompts/spare", headers=ADMIN)
        assert (await ask(client, CHANGES["rollback to"], "r-2")).json()["generation"] == 7

    replica(store, scenario)


def test_a_deleted_prompt_published_anew_outlives_the_retry_of_its_deletion(
    store: PromptStore,
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await ask(client, CHANGES["delete"])
        await ask(client, ("PUT", "/v1/prompts/spare", soft_prompt(4.0).to_bytes()), "r-2")
        assert (await ask(client, CHANGES["delete"])).json()["generation"] == 6
        assert (await client.get("/v1/prompts/spare/file")).status_code == 200

    replica(store, scenario)


def test_what_was_published_and_deleted_since_is_answered_without_it(store: PromptStore) -> None:
    put = ("PUT", "/v1/prompts/spare", OURS.to_bytes())

    async def scenario(client: httpx.AsyncClient) -> None:
        first = (await ask(client, put)).json()
        await ask(client, CHANGES["delete"], "r-2")
        assert (await ask(client, put)).json() == {**first, "prompt": None}

    replica(store, scenario)


def test_the_answer_outlives_the_generation_it_tells_of(store: PromptStore) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        first = (await ask(client, CHANGES["publish"])).json()
        await ask(client, CHANGES["delete"], "r-2")
        for number in store.generations.numbers()[:-1]:
            store.generations.remove(number)
        again = (await ask(client, CHANGES["publish"])).json()
        assert again == {**first, "generation_digest": None}

    replica(store, scenario)


@pytest.mark.parametrize("request_id", [None, "no id!", "x" * 65])
def test_without_an_id_every_request_is_a_change_of_its_own(
    store: PromptStore, request_id: str | None
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for generation in (6, 7):
            done = await ask(client, CHANGES["rollback"], request_id)
            assert done.json()["generation"] == generation
        assert store.state().records == ()

    replica(store, scenario)


def test_the_history_says_which_request_made_what(store: PromptStore) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await ask(client, CHANGES["publish"], "deploy-17")

    replica(store, scenario)
    state = store.state()
    assert state.note == "published over HTTP (deploy-17)"
    (record,) = state.records
    assert (record.id, record.operation, record.generation) == ("deploy-17", "publication", 6)
