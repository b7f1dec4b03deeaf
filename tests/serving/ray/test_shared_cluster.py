"""Whether ours can go beside what a cluster runs, and whose URL one is; without Ray."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from isogloss.prompts.cluster.address import Address
from isogloss.prompts.errors import InvalidInput, Unavailable
from isogloss.serving.config import ServingSettings
from isogloss.serving.ray.launch import _for_a_cluster
from isogloss.serving.ray.readiness import first_that_answers, replicas_at, urls
from isogloss.serving.ray.shared_cluster import RunningServe, fitted, wait_for_room

LOCAL = "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "port", "running", "expected"),
    [
        (LOCAL, 8000, RunningServe(LOCAL, 8000), 8000),
        (LOCAL, 0, RunningServe(LOCAL, 8011), 8011),
        ("localhost", 8000, RunningServe(LOCAL, 8000), 8000),
        (LOCAL, 8000, RunningServe("localhost", 8000), 8000),
        ("0.0.0.0", 8000, RunningServe("0.0.0.0", 8000), 8000),
        (
            LOCAL,
            8000,
            RunningServe(LOCAL, 8000, applications={"other": "/other", "silent": None}),
            8000,
        ),
    ],
)
def test_there_is_a_place(host: str, port: int, running: RunningServe, expected: int) -> None:
    settings = ServingSettings(host=host, port=port)
    assert fitted(settings, running, claimed=False).port == expected


@pytest.mark.parametrize(
    ("host", "port", "running", "claimed", "said"),
    [
        (
            LOCAL,
            18410,
            RunningServe(LOCAL, 18411),
            False,
            "port 18410 on 127.0.0.1: Ray Serve of this cluster listens on port 18411 on 127.0.0.1 "
            "and nowhere else; give --host 127.0.0.1 --port 18411, or unset RAY_ADDRESS",
        ),
        (
            LOCAL,
            8000,
            RunningServe("0.0.0.0", 8000),
            False,
            "give --host 0.0.0.0 --port 8000",
        ),
        ("0.0.0.0", 8000, RunningServe(LOCAL, 8000), False, "give --host 127.0.0.1 --port 8000"),
        (LOCAL, 8000, RunningServe(LOCAL, 8000, takes_http=False), False, "without HTTP"),
        (
            LOCAL,
            8000,
            RunningServe(LOCAL, 8000, applications={"web": "/"}),
            False,
            "the application 'web' of this Ray cluster answers at /, where ours would",
        ),
        (
            LOCAL,
            8000,
            RunningServe(LOCAL, 8000, applications={"isogloss": "/"}),
            True,
            "another `isogloss serve` runs on this Ray cluster; stop that one first",
        ),
        (LOCAL, 8000, RunningServe(LOCAL, 8000), True, "another `isogloss serve` runs on this Ray"),
        (
            LOCAL,
            8000,
            RunningServe(LOCAL, 8000, applications={"isogloss": "/"}),
            False,
            "has an application named isogloss, deployed otherwise or left by a command that was "
            "killed; remove it with `python -c",
        ),
    ],
)
def test_what_is_in_the_way(
    host: str, port: int, running: RunningServe, claimed: bool, said: str
) -> None:
    with pytest.raises(Unavailable) as caught:
        fitted(ServingSettings(host=host, port=port), running, claimed=claimed)
    assert said in str(caught.value)
    assert "or unset RAY_ADDRESS to serve on this machine alone" in str(caught.value)


@pytest.mark.parametrize(
    ("host", "machines", "expected"),
    [
        (LOCAL, (), ["http://127.0.0.1:80"]),
        (LOCAL, ("10.0.0.7",), ["http://127.0.0.1:80"]),
        ("10.0.0.7", (), ["http://10.0.0.7:80"]),
        ("::1", (), ["http://[::1]:80"]),
        ("0.0.0.0", ("10.0.0.7",), ["http://127.0.0.1:80", "http://10.0.0.7:80"]),
        ("::", ("fd00::7",), ["http://[::1]:80", "http://[fd00::7]:80"]),
    ],
)
def test_where_a_server_may_answer(
    host: str, machines: tuple[str, ...], expected: list[str]
) -> None:
    assert urls(host, 80, machines) == expected


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_room_that_is_there_is_not_waited_for() -> None:
    said: list[str] = []
    wait_for_room({"CPU": 2}, lambda: {"CPU": 2.0, "memory": 1.0}, said.append)
    assert said == []


def test_room_that_comes_is_waited_for() -> None:
    clock, said = Clock(), list[str]()

    def free() -> dict[str, float]:
        return {"CPU": 4.0, "GPU": 2.0} if clock.now_s >= 7 else {"CPU": 4.0}

    demand = {"CPU": 2, "GPU": 2}
    wait_for_room(demand, free, said.append, clock=clock, sleep=clock.sleep)
    assert clock.now_s == 7
    assert said == ["waiting up to 60 s for room on the cluster: 2 GPU needed and 0 free ..."]


def test_room_that_does_not_come() -> None:
    clock = Clock()
    with pytest.raises(Unavailable, match=r"no room for the replicas: 4 CPU needed and 1\.5 free;"):
        wait_for_room(
            {"CPU": 4}, lambda: {"CPU": 1.5}, lambda line: None, clock=clock, sleep=clock.sleep
        )
    assert clock.now_s == 60


READY = {"replicas": [{"replica": "a"}, {"replica": "b"}]}


@contextmanager
def server(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/ready"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer((LOCAL, 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://{LOCAL}:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            thread.join()


def test_the_url_that_our_replicas_answer_at(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:3128")
    with server(200, json.dumps(READY).encode()) as url, server(404, b"{}") as other:
        assert replicas_at(url) == {"a", "b"}
        assert first_that_answers([other, url], lambda: ["b", "c"]) == url


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, json.dumps(READY).encode(), "another server answers there"),
        (200, b"<html>", "something else answers there"),
        (200, b"\xff", "something else answers there"),
        (200, b"[]", "something else answers there"),
        (200, b'{"replicas": 1}', "something else answers there"),
        (200, b'{"replicas": ["a"]}', "something else answers there"),
        (404, b'{"detail": "Not Found"}', "something else answers there"),
        (503, b'{"error": "no live replica of x yet"}', "503 no live replica of x yet"),
    ],
)
def test_what_answers_is_not_ours(status: int, body: bytes, said: str) -> None:
    with (
        server(status, body) as url,
        pytest.raises(Unavailable, match=f"requests do not come to them \\({url}: {said}\\)"),
    ):
        first_that_answers([url], lambda: ["mine"], patience_s=0)


def test_nothing_answers() -> None:
    with socket.create_server((LOCAL, 0)) as closed:
        url = f"http://{LOCAL}:{closed.getsockname()[1]}"
    with pytest.raises(Unavailable, match=f"{url}: .*refused"):
        first_that_answers([url], lambda: ["mine"], patience_s=0)


@pytest.mark.parametrize(
    ("address", "haproxy", "model", "said"),
    [
        ("ray://head:10001", None, "pocket-bloom", "a server does not run through Ray Client"),
        ("head:6379", True, "pocket-bloom", "--haproxy: the machines of a cluster"),
        ("head:6379", None, "model", "--model model: on a cluster .* give a path from the root"),
    ],
)
def test_what_a_cluster_cannot_do(
    address: str,
    haproxy: bool | None,
    model: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    settings = ServingSettings(models=(model,))
    with pytest.raises(InvalidInput, match=said):
        _for_a_cluster(settings, haproxy, Address(address, "RAY_ADDRESS"))


@pytest.mark.parametrize(
    ("store", "variable", "expected"),
    [
        ("store", None, "{here}/store"),
        ("/store", "other", "/store"),
        (None, "own", "{here}/own"),
        ("s3://bucket/store", None, "s3:/bucket/store"),
        (None, "s3://bucket/own", "s3:/bucket/own"),
        ("file:///store", None, "/store"),
    ],
)
def test_the_store_is_the_same_one_on_every_machine(
    store: str | None,
    variable: str | None,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if variable is not None:
        monkeypatch.setenv("ISOGLOSS_STORE", variable)
    settings = ServingSettings(store=Path(store) if store else None)
    found = _for_a_cluster(settings, None, Address("head:6379", "RAY_ADDRESS")).store
    assert str(found) == expected.format(here=tmp_path)
