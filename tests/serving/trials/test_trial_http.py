"""Trials over HTTP and on the command line: begun, watched, promoted, ended."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from isogloss.prompts.errors import InvalidInput, Unavailable
from isogloss.prompts.routing.trials import TrialLimits
from isogloss.serving.api.trial_query import parse_trial
from isogloss.serving.cli import commands
from tests.fakes import soft_prompt
from tests.serving.api_server import ADMIN, Server, ask

CANDIDATE = soft_prompt(-0.4)
FRENCH = [f"fra_Latn: {'x' * n}" for n in range(40)]
ROMANCE = "/v1/prompts/romance"


async def put(client: httpx.AsyncClient, query: str, **headers: str) -> httpx.Response:
    return await client.put(
        f"{ROMANCE}?{query}", content=CANDIDATE.to_bytes(), headers={**ADMIN, **headers}
    )


async def digests(client: httpx.AsyncClient, **headers: str) -> list[str]:
    answer = await client.post("/v1/classify", json={"inputs": FRENCH}, headers=headers)
    assert answer.status_code == 200, answer.text
    return [result["prompt"]["digest"] for result in answer.json()["results"]]


async def test_a_canary_begins_reports_and_is_promoted(server: Server) -> None:
    async with server.client() as client:
        begun = await put(client, "canary=50%25&route=Romance&min_agreement=0.1&min_texts=7")
        assert begun.json() == {
            "generation": 2,
            "generation_digest": server.store.state(2).identity.digest,
            "prompt": {"name": "romance", "version": 2, "digest": CANDIDATE.digest},
        }
        found = await digests(client)
        on_trial = found.count(CANDIDATE.digest)
        assert 0 < on_trial < len(FRENCH)
        answer = (await client.get("/v1/trials")).json()
        (trial,) = answer["trials"]
        assert (answer["generation"], trial["model"], trial["digest"], trial["problems"]) == (
            2,
            "fake-bloom",
            CANDIDATE.digest,
            [],
        )
        limits = TrialLimits(min_agreement=0.1, min_texts=7).model_dump()
        asked = {"kind": "canary", "share": 0.5, "clades": ["Romance"], "limits": limits}
        assert {name: trial["trial"][name] for name in asked} == asked
        (report,) = trial["clades"]
        assert report["clade"] == "Romance"
        assert (report["texts"], report["compared"], report["failures"]) == (on_trial, on_trial, 0)
        assert report["off_trial"]["texts"] == len(FRENCH) - on_trial
        assert 0 < report["on_trial"]["p50_ms"] <= report["on_trial"]["p99_ms"]
        promoted = await client.post("/v1/promote", json={"trial": "romance"}, headers=ADMIN)
        assert promoted.json()["generation"] == 3
        assert set(await digests(client)) == {CANDIDATE.digest}
        digest = server.store.state(3).identity.digest
        ended = {"generation": 3, "generation_digest": digest, "trials": []}
        assert (await client.get("/v1/trials")).json() == ended


async def test_a_shadow_answers_nothing_and_is_ended(server: Server) -> None:
    async with server.client() as client:
        before = await digests(client)
        assert (await put(client, "shadow=true&share=0.5")).status_code == 200
        assert await digests(client) == before
        (trial,) = (await client.get("/v1/trials")).json()["trials"]
        assert 0 < trial["clades"][0]["compared"] < len(FRENCH)
        result = (await ask(client, inputs=FRENCH))["results"]
        sides = [each["trial"] for each in result]
        assert {"name": "romance", "kind": "shadow", "side": "routed"} in sides
        assert None in sides
        ended = await client.post("/v1/rollback", json={"trial": "romance"}, headers=ADMIN)
        assert ended.json()["generation"] == 3
        assert await digests(client) == before
        again = await client.post("/v1/rollback", json={"trial": "romance"}, headers=ADMIN)
        assert (again.status_code, again.json()["error_type"]) == (404, "not_found")


async def test_asked_again_under_one_request_id_a_change_is_made_once(server: Server) -> None:
    """As a front does whose first replica died before it had answered."""
    async with server.client() as client:
        for path, body in (("/v1/promote", "romance"), ("/v1/rollback", "romance")):
            candidate = soft_prompt(5.0 if path == "/v1/promote" else 6.0).to_bytes()
            await client.put(f"{ROMANCE}?canary=1", content=candidate, headers=ADMIN)
            headers = {**ADMIN, "x-request-id": f"same{path[-4:]}"}
            answers = [
                await client.post(path, json={"trial": body}, headers=headers) for _ in range(2)
            ]
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].json() == answers[1].json()
    assert server.store.latest() == 5


async def test_a_routing_key_chooses_the_side(server: Server) -> None:
    async with server.client() as client:
        await put(client, "canary=0.5")
        sides = [set(await digests(client, **{"x-routing-key": f"user {n}"})) for n in range(12)]
        assert all(len(side) == 1 for side in sides)
        assert len(set.union(*sides)) == 2
        refused = await client.post(
            "/v1/classify", json={"inputs": "a"}, headers={"x-routing-key": "x" * 129}
        )
        assert (refused.status_code, refused.json()["error_type"]) == (422, "validation")
        assert "x-routing-key" in refused.json()["error"]


async def test_without_a_trial_asked_for_a_prompt_is_published(server: Server) -> None:
    async with server.client() as client:
        assert (await put(client, "shadow=false")).status_code == 200
        assert set(await digests(client)) == {CANDIDATE.digest}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ([("canery", "5%")], "canery: unknown field"),
        ([("canary", "5 %")], "canary: "),
        ([("canary", "0%")], "more than 0 and at most 1"),
        ([("canary", "101%")], "more than 0 and at most 1"),
        ([("canary", "5%"), ("canary", "6%")], "canary: given more than once"),
        ([("canary", "5%"), ("shadow", "true")], "exclude each other"),
        ([("canary", "5%"), ("share", "0.5")], "share goes with shadow=true"),
        ([("route", "Romance")], "route: only with canary=5% or shadow=true"),
        ([("shadow", "false"), ("min_texts", "5")], "min_texts: only with"),
        ([("shadow", "perhaps")], "shadow: "),
        ([("canary", "5%"), ("min_agreement", "2")], "min_agreement: "),
        ([("canary", "5%"), ("min_agreement", "nan")], "min_agreement: "),
        ([("canary", "5%"), ("max_latency_ratio", "inf")], "max_latency_ratio: "),
        ([("canary", "5%"), ("min_texts", "0")], "min_texts: "),
        ([("canary", "5%"), ("route", "")], "route"),
    ],
)
def test_what_is_wrong_with_a_trial_is_named(query: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_trial(query)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "share"), [("5%", 0.05), ("0.05", 0.05), (".5", 0.5), ("100%", 1.0), ("1", 1.0)]
)
def test_shares(given: str, share: float) -> None:
    assert parse_trial([("canary", given)]).part == pytest.approx(share)
    assert parse_trial([("shadow", "true"), ("share", given)]).part == pytest.approx(share)


async def test_refused_trials_leave_the_store_as_it_was(server: Server) -> None:
    async with server.client() as client:
        for query, status in (
            ("canery=5%25", 422),
            ("canary=5%25&route=Klingon", 422),
            ("canary=5%25&shadow=true", 422),
        ):
            refused = await put(client, query)
            assert (refused.status_code, refused.json()["error_type"]) == (status, "validation")
        for path, body, status in (
            ("/v1/promote", {"trial": "romance"}, 404),
            ("/v1/promote", {}, 422),
            ("/v1/promote", {"trial": "../etc"}, 422),
            ("/v1/rollback", {"trial": "romance", "to": 1}, 422),
        ):
            refused = await client.post(path, json=body, headers=ADMIN)
            assert refused.status_code == status, refused.text
            assert "\n" not in refused.json()["error"]
    assert server.store.latest() == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", f"{ROMANCE}?canary=5%25"), ("POST", "/v1/promote"), ("POST", "/v1/rollback")],
)
async def test_changing_a_trial_needs_the_token(server: Server, method: str, path: str) -> None:
    async with server.client() as client:
        body = b'{"trial": "romance"}' if method == "POST" else CANDIDATE.to_bytes()
        refused = await client.request(method, path, content=body)
        assert (refused.status_code, refused.json()["error_type"]) == (401, "unauthorized")
    assert server.store.latest() == 1


class _Canned(BaseHTTPRequestHandler):
    answer: bytes = b""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v1/trials" else 404)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    listening = HTTPServer(("127.0.0.1", 0), _Canned)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    thread.join()
    listening.server_close()


def command(*arguments: str) -> Any:
    app = typer.Typer()
    commands.register(app)
    done = CliRunner().invoke(app, ["trials", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


async def test_the_command_prints_what_the_server_says(server: Server, url: str) -> None:
    async with server.client() as client:
        await put(client, "canary=50%25&min_agreement=0.99&min_texts=3")
        await digests(client)
        _Canned.answer = (await client.get("/v1/trials")).content
    assert json.loads(command("--url", url, "--json").stdout) == json.loads(_Canned.answer)
    header, row = command("--url", f"{url}/").stdout.splitlines()
    assert header.split()[:3] == ["candidate", "trial", "clade"]
    assert row.split()[:4] == ["romance@2", "canary", "0.5", "Romance"]
    assert row.split("agreement")[-1].strip().endswith("< 0.99")
    _Canned.answer = b'{"generation": 4, "trials": []}'
    assert command("--url", url).stdout == "nothing is on trial in generation 4\n"


def test_the_command_asks_this_machine_past_the_proxy_and_names_it_for_others(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://me:secret@127.0.0.1:9")
    _Canned.answer = b'{"generation": 4, "trials": []}'
    for own in (url, url.replace("127.0.0.1", "localhost")):
        assert "generation 4" in command("--url", own).stdout
    with pytest.raises(
        Unavailable, match=r"through the proxy http://127\.0\.0\.1:9 .*no_proxy"
    ) as far:
        command("--url", "http://far.example.invalid")
    assert "secret" not in str(far.value)


def test_the_command_says_where_no_server_is(url: str) -> None:
    with pytest.raises(Unavailable, match="is `isogloss serve` running there"):
        command("--url", "http://127.0.0.1:1")
    with pytest.raises(InvalidInput, match="give the server's address"):
        command("--url", "localhost:8000")
    _Canned.answer = b"<html>"
    with pytest.raises(Unavailable, match="no trials from"):
        command("--url", url)
