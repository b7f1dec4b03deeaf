"""Who may ask: keys over every route, and pages of other origins."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from isogloss.serving.http.keys import ApiKeys, parsed
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.caller import Caller, caller_of
from tests.serving.api_server import ADMIN, TOKEN, Server

KEY = {"x-api-key": "alpha"}
PAGE = "https://app.example"
OPEN = ("/health", "/healthz", "/ping", "/ready", "/readyz", "/metrics", "/docs", "/openapi.json",
        "/v2/health/live", "/v2/health/ready")  # fmt: skip
ASKING = ("/v1/classify", "/v1/decisions", "/v1/systemone", "/v1/moderations", "/classify",
          "/predict", "/", "/invocations", "/v1/models/fake-bloom:predict",
          "/v2/models/fake-bloom/infer", "/label-studio/predict", "/label-studio/setup",
          "/label-studio/webhook")  # fmt: skip
LISTING = ("/v1/models", "/v1/models/fake-bloom", "/v1/prompts", "/v1/prompts/romance",
           "/v1/prompts/romance/file", "/v1/routes", "/v1/languages", "/v1/trials", "/info", "/v2",
           "/v2/models", "/v2/models/fake-bloom", "/v2/models/fake-bloom/ready",
           "/label-studio/health", "/label-studio/versions")  # fmt: skip


def keys() -> ApiKeys:
    return ApiKeys(parsed([("1", "web:alpha"), ("2", "batch:beta")]), None, SecretStr(TOKEN))


def test_what_classifies_or_lists_wants_a_key(server: Server) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for method, path in [("POST", p) for p in ASKING] + [("GET", p) for p in LISTING]:
            for headers in ({}, {"x-api-key": "alphb"}, {"authorization": "Bearer nobody"}):
                refused = await client.request(method, path, headers=headers)
                assert refused.status_code == 401, path
                assert refused.headers["www-authenticate"] == "Bearer"
                assert "API key is missing or wrong" in refused.text
            for headers in (KEY, {"authorization": "Bearer beta"}, ADMIN):
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code != 401, path
                assert method == "POST" or answer.status_code == 200, path

    server(scenario, keys=keys())


def test_every_route_of_the_document_was_thought_of(server: Server) -> None:
    """A new route wants a key, unless it is listed here."""

    async def scenario(client: httpx.AsyncClient) -> None:
        document = (await client.get("/openapi.json")).json()
        assert document["security"] == [{"apiKey": []}, {"bearerKey": []}]
        free = {
            path
            for path, methods in document["paths"].items()
            for operation in methods.values()
            if operation.get("security") == []
        }
        assert free == set(OPEN) - {"/docs", "/openapi.json"}

    server(scenario, keys=keys())


def test_health_and_documentation_want_none(server: Server) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for path in OPEN:
            assert (await client.get(path)).status_code == 200, path
            assert (await client.head(path)).status_code == 200, path
        for path in ("/", "/page/main.js", "/redoc", "/static-offline-docs/swagger-ui.css"):
            assert (await client.get(path)).status_code == 200, path
        assert (await client.post("/", json={"inputs": "a"})).status_code == 401
        assert (await client.get("/nowhere")).status_code == 404

    server(scenario, keys=keys())


def test_without_keys_nobody_is_asked_for_one(server: Server) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        answers = [await client.get(path) for path in LISTING]
        assert {answer.status_code for answer in answers} == {200}
        assert "security" not in (await client.get("/openapi.json")).json()

    server(scenario)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/classify", {"error": str, "error_type": str}),
        ("/v1/decisions", {"error": {"message": str, "type": str, "param": None, "code": str}}),
        ("/classify", {"error": {"message": str, "type": str, "param": None, "code": int}}),
        ("/predict", {"error": str, "error_type": str}),
        ("/v2/models/fake-bloom/infer", {"error": str}),
        ("/v1/models/fake-bloom:predict", {"error": str}),
    ],
)
def test_a_refusal_has_the_shape_that_its_caller_reads(
    server: Server, path: str, told: dict[str, Any]
) -> None:
    def kind(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: kind(each) for name, each in value.items()}
        return None if value is None else type(value)

    async def scenario(client: httpx.AsyncClient) -> None:
        refused = await client.post(path, content=b"x" * 100)
        assert (refused.status_code, kind(refused.json())) == (401, told)

    server(scenario, keys=keys())


def test_a_key_changes_nothing_and_the_token_may_stand_beside_one(server: Server) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for headers in ({}, KEY, {"authorization": "Bearer alpha"}):
            refused = await client.post("/v1/rollback", headers=headers)
            assert refused.status_code == 401
            assert "admin token" in refused.json()["error"]
        for headers in (ADMIN, ADMIN | KEY, ADMIN | {"x-api-key": "wrong"}):
            answer = await client.post("/v1/rollback", json={"to": 99}, headers=headers)
            assert answer.status_code == 404

    server(scenario, keys=keys())


def test_the_client_is_its_key_by_name(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = Service.ask

    async def ask(self: Service, request: Any, tasks: Any, caller: Caller) -> Any:
        seen.append(caller.client)
        return await real(self, request, tasks, caller)

    async def scenario(client: httpx.AsyncClient) -> None:
        for headers in (KEY, {"authorization": "Bearer alpha"}, {"x-api-key": "beta"}, ADMIN):
            await client.post("/v1/classify", json={"inputs": "a"}, headers=headers)

    monkeypatch.setattr(Service, "ask", ask)
    server(scenario, keys=keys())
    assert seen == ["name:web", "name:web", "name:batch", "name:admin"]
    plain = caller_of(KEY, "10.0.0.9", request_id="r", timeout_s=1.0, forwarded_hops=0)
    assert plain.client.startswith("key:")


def test_requests_and_texts_are_counted_by_the_names_of_keys(server: Server) -> None:
    pages: list[str] = []

    async def scenario(client: httpx.AsyncClient) -> None:
        body = {"inputs": ["a", "b", "c"]}
        await client.post("/v1/classify", json=body, headers=KEY)
        await client.post("/v1/classify", json=body, headers={"x-api-key": "nobody"})
        await client.post("/predict", json={"inputs": "a"}, headers={"x-api-key": "beta"})
        await client.post("/v1/classify", json={"inputs": []}, headers=KEY)
        pages.append((await client.get("/metrics")).text)

    server(scenario, keys=keys())
    samples = [each for f in text_string_to_metric_families(pages[0]) for each in f.samples]
    texts = {s.labels["key"]: s.value for s in samples if s.name == "isogloss_key_texts_total"}
    assert texts == {"web": 3, "batch": 1}
    asked = {
        (s.labels["key"], s.labels["class"]): s.value
        for s in samples
        if s.name == "isogloss_key_requests_total"
    }
    assert asked == {("web", "2xx"): 1, ("web", "4xx"): 1, ("batch", "2xx"): 1}


def preflight(origin: str, method: str = "POST") -> dict[str, Any]:
    return {
        "method": "OPTIONS",
        "url": "/v1/classify",
        "headers": {
            "origin": origin,
            "access-control-request-method": method,
            "access-control-request-headers": "x-api-key, content-type",
        },
    }


def test_a_listed_origin_is_let_in_before_keys_are_asked_for(server: Server) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        answer = await client.request(**preflight(PAGE))
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "x-api-key" in answer.headers["access-control-allow-headers"]
        assert "POST" in answer.headers["access-control-allow-methods"]
        for headers, status in (({}, 401), (KEY, 200)):
            told = await client.get("/v1/models", headers={"origin": PAGE, **headers})
            assert told.status_code == status
            assert told.headers["access-control-allow-origin"] == PAGE
            assert "x-request-id" in told.headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in told.headers

    server(scenario, keys=keys(), cors_origins=(PAGE, "http://localhost:3000"))


def test_another_origin_is_told_nothing(server: Server) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for origin in ("https://app.example.org", "http://app.example", "null", f"{PAGE}:81"):
            refused = await client.request(**preflight(origin))
            assert (refused.status_code, refused.json()["error_type"]) == (400, "validation")
            assert "--cors-origin" in refused.json()["error"]
            assert "access-control-allow-origin" not in refused.headers
            told = await client.get("/v1/models", headers={"origin": origin})
            assert "access-control-allow-origin" not in told.headers
        assert (await client.request(**preflight(PAGE, "PATCH"))).status_code == 400

    server(scenario, cors_origins=(PAGE,))


def test_any_origin_and_still_no_credentials(server: Server) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        asked = [
            await client.request(**preflight("https://any.example")),
            await client.get(
                "/v1/models", headers={"origin": "https://any.example", "cookie": "a=b"}
            ),
            await client.get("/nowhere", headers={"origin": "https://any.example"}),
        ]
        assert [answer.status_code for answer in asked] == [200, 200, 404]
        assert {answer.headers["access-control-allow-origin"] for answer in asked} <= {
            "*", "https://any.example",
        }  # fmt: skip
        assert not any("access-control-allow-credentials" in each.headers for each in asked)

    server(scenario, cors_origins=("*",))


def test_what_fails_unexpectedly_has_the_headers_too(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise KeyError("oh")

    async def scenario(client: httpx.AsyncClient) -> None:
        body, headers = {"inputs": "a"}, {"origin": PAGE}
        failed = await client.post("/v1/classify", json=body, headers=headers)
        assert failed.status_code == 500
        assert failed.headers["access-control-allow-origin"] == PAGE
        large = await client.get("/health", headers={**headers, "x-large": "x" * 40_000})
        assert large.status_code == 413
        assert large.headers["access-control-allow-origin"] == PAGE

    monkeypatch.setattr(Service, "ask", broken)
    server(scenario, cors_origins=(PAGE,))


def test_without_origins_no_page_is_let_in(server: Server) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.request(**preflight(PAGE))).status_code == 405
        answer = await client.get("/v1/models", headers={"origin": PAGE})
        assert not any(name.startswith("access-control") for name in answer.headers)

    server(scenario)
