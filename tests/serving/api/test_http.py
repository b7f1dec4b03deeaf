"""The HTTP routes, as one replica answers them; Ray is not needed for that."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.routing.routes import RouteTable
from tests.fakes import MODEL, expected_scores, route_table, soft_prompt
from tests.serving.api_server import ADMIN, TOKEN, Server, ask


async def test_classify_answers_in_the_contracts_shape(server: Server) -> None:
    async with server.client() as client:
        answer = await ask(client, inputs=["fra_Latn: oui", "no"], top_k=2, model=MODEL)
        assert {key: answer[key] for key in ("model", "task", "generation")} == {
            "model": MODEL,
            "task": "topic",
            "generation": 1,
        }
        french, english = answer["results"]
        best = max(expected_scores("fra_Latn: oui", soft_prompt(2.0, length=5)).items(), key=score)
        assert (french["label"], french["score"]) == (best[0], pytest.approx(best[1], abs=2e-6))
        assert french["scores"][0] == {"label": french["label"], "score": french["score"]}
        assert len(french["scores"]) == 2
        assert french["language"] == {
            "code": "fra_Latn",
            "name": "French",
            "confidence": 0.75,
            "detected": True,
            "known": 0.25,
        }
        assert french["route"]["clade"] == "Romance"
        assert french["route"]["reason"] == "clade"
        assert french["route"]["lineage"][:2] == ["Indo-European", "Italic"]
        assert french["prompt"] == {
            "name": "romance",
            "version": 1,
            "digest": soft_prompt(2.0, length=5).digest,
        }
        assert (french["tokens"], french["truncated"]) == (13, False)
        assert english["route"]["clade"] is None
        assert english["route"]["reason"] == "universal"


def score(item: tuple[str, float]) -> float:
    return item[1]


async def test_a_body_needs_no_content_type(server: Server) -> None:
    async with server.client() as client:
        answer = await client.post("/v1/classify", content=b'{"inputs": "a"}')
        assert answer.status_code == 200


async def test_what_is_served_can_be_listed(server: Server) -> None:
    async with server.client() as client:
        models = (await client.get("/v1/models")).json()
        assert models["default"] == MODEL
        assert [model["name"] for model in models["models"]] == [MODEL]
        prompts = (await client.get("/v1/prompts")).json()
        assert prompts["generation"] == 1
        listed = {each["name"]: each for each in prompts["prompts"]}
        assert set(listed) == {"everywhere", "romance", "congo"}
        assert listed["romance"]["length"] == 5
        assert listed["romance"]["card"]["task"] == "topic"
        routes = (await client.get("/v1/routes")).json()
        assert routes["routes"][0]["clades"] == {"Romance": "romance", "Atlantic-Congo": "congo"}
        languages = (await client.get("/v1/languages")).json()["languages"]
        french = next(each for each in languages if each["code"] == "fra_Latn")
        assert french["lineage"][0] == "Indo-European"


async def test_a_card_comes_with_the_temperatures_its_prompt_answers_with(server: Server) -> None:
    clades = {"Romance": "romance", "Atlantic-Congo": "congo"}
    temperatures = {"universal": 1.5, "Romance": 0.8, "Western_Romance": 0.9}
    server.store.publish({}, [route_table("everywhere", clades, temperatures=temperatures)])
    async with server.client() as client:
        for name, expected in (
            ("romance", {"Romance": 0.8, "Western_Romance": 0.9}),
            ("everywhere", {"universal": 1.5}),
            ("congo", {}),
        ):
            (route,) = (await client.get(f"/v1/prompts/{name}")).json()["routes"]
            assert route["temperatures"] == expected
        (table,) = (await client.get("/v1/routes")).json()["routes"]
        assert table["temperatures"] == temperatures


async def test_prompts_of_models_that_are_not_served_are_not_listed(server: Server) -> None:
    server.store.publish(
        {"foreign": soft_prompt(1.0, model="other")}, [route_table("foreign", model="other")]
    )
    async with server.client() as client:
        prompts = (await client.get("/v1/prompts")).json()["prompts"]
        assert "foreign" not in {each["name"] for each in prompts}
        assert len((await client.get("/v1/routes")).json()["routes"]) == 1


async def test_one_prompt_can_be_read_by_name_and_by_version(server: Server) -> None:
    server.store.publish({"romance": soft_prompt(9.0)})
    async with server.client() as client:
        current = (await client.get("/v1/prompts/romance")).json()
        assert (current["version"], current["versions"]) == (2, [1, 2])
        old = (await client.get("/v1/prompts/romance@1")).json()
        assert old["digest"] == soft_prompt(2.0, length=5).digest
        file = await client.get("/v1/prompts/romance@1/file")
        assert SoftPrompt.from_bytes(file.content).digest == old["digest"]
        assert file.headers["etag"] == f'"{old["digest"]}"'
        assert "romance-1.safetensors" in file.headers["content-disposition"]
        for path in ("/v1/prompts/nobody", "/v1/prompts/nobody/file", "/v1/prompts/romance@9"):
            missing = await client.get(path)
            assert (missing.status_code, missing.json()["error_type"]) == (404, "not_found")


async def test_health_readiness_and_documentation(server: Server) -> None:
    async with server.client() as client:
        assert (await client.get("/health")).status_code == 200
        ready = (await client.get("/ready")).json()
        digest = server.store.state().identity.digest
        assert (ready["ready"], ready["generation_digest"]) == (True, digest)
        serves = {"generation": 1, "generation_digest": digest, "problem": None}
        assert ready["replicas"] == [{"replica": "replica-1", "model": MODEL, **serves}]
        document = (await client.get("/openapi.json")).json()
        schemas = document["components"]["schemas"]
        assert "inputs" in schemas["ClassifyRequest"]["properties"]
        assert "RouteTable" in schemas
        assert '"#/$defs' not in str(document)
        assert (await client.get("/docs")).status_code == 200


async def test_metrics_tell_what_happened(server: Server) -> None:
    async with server.client() as client:
        await ask(client, inputs=["fra_Latn: oui", "no"])
        await client.post("/v1/classify", content=b"{")
        await client.get("/nowhere")
        page = (await client.get("/metrics")).text
        numbers = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }

        def number(name: str, **labels: str) -> float:
            replica = {"model": MODEL, "replica": "replica-1"}
            return numbers[name, frozenset({**replica, **labels}.items())]

        requests = "isogloss_requests_total"
        route = "/v1/classify"
        assert number(requests, route=route, status="200", error_type="") == 1
        assert number(requests, route=route, status="400", error_type="validation") == 1
        assert number(requests, route="(none)", status="404", error_type="not_found") == 1
        texts = "isogloss_texts_total"
        assert number(texts, task="topic", clade="Romance", reason="clade") == 1
        assert number(texts, task="topic", clade="", reason="universal") == 1
        assert number("isogloss_prompt_texts_total", prompt="romance") == 1
        assert number("isogloss_generation") == 1
        assert number("isogloss_batch_texts_sum") == 2
        assert number("isogloss_stage_seconds_count", stage="score") == 1
        assert number("isogloss_swap_failures_total") == 0


async def test_a_published_prompt_answers_at_once(server: Server) -> None:
    new = soft_prompt(9.0)
    async with server.client() as client:
        swapped = await client.put("/v1/prompts/romance", content=new.to_bytes(), headers=ADMIN)
        assert swapped.status_code == 200
        assert swapped.json() == {
            "generation": 2,
            "generation_digest": server.store.state(2).identity.digest,
            "prompt": {"name": "romance", "version": 2, "digest": new.digest},
        }
        answer = await ask(client, inputs="fra_Latn: oui")
        assert answer["generation"] == 2
        assert answer["results"][0]["prompt"]["digest"] == new.digest


async def test_published_routes_take_effect_in_the_shape_they_are_listed_in(server: Server) -> None:
    async with server.client() as client:
        listed = (await client.get("/v1/routes")).json()
        listed["routes"][0]["clades"] = {"Germanic": "congo"}
        swapped = await client.put("/v1/routes", json=listed, headers=ADMIN)
        assert swapped.json()["generation"] == 2
        english = (await ask(client, inputs="plain English"))["results"][0]
        assert (english["prompt"]["name"], english["route"]["clade"]) == ("congo", "Germanic")
        table = RouteTable.model_validate((await client.get("/v1/routes")).json()["routes"][0])
        assert table.clades == {"Germanic": "congo"}


async def test_a_rollback_brings_the_earlier_prompt_back(server: Server) -> None:
    server.store.publish({"romance": soft_prompt(9.0)})
    async with server.client() as client:
        back = await client.post("/v1/rollback", headers=ADMIN)
        assert back.json()["generation"] == 3
        answer = await ask(client, inputs="fra_Latn: oui")
        assert answer["results"][0]["prompt"]["version"] == 1
        there = await client.post("/v1/rollback", json={"to": 2}, headers=ADMIN)
        assert there.json()["generation"] == 4
        answer = await ask(client, inputs="fra_Latn: oui")
        assert answer["results"][0]["prompt"]["version"] == 2
        missing = await client.post("/v1/rollback", json={"to": 99}, headers=ADMIN)
        assert (missing.status_code, missing.json()["error_type"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        (TOKEN, {}),
        (TOKEN, {"authorization": TOKEN}),
        (TOKEN, {"authorization": "Bearer wrong"}),
        (TOKEN, {"authorization": "Bearer "}),
        (TOKEN, {"authorization": f"Basic {TOKEN}"}),
        (TOKEN, {"authorization": "Bearer pass\xe9"}),
        (None, ADMIN),
        (None, {"authorization": "Bearer "}),
    ],
)
async def test_admin_routes_need_the_token(
    server: Server, token: str | None, headers: dict[str, str]
) -> None:
    async with server.client(token=token) as client:
        body = soft_prompt(9.0).to_bytes()
        latin = {key.encode(): value.encode("latin-1") for key, value in headers.items()}
        for method, path in (
            ("PUT", "/v1/prompts/romance"),
            ("DELETE", "/v1/prompts/romance"),
            ("PUT", "/v1/routes"),
            ("POST", "/v1/rollback"),
        ):
            refused = await client.request(method, path, content=body, headers=latin)
            assert (refused.status_code, refused.json()["error_type"]) == (401, "unauthorized")
            assert "ISOGLOSS_ADMIN_TOKEN" in refused.json()["error"]
    assert server.store.latest() == 1
