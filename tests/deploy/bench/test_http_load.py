"""The client and the servers of `bench http` as processes: bodies in turn, nothing left behind."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from isogloss.deploy.bench import commands
from isogloss.deploy.bench.http_load import check_client, closed_loop, parse_wrk
from isogloss.deploy.load import servers as http_servers
from isogloss.deploy.load.processes import processes
from isogloss.deploy.load.servers import running
from isogloss.prompts.errors import Unavailable

WRK = (
    "Running 1s test @ http://127.0.0.1:1/classify\n"
    'LOAD {"replies": 110, "refused": 1, "broken": 2, "first": 10, "seconds": 0.500000, '
    '"p50_ms": 1.500, "p95_ms": 2.000, "p99_ms": 3.250}\n'
)


def test_a_result_of_wrk_is_read() -> None:
    load = parse_wrk(WRK)
    assert (load.replies, load.refused, load.broken, load.first) == (110, 1, 2, 10)
    assert load.requests_per_s == 200
    assert (load.p50_ms, load.p95_ms, load.p99_ms) == (1.5, 2.0, 3.25)
    with pytest.raises(Unavailable, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_no_wrk_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    check_client("python")
    with pytest.raises(Unavailable, match=r"apt install wrk.*--client python"):
        check_client("wrk")
    result = CliRunner().invoke(commands.app, ["http", "--model", "pocket-bloom"])
    assert result.exit_code == 1
    assert "apt install wrk" in result.stderr


class Echo(BaseHTTPRequestHandler):
    """Answers 200, or what a body asks for."""

    protocol_version = "HTTP/1.1"
    seen: list[Any]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append((self.path, body))
        self.send_response(body.get("status", 200))
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    Echo.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/there"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("client", ["wrk", "python"])
def test_a_closed_loop_sends_the_bodies_in_turn(client: Any, echo: str, tmp_path: Path) -> None:
    try:
        check_client(client)
    except Unavailable:
        pytest.skip("wrk is not installed")
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text('{"n": 1}\n{"n": 2, "status": 503}\n{"n": 3}\n{"n": 4}\n')
    load = closed_loop(echo, bodies, 2, 1, client)
    assert load.first == 2
    assert load.replies > 8
    assert load.refused == pytest.approx(load.replies / 4, abs=2)
    assert load.broken == 0
    assert 0 < load.p50_ms <= load.p95_ms <= load.p99_ms < 1000
    assert 0 < load.seconds < 1.5
    assert {path for path, _ in Echo.seen} == {"/there"}
    counts = [sum(body["n"] == n for _, body in Echo.seen) for n in (1, 2, 3, 4)]
    assert max(counts) - min(counts) <= 2


def test_too_few_answers_are_no_rate(tmp_path: Path) -> None:
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text("{}\n")
    with pytest.raises(Unavailable, match="too few for a rate"):
        closed_loop("http://127.0.0.1:9/there", bodies, 2, 0, "python")


SERVER = """
import http.server, os, subprocess, sys
class Fine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
if len(sys.argv) > 2: sys.exit("the reason why")
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Fine).serve_forever()
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_nothing_of_a_server_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_servers, "_STOP_TIMEOUT_S", 1.0)
    marks = []

    def interrupted() -> None:
        with running(["-c", SERVER, "{port}"], tmp_path) as server:
            assert len(processes(server.mark)) == 2
            assert (server.peak_memory_bytes() or 0) > 1 << 20
            marks.append(server.mark)
            raise KeyboardInterrupt  # what Ctrl-C does in the middle of a measurement

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert processes(marks[0]) == []


def test_a_server_that_ends_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with (
        pytest.raises(Unavailable, match="ended with 1: the reason why"),
        running(["-c", SERVER, "{port}", "fail"], tmp_path),
    ):
        pytest.fail("it never ran")
