"""Bodies as people's tools write them: with a mark, packed, in another encoding."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from isogloss.prompts.errors import TooLarge
from isogloss.serving.http import bodies
from tests.fakes import soft_prompt
from tests.serving.api.refused import assert_refused
from tests.serving.api_server import ADMIN, Server

BODY = json.dumps({"inputs": "Le match est fini: été."}, ensure_ascii=False).encode()
GZIP = {"content-encoding": "gzip"}


async def test_a_byte_order_mark_is_no_fault(server: Server) -> None:
    async with server.client() as client:
        plain = await client.post("/v1/classify", content=BODY)
        marked = await client.post("/v1/classify", content=b"\xef\xbb\xbf" + BODY)
        assert plain.status_code == 200
        assert marked.json() == plain.json()


@pytest.mark.parametrize(
    "coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
async def test_other_encodings_of_unicode_are_named(server: Server, coding: str) -> None:
    async with server.client() as client:
        refused = await client.post("/v1/classify", content=BODY.decode().encode(coding))
        sentence = assert_refused(refused, 400, "validation")
        assert coding[:6].upper() in sentence
        assert "send a JSON object in UTF-8" in sentence


async def test_a_declared_charset_is_named_where_the_bytes_are_not_utf_8(server: Server) -> None:
    async with server.client() as client:
        latin = BODY.decode().encode("latin-1")
        for declared, said in (("text/json; Charset=ISO-8859-1", "ISO-8859-1"), ("text/json", "")):
            headers = {"content-type": declared}
            refused = await client.post("/v1/classify", content=latin, headers=headers)
            sentence = assert_refused(refused, 400, "validation")
            assert ("content-type says" in sentence) is bool(said)
            assert said in sentence
            # The bytes count: what is UTF-8 is read, whatever is said of it.
            read = await client.post("/v1/classify", content=BODY, headers=headers)
            assert read.status_code == 200


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "GZIP", " gzip ", "identity, gzip"])
async def test_gzip_is_unpacked(server: Server, name: str) -> None:
    async with server.client() as client:
        headers = {"content-encoding": name}
        packed = await client.post(
            "/v1/classify", content=gzip.compress(BODY, mtime=0), headers=headers
        )
        plain = await client.post("/v1/classify", content=BODY)
        assert packed.status_code == 200
        assert packed.json() == plain.json()


async def test_deflate_is_unpacked_within_the_same_limits(server: Server) -> None:
    async with server.client(max_body_bytes=1000) as client:
        headers = {"content-encoding": "deflate"}

        async def send(content: bytes) -> httpx.Response:
            return await client.post("/v1/classify", content=content, headers=headers)

        plain = await client.post("/v1/classify", content=BODY)
        assert (await send(zlib.compress(BODY))).json() == plain.json()
        assert "none" in assert_refused(await send(BODY), 400, "validation")
        assert "ends early" in assert_refused(
            await send(zlib.compress(BODY)[:-3]), 400, "validation"
        )
        assert_refused(await send(zlib.compress(b" " * 1001)), 413, "too_large")


async def test_a_packed_prompt_file_is_published_as_it_was_before(server: Server) -> None:
    prompt = soft_prompt(9.0)
    async with server.client() as client:
        packed = gzip.compress(prompt.to_bytes(), mtime=0)
        answer = await client.put("/v1/prompts/romance", content=packed, headers=ADMIN | GZIP)
        assert answer.json()["prompt"]["digest"] == prompt.digest


@pytest.mark.parametrize("coding", ["br", "zstd", "lzma", "compress", "gzip, gzip", "gzip;q=1"])
async def test_other_codings_are_named(server: Server, coding: str) -> None:
    async with server.client() as client:
        headers = {"content-encoding": coding}
        refused = await client.post("/v1/classify", content=BODY, headers=headers)
        assert coding in assert_refused(refused, 415, "validation")
        assert refused.headers["accept-encoding"] == "gzip, deflate, identity"


async def test_no_coding_is_no_coding(server: Server) -> None:
    async with server.client() as client:
        for coding in ("", "identity", "Identity , identity"):
            headers = {"content-encoding": coding}
            answer = await client.post("/v1/classify", content=BODY, headers=headers)
            assert answer.status_code == 200, coding


@pytest.mark.parametrize(
    ("packed", "status", "said"),
    [
        (BODY, 400, "it is none"),
        (gzip.compress(BODY, mtime=0)[:-1], 400, "ends early"),
        (gzip.compress(BODY, mtime=0)[:12], 400, "ends early"),
        (gzip.compress(BODY, mtime=0) + b"x", 400, "more stands behind"),
        (gzip.compress(b"[", mtime=0) * 100, 400, "more stands behind"),
        (zlib.compress(BODY), 400, "it is none"),
        (gzip.compress(b"[1,", mtime=0), 400, "not valid JSON"),
        (gzip.compress(b"0" * 10_001, mtime=0), 413, "more than 10000 bytes unpacked"),
        (gzip.compress(b"0" * 10_000_000, mtime=0), 413, "more than 10000 bytes unpacked"),
        (gzip.compress(gzip.compress(b"0" * 10_000_000, mtime=0), mtime=0), 400, "body"),
    ],
)
async def test_what_is_not_one_whole_gzip_of_a_bounded_size_is_refused(
    server: Server, packed: bytes, status: int, said: str
) -> None:
    async with server.client(max_body_bytes=10_000) as client:
        refused = await client.post("/v1/classify", content=packed, headers=GZIP)
        kind = "too_large" if status == 413 else "validation"
        assert said in assert_refused(refused, status, kind)


def test_no_more_than_the_limit_is_ever_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    most: list[int] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, window: int) -> None:
            self._real = real(window)

        def decompress(self, data: bytes, max_length: int) -> bytes:
            whole = self._real.decompress(data, max_length)
            most.append(len(whole))
            return whole

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(TooLarge):
        bodies.unpacked(gzip.compress(b"0" * 10**7), 1000)
    assert most == [1001]


async def test_an_unauthorized_body_is_not_read(server: Server) -> None:
    read = []

    async def unread() -> AsyncIterator[bytes]:
        read.append(True)
        yield b""

    async with server.client() as client:
        for method, path in (
            ("PUT", "/v1/prompts/romance"),
            ("PUT", "/v1/routes"),
            ("POST", "/v1/rollback"),
            ("POST", "/v1/promote"),
        ):
            refused = await client.request(method, path, content=unread())
            assert_refused(refused, 401, "unauthorized")
    assert not read


async def test_every_text_field_has_a_longest_length(server: Server) -> None:
    async with server.client() as client:
        long = "x\x1b" * 10**6
        for field in ("model", "task", "language", "prompt"):
            refused = await client.post("/v1/classify", json={"inputs": "a", field: long})
            assert assert_refused(refused, 422, "validation").startswith(f"{field}: ")
        for path in ("/v1/promote", "/v1/rollback"):
            body = {"trial": "x" * 1000}
            refused = await client.post(path, json=body, headers=ADMIN)
            assert assert_refused(refused, 422, "validation").startswith("trial: ")
            refused = await client.post(path, json={"trial": long}, headers=ADMIN)
            assert_refused(refused, 413, "too_large")
