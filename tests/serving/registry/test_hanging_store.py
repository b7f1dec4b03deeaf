"""A store that hangs: only who needs it waits, no longer than they want to, and is told why."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from isogloss.prompts.errors import StoreError
from isogloss.prompts.store.files import StoreFiles
from isogloss.prompts.store.generations import Generations
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.pipeline.admission import QueueFull
from isogloss.serving.pipeline.caller import Caller
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.registry.registry import Poller, Registry
from isogloss.serving.registry.store_calls import MOST_CALLS, MOST_THREADS, StoreSilent
from isogloss.serving.schemas import ClassifyRequest
from isogloss.serving.telemetry.metrics import ServingMetrics
from tests.fakes import (
    FakeBackbone,
    fake_classifier,
    fake_settings,
    fake_store,
    http_client,
    soft_prompt,
)

TOKEN = {"authorization": "Bearer token"}
VERSIONS = MOST_CALLS + 10
TEXT = {"inputs": "fra_Latn: oui"}


class Hanging:
    """Lets every read of a store wait until it is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._goes_on = threading.Event()
        self._entering = threading.Condition()
        self.reads: list[Any] = []

    def begin(self, owner: type, name: str) -> None:
        original = getattr(owner, name)

        def hang(*arguments: Any, **named: Any) -> Any:
            with self._entering:
                self.reads.append(arguments[1:])
                self._entering.notify_all()
            assert self._goes_on.wait(60)
            return original(*arguments, **named)

        self._monkeypatch.setattr(owner, name, hang)

    def files(self) -> None:
        """From now on no prompt file can be read."""
        self.begin(StoreFiles, "read_bytes")

    def everything(self) -> None:
        """From now on nothing can be read."""
        self.files()
        for name in ("read", "numbers", "listing", "has", "mark"):
            self.begin(Generations, name)

    async def entered(self, reads: int = 1) -> None:
        def wait() -> None:
            with self._entering:
                assert self._entering.wait_for(lambda: len(self.reads) >= reads, 60)

        await asyncio.to_thread(wait)

    def end(self) -> None:
        self._goes_on.set()


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Hanging:
    return Hanging(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    store = fake_store(tmp_path / "store")
    for number in range(VERSIONS):
        store.publish({"romance": soft_prompt(10.0 + number)})
    return store


Scenario = Callable[[httpx.AsyncClient, Classifier], Awaitable[None]]


def serve(store: PromptStore, hanging: Hanging, scenario: Scenario, **changes: object) -> None:
    async def run() -> None:
        settings = fake_settings(store.root, **changes)
        classifier = fake_classifier(settings)
        async with http_client(classifier, store, settings, "token") as client:
            try:
                async with asyncio.timeout(60):
                    await scenario(client, classifier)
            finally:
                hanging.end()

    asyncio.run(run())


def old(version: int = 2) -> dict[str, Any]:
    return {**TEXT, "prompt": f"romance@{version}"}


async def everybody_else_is_answered(client: httpx.AsyncClient) -> None:
    gets = ["/health", "/ready", "/metrics", "/v1/models", "/v1/routes", "/v1/trials"]
    gets += ["/v1/prompts", "/v1/prompts/romance", "/v1/languages"]
    for path in gets:
        answer = await client.get(path)
        assert answer.status_code == 200, (path, answer.text)
    for body in (TEXT, {**TEXT, "prompt": "congo"}, {"inputs": ["long " * 300] * 20}):
        answer = await client.post("/v1/classify", json=body, headers={"x-api-key": "else"})
        assert answer.status_code == 200, answer.text


def said_unavailable(answer: httpx.Response, words: str) -> bool:
    body = answer.json()
    assert (answer.status_code, body["error_type"]) == (503, "unavailable"), body
    assert words in body["error"]
    return True


def test_who_asks_for_an_older_version_waits_alone(store: PromptStore, hanging: Hanging) -> None:
    async def scenario(client: httpx.AsyncClient, classifier: Classifier) -> None:
        hanging.files()
        asked = asyncio.create_task(client.post("/v1/classify", json=old()))
        await hanging.entered()
        await everybody_else_is_answered(client)
        assert not asked.done()
        hanging.end()
        (result,) = (await asked).json()["results"]
        assert (result["prompt"]["name"], result["prompt"]["version"]) == ("romance", 2)
        await client.post("/v1/classify", json=old())
        assert len(hanging.reads) == 1  # it is remembered

    serve(store, hanging, scenario)


@pytest.mark.parametrize(
    ("headers", "changes"),
    [({}, {"store_timeout_s": 0.02}), ({"x-request-timeout-ms": "20"}, {})],
)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/classify", old()),
        ("GET", "/v1/prompts/romance@2", None),
        ("GET", "/v1/prompts/romance@2/file", None),
        ("GET", "/v1/prompts/romance/file", None),
    ],
)
def test_who_needs_the_store_is_told_in_time(
    store: PromptStore,
    hanging: Hanging,
    headers: dict[str, str],
    changes: dict[str, object],
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    async def scenario(client: httpx.AsyncClient, classifier: Classifier) -> None:
        hanging.files()
        late = await client.request(method, path, json=body, headers=headers)
        assert said_unavailable(late, "the prompt store has not answered within 0.0 s")
        await everybody_else_is_answered(client)

    serve(store, hanging, scenario, **changes)


def test_prompts_that_are_in_no_memory_keep_the_list_waiting_alone(
    store: PromptStore, hanging: Hanging
) -> None:
    async def scenario(client: httpx.AsyncClient, classifier: Classifier) -> None:
        store.publish({"foreign": soft_prompt(1.0, model="another")})
        assert classifier.registry.refresh()
        hanging.files()
        late = await client.get("/v1/prompts", headers={"x-request-timeout-ms": "20"})
        assert said_unavailable(late, "the prompt store has not answered")
        assert (await client.get("/v1/prompts/romance")).status_code == 200
        hanging.end()
        listed = (await client.get("/v1/prompts")).json()["prompts"]
        assert [each["name"] for each in listed] == ["congo", "everywhere", "romance"]

    serve(store, hanging, scenario)


def test_however_many_ask_few_threads_hang(store: PromptStore, hanging: Hanging) -> None:
    async def scenario(client: httpx.AsyncClient, classifier: Classifier) -> None:
        hanging.files()
        asked = [
            asyncio.create_task(
                client.post("/v1/classify", json=old(n), headers={"x-api-key": f"k{n}"})
            )
            for n in range(2, MOST_CALLS + 2)
        ]
        asked += [asyncio.create_task(client.post("/v1/classify", json=old(2))) for _ in range(30)]
        await hanging.entered(MOST_THREADS)
        refused = await client.post("/v1/classify", json=old(VERSIONS))
        assert said_unavailable(refused, f"has not answered {MOST_CALLS} earlier questions")
        await everybody_else_is_answered(client)
        assert len(hanging.reads) == MOST_THREADS
        hanging.end()
        answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} == {200}
        assert len(hanging.reads) == MOST_CALLS  # each version once
        assert (await client.post("/v1/classify", json=old(VERSIONS))).status_code == 200

    serve(store, hanging, scenario)


