"""Whatever a client sends, it gets the contract's status and a sentence, and the server lives."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from isogloss.prompts.errors import Unavailable
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.serving.ray.launch import running
from isogloss.serving.ray.ports import PortInUse, check_port
from tests.fakes import FakeBackbone, fake_classifier, fake_settings, route_table, soft_prompt
from tests.serving.api.refused import assert_refused
from tests.serving.api_server import ADMIN, Server

CLASSIFY: list[tuple[str, bytes, int, str]] = [
    ("nothing", b"", 400, "validation"),
    ("not json", b"inputs=hello", 400, "validation"),
    ("cut json", b'{"inputs": "hel', 400, "validation"),
    ("invalid utf-8", b'{"inputs": "\xff\xfe"}', 400, "validation"),
    ("utf-16", '{"inputs": "a"}'.encode("utf-16"), 400, "validation"),
    ("deep json", b"[" * 100_000, 400, "validation"),
    ("deep but whole", b"[" * 500 + b"]" * 500, 400, "validation"),
    ("a list", b"[]", 422, "validation"),
    ("no inputs", b"{}", 422, "validation"),
    ("a number", b'{"inputs": 1}', 422, "validation"),
    ("a pair of lists", b'{"inputs": [["a"], ["b"]]}', 422, "validation"),
    ("unknown field", b'{"inputs": "a", "parameters": {}}', 422, "validation"),
    ("lone surrogate", b'{"inputs": "\\ud800"}', 422, "validation"),
    ("top_k of zero", b'{"inputs": "a", "top_k": 0}', 422, "validation"),
    ("no texts", b'{"inputs": []}', 422, "validation"),
    ("empty text", b'{"inputs": ""}', 422, "validation"),
    ("white space", b'{"inputs": ["a", " \\n"]}', 422, "validation"),
    ("10,000 inputs", json.dumps({"inputs": ["a"] * 10_000}).encode(), 422, "validation"),
    ("1 MB of text", json.dumps({"inputs": "a" * 1_000_000}).encode(), 413, "too_large"),
    ("a large body", b" " * (9 << 20), 413, "too_large"),
    ("unknown model", b'{"inputs": "a", "model": "gpt"}', 404, "not_found"),
    ("unknown language", b'{"inputs": "a", "language": "xx"}', 422, "validation"),
    ("unknown prompt", b'{"inputs": "a", "prompt": "nobody"}', 404, "not_found"),
    ("unknown version", b'{"inputs": "a", "prompt": "romance@2"}', 404, "not_found"),
    ("unknown task", b'{"inputs": "a", "task": "mood"}', 404, "not_found"),
    ("a path", b'{"inputs": "a", "prompt": "../../etc/passwd"}', 422, "validation"),
]


async def test_every_bad_request_is_refused_and_the_next_good_one_is_answered(
    server: Server,
) -> None:
    async with server.client() as client:
        for what, body, status, error_type in CLASSIFY:
            answer = await client.post("/v1/classify", content=body)
            assert answer.status_code == status, (what, answer.text)
            assert_refused(answer, status, error_type)
            good = await client.post("/v1/classify", json={"inputs": "a\0b"})
            assert good.status_code == 200, what


async def test_a_body_without_a_declared_length_is_cut_off_at_the_limit(server: Server) -> None:
    sent = 0
    async with server.client(max_body_bytes=10_000) as client:

        async def endless() -> Any:
            nonlocal sent
            while True:
                sent += 1000
                yield b" " * 1000

        answer = await client.post("/v1/classify", content=endless())
        assert_refused(answer, 413, "too_large")
    assert sent <= 12_000


async def test_unknown_paths_and_methods(server: Server) -> None:
    async with server.client() as client:
        assert_refused(await client.get("/v1/nowhere"), 404, "not_found")
        assert_refused(await client.get("/v1/classify"), 405, "validation")
        assert_refused(await client.patch("/v1/prompts/romance"), 405, "validation")


def nan_file() -> bytes:
    """A whole, well-formed file whose tensor holds a NaN."""
    data = soft_prompt(1.0).to_bytes()
    one = torch.tensor([1.0]).numpy().tobytes()
    nan = torch.tensor([float("nan")]).numpy().tobytes()
    assert data.count(one) == 1
    return data.replace(one, nan)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (soft_prompt(9.0).to_bytes()[:-1], "bytes"),
        (soft_prompt(9.0).to_bytes()[:20], "truncated"),
        (soft_prompt(9.0).to_bytes() + b"x", "bytes"),
        (b"\x80\x04pickle", "not a safetensors file"),
        (nan_file(), "NaN"),
        (soft_prompt(1.0, model="fake-xglm").to_bytes(), "fake-xglm"),
        (soft_prompt(1.0, length=51).to_bytes(), "at most 50"),
        (soft_prompt(1.0, task="mood").to_bytes(), "task 'mood'"),
        (soft_prompt(1.0, labels=("a", "b")).to_bytes(), "labels"),
    ],
    ids=[
        "empty", "cut", "cut-header", "trailing", "pickle", "nan", "other-model", "too-long",
        "other-task", "other-labels",
    ],
)  # fmt: skip
async def test_a_bad_prompt_file_is_refused_and_changes_nothing(
    server: Server, data: bytes, reason: str
) -> None:
    async with server.client() as client:
        refused = await client.put("/v1/prompts/romance", content=data, headers=ADMIN)
        assert reason in assert_refused(refused, 422, "validation")
        answer = await client.post("/v1/classify", json={"inputs": "fra_Latn: oui"})
        assert answer.json()["results"][0]["prompt"]["version"] == 1
    assert server.store.latest() == 1


async def test_bad_names_and_routes_are_refused(server: Server) -> None:
    data = soft_prompt(9.0).to_bytes()
    missing = route_table("nobody").model_dump(mode="json")
    foreign = route_table("everywhere", model="fake-xglm").model_dump(mode="json")
    async with server.client() as client:
        for name in ("UPPER", "..", "a b", "x" * 65, "romance@2"):
            refused = await client.put(f"/v1/prompts/{name}", content=data, headers=ADMIN)
            assert refused.status_code in (404, 405, 422), name
            assert set(refused.json()) == {"error", "error_type"}
        for table in (missing, foreign):
            refused = await client.put("/v1/routes", json={"routes": [table]}, headers=ADMIN)
            assert_refused(refused, 422, "validation")
        for body in (b"{", b'{"routes": []}', b'{"routes": [{"task": "topic"}]}'):
            refused = await client.put("/v1/routes", content=body, headers=ADMIN)
            assert refused.status_code in (400, 422)
    assert server.store.latest() == 1


async def test_a_prompt_file_over_the_limit_is_refused(server: Server) -> None:
    async with server.client(max_prompt_bytes=1000) as client:
        refused = await client.put("/v1/prompts/romance", content=b"x" * 2000, headers=ADMIN)
        assert_refused(refused, 413, "too_large")


async def test_an_unwritable_store_refuses_changes_and_goes_on_answering(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server.client() as client:

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("isogloss.prompts.files.durable.write_atomically", full)
        data = soft_prompt(9.0).to_bytes()
        refused = await client.put("/v1/prompts/romance", content=data, headers=ADMIN)
        assert "No space left" in assert_refused(refused, 503, "unavailable")
        good = await client.post("/v1/classify", json={"inputs": "fra_Latn: oui"})
        assert good.json()["results"][0]["prompt"]["version"] == 1
    assert server.store.latest() == 1


async def test_an_unexpected_error_shows_nothing_of_the_inside(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("secret detail")

    async with server.client() as client:
        monkeypatch.setattr("isogloss.serving.http.service.Service.ask", broken)
        sentence = assert_refused(
            await client.post("/v1/classify", json={"inputs": "a"}), 500, "internal"
        )
        assert "secret" not in sentence


async def test_a_model_that_fails_is_an_internal_error(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: secret detail")

    async with server.client() as client:
        with monkeypatch.context() as patch:
            patch.setattr(FakeBackbone, "read_suffixed", broken)
            sentence = assert_refused(
                await client.post("/v1/classify", json={"inputs": "a"}), 500, "internal"
            )
            assert "secret" not in sentence
        assert (await client.post("/v1/classify", json={"inputs": "a"})).status_code == 200


def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"port {port} .*--port {port + 1}"):
            check_port("127.0.0.1", port)
        settings = fake_settings(tmp_path / "store", port=port)
        Server(tmp_path)  # makes the store
        with (
            pytest.raises(PortInUse),
            running(settings, build=fake_classifier),
        ):
            pytest.fail("it started")
    assert check_port("127.0.0.1", port) == port
    assert check_port("127.0.0.1", 0) > 0
    with pytest.raises(Unavailable, match="cannot listen there"):
        check_port("203.0.113.1", 0)


def test_the_nan_file_is_otherwise_whole() -> None:
    good = soft_prompt(1.0).to_bytes()
    assert len(nan_file()) == len(good)
    assert SoftPrompt.from_bytes(good).length == 2
