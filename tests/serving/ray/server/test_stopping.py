"""The last tests of the server: it is gone afterwards."""

from __future__ import annotations

import signal

import pytest

from isogloss.serving.ray.ports import check_port
from tests.serving.ray.running import PATIENCE_S, Running

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


def test_ctrl_c_stops_it_cleanly_and_frees_the_port(server: Running) -> None:
    """The last test: the fixture's server is gone afterwards."""
    server.process.send_signal(signal.SIGINT)
    _, said = server.process.communicate(timeout=PATIENCE_S)
    assert server.process.returncode == 0
    assert said.splitlines()[-1] == "stopping ..."
    port = int(server.url.rpartition(":")[2])
    assert check_port("127.0.0.1", port) == port