def test_those_who_wait_hold_room_in_nobodys_way(store: PromptStore, hanging: Hanging) -> None:
    async def scenario(client: httpx.AsyncClient, classifier: Classifier) -> None:
        hanging.files()
        request = ClassifyRequest.model_validate({**old(), "inputs": ["x"] * 4})
        waiting = [
            asyncio.create_task(classifier.classify(request, Caller("greedy"))) for _ in range(2)
        ]
        await hanging.entered()
        with pytest.raises(QueueFull, match="8 items are waiting"):
            await classifier.classify(request, Caller("greedy"))
        refused = classifier.metrics.registry.get_sample_value
        assert refused("isogloss_refused_total", {"reason": "items"}) == 1
        assert classifier.gate.requests == 0
        plain = ClassifyRequest.model_validate({"inputs": ["x"] * 8})
        assert (await classifier.classify(plain, Caller("greedy"))).results
        hanging.end()
        assert len(await asyncio.gather(*waiting)) == 2

    serve(store, hanging, scenario, max_queue_items=10)


def test_a_store_that_hangs_leaves_the_measured_speed_alone(
    store: PromptStore, hanging: Hanging
) -> None:
    """Or everybody with a deadline would be refused for the time in which nothing was to be done"""

    async def scenario(client: httpx.AsyncClient, classifier: Classifier) -> None:
        hanging.files()
        asked = asyncio.create_task(client.post("/v1/classify", json=old()))
        await hanging.entered()
        classifier.gate._clock = lambda: 1e6  # much later
        await client.post("/v1/classify", json=TEXT)
        speed = classifier.metrics.registry.get_sample_value("isogloss_tokens_per_second")
        assert speed is not None
        assert speed > 1
        hanging.end()
        assert (await asked).status_code == 200

    serve(store, hanging, scenario)


