"""`isogloss serve` on a Ray cluster that others use, and told to stop while it starts."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from isogloss.serving.ray.ports import free_port
from isogloss.serving.ray.readiness import replicas_at
from tests.fakes import fake_store
from tests.serving.ray.running import ROOT, wait_for_url

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Cluster:
    """Somebody's cluster, with an application that answers at /other."""

    address: str
    port: int
    store: Path

    def command(self, port: int | None = None, address: str | None = None) -> dict[str, Any]:
        """Arguments that start a server of ours there."""
        module = [sys.executable, "-m", "tests.serving.fake_server", str(self.store)]
        return {
            "args": [*module, "", str(self.port if port is None else port), "1"],
            "env": {**os.environ, "RAY_ADDRESS": address or self.address},
            "cwd": ROOT,
            "stderr": subprocess.PIPE,
            "text": True,
        }

    def other(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}/other", timeout=30).text


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    store = fake_store(tmp_path_factory.mktemp("joined") / "store")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patient:
        warnings.simplefilter("ignore")
        # Ray kills a proxy that is not up in 5 s, as on a busy machine; ours waits as long.
        patient.setenv("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
        import ray
        from ray import serve

        @serve.deployment(ray_actor_options={"num_cpus": 0})
        class Other:
            async def __call__(self, request: object) -> str:
                return "alive"

        context: Any = ray.init(
            address="local",
            num_cpus=1,
            object_store_memory=100 << 20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            port = free_port("127.0.0.1")
            serve.start(http_options={"host": "127.0.0.1", "port": port})
            serve.run(Other.bind(), name="other", route_prefix="/other")  # type: ignore[attr-defined]
            yield Cluster(context.address_info["address"], port, store.root)
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()


def applications() -> set[str]:
    from ray import serve

    return set(serve.status().applications)


def test_another_port_is_refused_and_nothing_is_changed(cluster: Cluster) -> None:
    refused = subprocess.run(**cluster.command(port=free_port("127.0.0.1")), check=False)
    assert refused.returncode == 1
    assert f"listens on port {cluster.port} on 127.0.0.1 and nowhere else" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert applications() == {"other"}
    assert cluster.other() == "alive"


@pytest.mark.soak
def test_ours_lives_beside_others_and_ends_alone(cluster: Cluster) -> None:
    """One replica needs the one place, so that there is no room for more."""
    import ray

    with subprocess.Popen(**cluster.command()) as process:
        url = wait_for_url(process)
        assert url == f"http://127.0.0.1:{cluster.port}"
        assert len(replicas_at(url)) == 1
        answer = httpx.post(f"{url}/v1/classify", json={"inputs": "fra_Latn: oui"}, timeout=30)
        assert answer.json()["results"][0]["prompt"]["name"] == "romance"
        assert applications() == {"isogloss", "other"}
        second = subprocess.run(**cluster.command(), check=False)
        assert second.returncode == 1
        assert "another `isogloss serve` runs on this Ray cluster" in second.stderr
        assert len(replicas_at(url)) == 1
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said.splitlines()[-1]) == (0, "stopping ...")
    assert applications() == {"other"}
    assert cluster.other() == "alive"
    with pytest.raises(ValueError, match="isogloss-board-isogloss"):
        ray.get_actor("isogloss-board-isogloss", namespace="isogloss")


@pytest.mark.soak
def test_a_start_that_is_told_to_stop_leaves_no_process(cluster: Cluster) -> None:
    with subprocess.Popen(**cluster.command(port=0, address="local")) as process:
        assert process.stderr is not None
        while "loading" not in (line := process.stderr.readline()):
            assert line, "it ended"
        started = psutil.Process(process.pid).children(recursive=True)
        assert started
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
        assert process.returncode in (130, 143), said
    assert "Traceback" not in said
    give_up_s = time.monotonic() + 60
    while any(each.is_running() and each.status() != "zombie" for each in started):
        assert time.monotonic() < give_up_s
        time.sleep(0.1)
