"""One real server for all tests of this folder: a start costs more than most of them.

They run in one process, in the order of their files' names; see `tests/conftest.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from isogloss.serving.ray.haproxy import haproxy_everywhere, haproxy_is_installed
from tests import hostile_folder
from tests.fakes import fake_store, route_table, soft_prompt
from tests.serving.collector import Collector
from tests.serving.ray.running import OTHER, PATIENCE_S, Running, serving

HEAD_S, CLIENT_S = 2, 6


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """What the server sends its traces to."""
    with Collector() as running:
        yield running


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server is started: in a folder with modules of everybody's names."""
    return tmp_path_factory.mktemp("folder")


@pytest.fixture(scope="session")
def traps(folder: Path) -> Path:
    """Where a module of the working folder says that it was imported."""
    return hostile_folder.fill(folder)


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, traps: Path, collector: Collector
) -> Iterator[Running]:
    """Two replicas of two models, in processes of their own; the first holds the HTTP routes.

    It is started where a shell may be: in a folder of traps, with a TMPDIR that is too long for
    sockets, and with an address of Ray that is set to nothing. It is patient with nobody, and
    traces what its callers do.
    """
    store = fake_store(tmp_path_factory.mktemp("ray") / "store")
    there = soft_prompt(4.0, model=OTHER)
    store.publish({"elsewhere": there}, [route_table("elsewhere", model=OTHER)])
    long = folder / ("long" * 20)
    long.mkdir()
    variables = {"ISOGLOSS_ADMIN_TOKEN": "token", "RAY_ADDRESS": "", "TMPDIR": str(long)}
    variables |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",  # milliseconds
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    }
    if haproxy_is_installed():
        variables |= haproxy_everywhere(HEAD_S, CLIENT_S)
    with serving(store, other=OTHER, replicas=2, folder=folder, variables=variables) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        yield client
