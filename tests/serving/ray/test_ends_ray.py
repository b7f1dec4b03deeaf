"""What is left of a server that ends, however it ends: nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from isogloss.serving.ray.ports import are_free
from tests.fakes import fake_store
from tests.serving.ray.running import PATIENCE_S, Running, part, serving, tree, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def assert_nothing_is_left(server: Running, before: list[psutil.Process]) -> None:
    def left() -> list[psutil.Process]:
        return [
            each for each in before if each.is_running() and each.status() != psutil.STATUS_ZOMBIE
        ]

    wait_until(lambda: not left())
    assert are_free([int(urlsplit(server.url).port or 0)])


@pytest.mark.soak
def test_a_server_without_its_cluster_says_so_and_ends(tmp_path: Path) -> None:
    with serving(fake_store(tmp_path / "store")) as server:
        before = tree(server)
        part(server, "raylet").kill()
        printed, said = server.process.communicate(timeout=PATIENCE_S)
        assert printed == "", "what Ray tells of its own death helps nobody"
        assert server.process.returncode == 1
        assert "lost its Ray cluster (raylet ended)" in said
        assert_nothing_is_left(server, before)


@pytest.mark.parametrize("blow", ["group", pytest.param("command", marks=pytest.mark.soak)])
def test_nothing_outlives_the_command(tmp_path: Path, blow: str) -> None:
    with serving(fake_store(tmp_path / "store")) as server:
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