def test_a_failure_to_read_is_not_remembered(
    store: PromptStore, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(client: httpx.AsyncClient, classifier: Classifier) -> None:
        def away(self: PromptStore, digest: str) -> bytes:
            raise StoreError("the network is away")

        with monkeypatch.context() as broken:
            broken.setattr(StoreFiles, "read_bytes", away)
            failed = await client.post("/v1/classify", json=old())
            assert said_unavailable(failed, "the network is away")
            card = (await client.get("/v1/prompts/romance@2")).json()
            assert (card["card"], card["problem"]) == (None, "the network is away")
        assert (await client.post("/v1/classify", json=old())).status_code == 200
        assert (await client.get("/v1/prompts/romance@2")).json()["problem"] is None

    serve(store, hanging, scenario)


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("PUT", "/v1/prompts/romance", soft_prompt(9.0).to_bytes()),
        ("POST", "/v1/rollback", b"{}"),
        ("POST", "/v1/promote", b'{"trial": "romance"}'),
        ("DELETE", "/v1/prompts/congo", None),
    ],
)
def test_changes_keep_nobody_else_waiting(
    store: PromptStore, hanging: Hanging, method: str, path: str, content: bytes | None
) -> None:
    async def scenario(client: httpx.AsyncClient, classifier: Classifier) -> None:
        hanging.everything()
        many = 40  # more than any pool of threads has
        asked = [client.request(method, path, content=content, headers=TOKEN) for _ in range(many)]
        for answer in await asyncio.gather(*asked):
            assert said_unavailable(answer, "whether the change was made is not known")
        await everybody_else_is_answered(client)
        hanging.end()
        while any(thread.name == "isogloss-admin" for thread in threading.enumerate()):
            await asyncio.sleep(0.01)  # those that were begun come to their end

    serve(store, hanging, scenario, request_timeout_s=0.1)


def test_the_watch_of_a_store_that_hangs_lets_the_server_stop(
    store: PromptStore, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isogloss.serving.registry.registry._LAST_LOOK_S", 0.01)
    live = Registry(store, FakeBackbone(), ServingMetrics())
    hanging.everything()

    def look() -> None:
        live.refresh()

    watch = Poller(look, interval_s=0.001)
    asyncio.run(hanging.entered())
    watch.close()  # comes back although the look does not
    assert live.problem is None or "has not answered" in live.problem
    hanging.end()


def test_an_older_version_is_said_to_be_silent_in_process_too(
    store: PromptStore, hanging: Hanging
) -> None:
    async def scenario(client: httpx.AsyncClient, classifier: Classifier) -> None:
        hanging.files()
        with pytest.raises(StoreSilent):
            await classifier.classify(ClassifyRequest.model_validate(old()), Caller(timeout_s=0.02))
        left = classifier.metrics.registry.get_sample_value
        assert left("isogloss_left_total", {"reason": "deadline"}) == 1

    serve(store, hanging, scenario)
