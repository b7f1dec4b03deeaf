"""DELETE /v1/prompts/{name}: a prompt leaves the store, the host and the device."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import httpx

from tests.fakes import fake_classifier, fake_settings, fake_store, http_client, soft_prompt

ADMIN = {"authorization": "Bearer token"}
SPARE = soft_prompt(5.0)


async def test_a_deleted_prompt_is_gone_everywhere(tmp_path: Path) -> None:
    store = fake_store(tmp_path / "store")
    store.publish({"spare": SPARE})
    store.publish({"spare": soft_prompt(6.0)})
    settings = fake_settings(store.root)
    classifier = fake_classifier(settings)
    async with http_client(classifier, store, settings, "token") as client:
        for reference in ("spare", "spare@1"):
            body = {"inputs": "fra_Latn: oui", "prompt": reference}
            assert (await client.post("/v1/classify", json=body)).status_code == 200
            assert (await client.get(f"/v1/prompts/{reference}")).status_code == 200
        held = [
            weakref.ref(classifier.registry.current.find(reference).loaded)
            for reference in ("spare", "spare@1")
        ]
        assert 'prompt="spare"' in (await client.get("/metrics")).text
        deleted = await client.delete("/v1/prompts/spare", headers=ADMIN)
        assert (deleted.status_code, deleted.json()["generation"]) == (200, 4)
        for path in ("/v1/prompts/spare", "/v1/prompts/spare@1/file"):
            assert (await client.get(path)).status_code == 404
        assert 'prompt="spare"' not in (await client.get("/metrics")).text
        gone = await client.post("/v1/classify", json={"inputs": "oui", "prompt": "spare@1"})
        assert (gone.status_code, gone.json()["error_type"]) == (404, "not_found")
        gc.collect()
        assert [each() for each in held] == [None, None]
    assert not store.objects.has(SPARE.digest)
    assert store.objects.has(soft_prompt(2.0, length=5).digest)


async def test_what_may_not_be_deleted_stays(tmp_path: Path) -> None:
    store = fake_store(tmp_path / "store")
    settings = fake_settings(store.root)
    async with http_client(fake_classifier(settings), store, settings, "token") as client:
        routed = await client.delete("/v1/prompts/romance", headers=ADMIN)
        assert routed.status_code == 422
        assert "answers for Romance" in routed.json()["error"]
        nobody = await client.delete("/v1/prompts/nobody", headers=ADMIN)
        assert nobody.status_code == 404
        assert (await client.delete("/v1/prompts/romance")).status_code == 401
    assert store.latest() == 1


async def test_a_rollback_asked_twice_under_one_id_is_done_once(tmp_path: Path) -> None:
    store = fake_store(tmp_path / "store")
    for value in (7.0, 8.0, 9.0):
        store.publish({"romance": soft_prompt(value)})
    settings = fake_settings(store.root)

    async def roll_back(client: httpx.AsyncClient, request_id: str) -> int:
        answer = await client.post("/v1/rollback", headers={**ADMIN, "x-request-id": request_id})
        return int(answer.json()["generation"])

    async with http_client(fake_classifier(settings), store, settings, "token") as client:
        assert [await roll_back(client, "first") for _ in range(3)] == [5, 5, 5]
        assert store.state().restores == 3
        assert await roll_back(client, "second") == 6
        assert store.state().restores == 2
