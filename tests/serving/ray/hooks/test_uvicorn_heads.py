"""A request's head ends where it ends, and what Ray reads of it is not a client's to set."""

from __future__ import annotations

import importlib
import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from isogloss.serving.ray import launch
from isogloss.serving.ray.hooks.guard import RAY_HEADERS
from isogloss.serving.ray.hooks.uvicorn_protocol import guard_heads
from tests.sockets import served

GUARDED = ("on_message_begin", "on_header", "on_headers_complete", "send_400_response")
CHUNKED = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the headers as they are once the body has been read."""
    if scope["path"] == "/fails":
        raise ValueError("outside all handlers")
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message.get("more_body"):
            break
    found = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
    answer = json.dumps({"headers": found, "body": body.decode()}).encode()
    length = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in GUARDED:
        monkeypatch.setattr(HttpToolsProtocol, name, getattr(HttpToolsProtocol, name))
    real = RequestResponseCycle.send_500_response
    monkeypatch.setattr(RequestResponseCycle, "send_500_response", real)
    assert guard_heads() == []
    assert guard_heads() == []  # once is enough, and twice is once
    config = uvicorn.Config(app, http="httptools", log_config=None, lifespan="off", ws="none")
    with served(config) as address:
        yield address


def send(url: str, *pieces: bytes) -> tuple[int, dict[str, Any]]:
    """What a server answers to some bytes before it closes: the last status and JSON."""
    host = urlsplit(url)
    with socket.create_connection((host.hostname or "", host.port or 0), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    last = answer[answer.rindex(b"HTTP/1.1 ") :]
    head, _, body = last.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def headers_of(answer: dict[str, Any]) -> dict[str, str]:
    return dict(answer["headers"])


TRAILERS = b"x-forwarded-for: 6.6.6.6\r\nauthorization: Bearer guessed\r\nx-request-id: theirs\r\n"


@pytest.mark.parametrize("cut", [0, 1, 4])
def test_what_stands_behind_a_body_is_no_header(url: str, cut: int) -> None:
    """In one piece with the head, or later: when the application looks is not when they come."""
    head = (CHUNKED + "connection: close\r\nx-a: 1\r\n\r\n").encode()
    rest = b"2\r\nhi\r\n0\r\n" + TRAILERS + b"\r\n"
    pieces = (head + rest,) if not cut else (head, rest[:-cut], rest[-cut:])
    status, answer = send(url, *pieces)
    assert (status, answer["body"]) == (200, "hi")
    assert set(headers_of(answer)) == {"host", "transfer-encoding", "connection", "x-a"}


def test_the_next_request_of_a_connection_has_its_own_head(url: str) -> None:
    first = CHUNKED.encode() + b"\r\n2\r\nhi\r\n0\r\n" + TRAILERS + b"\r\n"
    second = b"GET / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer own\r\nconnection: close\r\n\r\n"
    _, answer = send(url, first + second)
    assert headers_of(answer) == {"host": "x", "authorization": "Bearer own", "connection": "close"}


@pytest.mark.parametrize("name", sorted(RAY_HEADERS.values()))
@pytest.mark.parametrize("value", [b"0.001", b"\xff\xfe"])
def test_what_only_ray_reads_is_not_handed_on(url: str, name: str, value: bytes) -> None:
    for spelled in (name, name.replace("_", "-").title(), name.replace("-", "_")):
        line = f"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{spelled}: ".encode()
        status, answer = send(url, line + value + b"\r\n\r\n")
        assert status == 200
        assert set(headers_of(answer)) == {"host", "connection"}


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("x-request-id", b"mine-1", True),
        ("x-request-id", b"mine\xff", False),
        ("x-request-id", b"a b", False),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("traceparent", b"00-\xff", False),
        ("tracestate", b"a=\xe9", False),
        ("user-agent", b"Caf\xe9/1.0", True),
        ("authorization", b"Bearer \xc3\xa9", True),
    ],
)
def test_bytes_that_are_not_ascii_reach_only_who_can_read_them(
    url: str, name: str, value: bytes, kept: bool
) -> None:
    line = f"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{name}: ".encode()
    status, answer = send(url, line + value + b"\r\n\r\n")
    assert status == 200
    assert headers_of(answer).get(name) == (value.decode("latin-1") if kept else None)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /\xc3\xa9 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nna\xefve: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\na: b\x00c\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: \xb2\r\n\r\nab",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["path", "name", "null", "two-lengths", "length", "tls"],
)
def test_what_is_no_http_is_refused_in_the_contracts_shape(url: str, request_bytes: bytes) -> None:
    status, answer = send(url, request_bytes)
    assert status == 400
    assert set(answer) == {"error", "error_type"}
    assert answer["error_type"] == "validation"


def test_a_failure_outside_all_handlers_is_told_in_the_contracts_shape(url: str) -> None:
    status, answer = send(url, b"GET /fails HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (status, answer["error_type"]) == (500, "internal")
    assert "outside" not in answer["error"]


def test_rays_own_proxy_is_told_where_the_guard_is() -> None:
    variables = launch._variables()
    module, _, name = variables["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"].partition(":")
    assert getattr(importlib.import_module(module), name) is guard_heads


def test_the_guard_is_light_enough_for_a_proxy() -> None:
    """Whose process would else hold a model's libraries."""
    code = (
        "import sys, isogloss.serving.ray.hooks.uvicorn_protocol\n"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
