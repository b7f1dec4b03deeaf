"""Load on an HTTP server: a closed loop of so many connections, from a client that costs little.

Each connection sends its next request when the answer to the last one is there. The client is wrk,
for one in Python would take as much of the processor as the servers that are measured; that one is
there for machines without wrk, and a report says which it was.
"""

from __future__ import annotations

import http.client
import json
import math
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from isogloss.prompts.errors import Unavailable

Client = Literal["wrk", "python"]

_SCRIPT = Path(__file__).with_suffix(".lua")
_SHOWN = "LOAD "
_PATIENCE_S = 600  # of the client with one answer: servers are waited for, however slow


@dataclass(frozen=True, slots=True)
class Load:
    """What one closed loop measured."""

    replies: int
    """Answers, whatever their status."""
    refused: int
    """Those whose status was not 200."""
    broken: int
    """Connections that failed, and answers that did not come."""
    first: int
    """Replies at the beginning that are no part of the rate: one for each connection."""
    seconds: float
    """From the last of those to the last reply."""
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def requests_per_s(self) -> float:
        """Requests answered a second while all connections were busy.

        Counted from reply to reply: whole batches, also where there are few of them.
        """
        return (self.replies - self.first) / self.seconds


def check_client(client: Client) -> None:
    """Find out before a server is started that there is no client.

    Raises:
        Unavailable: wrk was asked for and is not installed.
    """
    if client == "wrk" and shutil.which("wrk") is None:
        raise Unavailable(
            "wrk, the load client, is not installed; install it (apt install wrk), or take "
            "--client python, which costs the servers much of the processor"
        )


def closed_loop(
    url: str, bodies: Path, connections: int, seconds: float, client: Client = "wrk"
) -> Load:
    """Send the bodies in turn over and over for some time.

    Args:
        url: of the route.
        bodies: a file with one JSON body a line.
        connections: requests under way at any time.
        seconds: of the whole loop.
        client: what sends them.

    Raises:
        Unavailable: the client failed, or too few answers came for a rate.
    """
    run = _wrk if client == "wrk" else _python
    load = run(url, bodies, connections, seconds)
    if load.replies <= load.first or load.seconds <= 0:
        raise Unavailable(
            f"{url}: {load.replies} answers to {connections} connections in {seconds:.0f} s are "
            "too few for a rate; give more --seconds, or fewer connections with --concurrency"
        )
    return load


def parse_wrk(output: str) -> Load:
    """What wrk and our script print -> what was measured.

    Raises:
        Unavailable: our script's line is not there.
    """
    for line in output.splitlines():
        if line.startswith(_SHOWN):
            return Load(**json.loads(line.removeprefix(_SHOWN)))
    raise Unavailable(f"wrk ended without a result: {' '.join(output.split())[-300:]}")


def _wrk(url: str, bodies: Path, connections: int, seconds: float) -> Load:
    loop = ["-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", f"--timeout={_PATIENCE_S}s"]
    path = urlsplit(url).path
    command = ["wrk", *loop, "-s", str(_SCRIPT), url, "--", path, str(bodies), str(connections)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=seconds + _PATIENCE_S
    )
    return parse_wrk(done.stdout + done.stderr)


def _python(url: str, bodies: Path, connections: int, seconds: float) -> Load:
    """The same loop, a thread for each connection."""
    turns, ended_s = cycle(bodies.read_bytes().splitlines()), time.perf_counter() + seconds
    lock = threading.Lock()
    replies: list[tuple[float, float, int]] = []  # when it came, how long it took, status

    def next_body() -> bytes | None:
        with lock:
            return next(turns) if time.perf_counter() < ended_s else None

    def note(came_s: float, took_s: float, status: int) -> None:
        with lock:
            replies.append((came_s, took_s, status))

    threads = [
        threading.Thread(target=_connection, args=(url, next_body, note), daemon=True)
        for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _load_of(replies, connections)


def _connection(
    url: str,
    next_body: Callable[[], bytes | None],
    note: Callable[[float, float, int], None],
) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=_PATIENCE_S)
    try:
        while (body := next_body()) is not None:
            begun_s = time.perf_counter()
            try:
                connection.request("POST", parts.path, body, {"content-type": "application/json"})
                reply = connection.getresponse()
                reply.read()
                status = reply.status
            except (OSError, http.client.HTTPException):
                connection.close()  # the next request opens it again
                status = 0
            came_s = time.perf_counter()
            note(came_s, came_s - begun_s, status)
    finally:
        connection.close()


def _load_of(replies: Sequence[tuple[float, float, int]], connections: int) -> Load:
    came = sorted(reply[0] for reply in replies)
    took = sorted(reply[1] for reply in replies)
    statuses = [reply[2] for reply in replies]
    return Load(
        replies=len(replies),
        refused=sum(status not in (0, 200) for status in statuses),
        broken=statuses.count(0),
        first=connections,
        seconds=came[-1] - came[connections - 1] if len(came) > connections else 0.0,
        p50_ms=_percentile(took, 50),
        p95_ms=_percentile(took, 95),
        p99_ms=_percentile(took, 99),
    )


def _percentile(ascending: Sequence[float], percent: int) -> float:
    """In milliseconds; the smallest value that so many per cent do not exceed."""
    if not ascending:
        return math.nan
    place = math.ceil(len(ascending) * percent / 100) - 1
    return round(1000 * ascending[max(0, place)], 3)
