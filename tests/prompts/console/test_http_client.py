"""Which requests go through the environment's proxies, against servers of the test's own."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from isogloss.prompts.console.http_client import is_this_machine, open_url, proxy_of, route_to

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
FAR = "http://far.example.invalid:8000"


@contextmanager
def server(said: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_this_machine_is_asked_directly_and_others_through_the_proxy(
    environment: pytest.MonkeyPatch,
) -> None:
    with server(b"server") as own, server(b"proxy") as proxy:
        environment.setenv("HTTP_PROXY", proxy)
        environment.setenv("ALL_PROXY", proxy)
        port = own.rpartition(":")[2]
        for url in (own, f"http://localhost:{port}", f"http://0.0.0.0:{port}"):
            with open_url(url, 10) as reply:
                assert reply.read() == b"server"
            assert (proxy_of(url), route_to(url)) == (None, url)
        with open_url(FAR, 10) as reply:
            assert reply.read() == b"proxy"
        assert route_to(FAR) == f"{FAR} through the proxy {proxy} of the environment"


@pytest.mark.parametrize(
    ("proxy", "no_proxy", "shown"),
    [
        ("http://10.0.0.1:3128", "", "http://10.0.0.1:3128"),
        ("http://me:secret@10.0.0.1:3128", "", "http://10.0.0.1:3128"),
        ("10.0.0.1:3128", "", "10.0.0.1:3128"),
        ("me:secret@10.0.0.1:3128", "", "10.0.0.1:3128"),
        ("http://10.0.0.1:3128", "example.invalid", None),
        ("http://10.0.0.1:3128", "*", None),
        ("", "", None),
    ],
)
def test_the_proxy_is_named_without_its_password(
    proxy: str, no_proxy: str, shown: str | None, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("http_proxy", proxy)
    environment.setenv("no_proxy", no_proxy)
    assert proxy_of(FAR) == shown


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.8.9.10", "::1", "LOCALHOST", "localhost.", "isogloss.localhost"),
        *("0.0.0.0", "::", "::ffff:127.0.0.1", socket.gethostname()),
    ],
)
def test_hosts_of_this_machine(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "2001:db8::1", "example.invalid", "notlocalhost", "127.0.0.1.nip.io", ""]
)
def test_hosts_that_are_not(host: str) -> None:
    assert not is_this_machine(host)


def test_an_address_of_an_interface_is_this_machine() -> None:
    routes = Path("/proc/net/fib_trie")
    if not routes.exists():
        pytest.skip("Linux tells its addresses there")
    lines = routes.read_text().splitlines()
    own = {
        before.split()[-1] for before, line in itertools.pairwise(lines) if "/32 host LOCAL" in line
    }
    assert own
    assert all(map(is_this_machine, own))
