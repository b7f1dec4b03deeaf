"""A prompt that cannot answer becomes no generation, and where it did, the one before serves on."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from isogloss.prompts.errors import InvalidPrompt, StoreError
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.registry.registry import Registry
from isogloss.serving.telemetry.metrics import ServingMetrics
from tests.fakes import (
    WILD,
    FakeBackbone,
    FakeDetector,
    fake_settings,
    fake_store,
    http_client,
    route_table,
    soft_prompt,
)

TOKEN = {"authorization": "Bearer token"}
BAD = soft_prompt(WILD)


class Server:
    """One replica in this process, over a store that others may change too."""

    def __init__(self, folder: Path) -> None:
        self.store: PromptStore = fake_store(folder / "store")
        self.elsewhere = PromptStore(self.store.root)  # somebody without a server
        self.backbone = FakeBackbone()
        self.classifier: Classifier

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        settings = fake_settings(self.store.root)
        self.classifier = build_classifier(
            settings, backbone=lambda *_: self.backbone, detector=lambda _: FakeDetector()
        )
        async with http_client(self.classifier, self.store, settings, "token") as client:
            yield client


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


async def change(client: httpx.AsyncClient, method: str, path: str, **body: Any) -> httpx.Response:
    return await client.request(method, path, headers=TOKEN, **body)


def said_why(answer: httpx.Response, name: str) -> None:
    assert (answer.status_code, answer.json()["error_type"]) == (422, "validation"), answer.text
    sentence = answer.json()["error"]
    assert re.match(rf"prompt '{name}(@\d)?' cannot answer on fake-bloom: under it", sentence)
    assert "overflow in float32, and its numbers go up to 50000" in sentence
    assert "train it again" in sentence
    assert "nothing was changed" in sentence


async def still_answers(client: httpx.AsyncClient, generation: int) -> None:
    answer = (await client.post("/v1/classify", json={"inputs": ["eus_Latn: bai", "x"]})).json()
    assert answer["generation"] == generation
    assert {each["prompt"]["name"] for each in answer["results"]} == {"everywhere"}


@pytest.mark.parametrize("name", ["everywhere", "romance", "new"])
@pytest.mark.parametrize("query", ["", "?canary=50%25&route=Romance", "?shadow=true&route=Romance"])
async def test_it_is_refused_before_anything_is_published(
    server: Server, name: str, query: str
) -> None:
    async with server.client() as client:
        path = f"/v1/prompts/{name}{query}"
        said_why(await change(client, "PUT", path, content=BAD.to_bytes()), name)
        await still_answers(client, 1)
        good = await change(client, "PUT", path, content=soft_prompt(8.0).to_bytes())
        assert good.status_code == 200, good.text
    assert server.store.latest() == 2
    assert not server.store.objects.has(BAD.digest)


async def test_one_too_large_for_any_precision_is_refused_by_the_store(server: Server) -> None:
    async with server.client() as client:
        for value in (1e38, 1e19, 70_000.0):
            data = soft_prompt(value).to_bytes()
            answer = await change(client, "PUT", "/v1/prompts/everywhere", content=data)
            assert answer.status_code == 422
            assert f"prompt 'everywhere': tensor 'prompt' holds {value:g}" in answer.json()["error"]
        await still_answers(client, 1)
    assert server.store.latest() == 1
    with pytest.raises(InvalidPrompt, match="'everywhere'"):
        server.elsewhere.publish({"everywhere": soft_prompt(1e38)})
    with pytest.raises(InvalidPrompt, match="'romance'"):
        server.elsewhere.begin_trial("romance", soft_prompt(1e38), kind="shadow", share=1.0)
    assert server.store.latest() == 1


async def test_no_route_leads_to_one_that_is_in_the_store(server: Server) -> None:
    server.elsewhere.publish({"bad": BAD})
    async with server.client() as client:
        table = route_table("everywhere", {"Romance": "bad"}).model_dump(mode="json")
        said_why(await change(client, "PUT", "/v1/routes", json={"routes": [table]}), "bad")
        await still_answers(client, 2)
    assert server.store.latest() == 2


async def test_no_rollback_leads_to_one(server: Server) -> None:
    server.elsewhere.publish({"everywhere": BAD})
    server.elsewhere.publish({"everywhere": soft_prompt(1.0)})
    async with server.client() as client:
        said_why(await change(client, "POST", "/v1/rollback"), "everywhere")
        said_why(await change(client, "POST", "/v1/rollback", json={"to": 2}), "everywhere")
        assert (await change(client, "POST", "/v1/rollback", json={"to": 1})).status_code == 200


async def test_no_trial_of_one_runs_or_is_promoted(server: Server) -> None:
    server.elsewhere.begin_trial("romance", BAD, kind="canary", share=1.0)
    async with server.client() as client:
        answer = await client.post("/v1/classify", json={"inputs": "fra_Latn: oui"})
        (result,) = answer.json()["results"]
        assert (result["prompt"]["version"], result["trial"]) == (1, None)
        (trial,) = (await client.get("/v1/trials")).json()["trials"]
        assert "overflow" in trial["problems"][0]
        refused = await change(client, "POST", "/v1/promote", json={"trial": "romance"})
        said_why(refused, "romance")
        assert server.store.latest() == 2
        ended = await change(client, "POST", "/v1/rollback", json={"trial": "romance"})
        assert ended.status_code == 200, ended.text


async def test_one_published_past_the_server_leaves_the_generation_before_in_use(
    server: Server,
) -> None:
    async with server.client() as client:
        server.elsewhere.publish({"everywhere": BAD})
        assert not await asyncio.to_thread(server.classifier.registry.refresh)
        await still_answers(client, 1)
        problem = server.classifier.registry.problem or ""
        assert "generation 2 is refused: its routes name 'everywhere': under it" in problem
        mended = soft_prompt(6.0).to_bytes()
        back = await change(client, "PUT", "/v1/prompts/everywhere", content=mended)
        assert back.json()["generation"] == 3
        await still_answers(client, 3)


async def test_an_older_version_that_cannot_answer_is_said_to_be_that(server: Server) -> None:
    server.elsewhere.publish({"romance": BAD})
    server.elsewhere.publish({"romance": soft_prompt(8.0)})
    async with server.client() as client:
        body = {"inputs": "x", "prompt": "romance@2"}
        answer = await client.post("/v1/classify", json=body)
        assert (answer.status_code, answer.json()["error_type"]) == (422, "validation")
        assert "'romance@2' cannot answer here: under it" in answer.json()["error"]


async def test_each_prompt_is_tried_once(server: Server) -> None:
    async with server.client() as client:
        assert sorted(server.backbone.rehearsed) == [1.0, 2.0, 3.0]
        for value in (6.0, 7.0, 6.0, 7.0):
            data = soft_prompt(value).to_bytes()
            put = await change(client, "PUT", "/v1/prompts/romance", content=data)
            assert put.status_code == 200
        assert server.backbone.rehearsed[3:] == [6.0, 7.0]
        assert (await change(client, "POST", "/v1/rollback", json={"to": 1})).status_code == 200
        assert sorted(server.backbone.rehearsed[5:]) in ([], [2.0])


def test_a_server_starts_with_the_newest_generation_that_can_answer(server: Server) -> None:
    server.elsewhere.publish({"romance": soft_prompt(8.0)})
    server.elsewhere.publish({"everywhere": BAD})
    server.elsewhere.publish({"congo": soft_prompt(9.0)})  # names it as well
    live = Registry(server.store, server.backbone, ServingMetrics())
    assert live.generation == 2
    assert "generation 4 is refused" in (live.problem or "")
    assert not live.refresh()
    assert "generation 4 is refused" in (live.problem or "")
    server.elsewhere.publish({"everywhere": soft_prompt(5.0)})
    assert live.refresh()
    assert (live.generation, live.problem) == (5, None)


def test_a_server_that_could_not_read_the_newest_takes_it_once_it_can(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = server.elsewhere.publish({"romance": soft_prompt(8.0)}).digest_of("romance")
    read = PromptStore.read

    def away(self: PromptStore, wanted: str) -> object:
        if wanted == digest:
            raise StoreError("the network is away")
        return read(self, wanted)

    with monkeypatch.context() as broken:
        broken.setattr(PromptStore, "read", away)
        live = Registry(server.store, server.backbone, ServingMetrics())
        expected = "generation 2 cannot be served: the network is away"
        assert (live.generation, live.problem) == (1, expected)
    assert live.refresh()
    assert (live.generation, live.problem) == (2, None)
