"""Load on an HTTP server: a closed loop of so many connections, from a client that costs little.

Each connection sends its next request when the answer to the last one is there. The client is wrk,
for one in Python would take as much of the processor as the servers that are measured; that one is
there for machines without wrk, and a report says which it was.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from isogloss.deploy.bench.settings import Client
from isogloss.deploy.load.clients import ClosedLoop, Question
from isogloss.deploy.load.tally import NO_ANSWER, Tally, percentiles_ms
from isogloss.deploy.load.wire import request_bytes
from isogloss.prompts.errors import Unavailable

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
    """The same loop, from one process of Python."""
    parts = urlsplit(url)
    headers = {"content-type": "application/json"}
    questions = [
        Question(request_bytes("POST", parts.path, body, headers), ())
        for body in bodies.read_bytes().splitlines()
    ]
    tally = Tally()
    loop = ClosedLoop(url, questions, connections, tally)
    asyncio.run(loop.for_seconds(seconds))
    came_s = sorted(itertools.chain.from_iterable(tally.came_s.values()))
    took = percentiles_ms(itertools.chain.from_iterable(tally.took_s.values()))
    broken = tally.statuses[NO_ANSWER]
    return Load(
        replies=tally.sent,
        refused=tally.sent - tally.statuses[200] - broken,
        broken=broken,
        first=connections,
        seconds=came_s[-1] - came_s[connections - 1] if len(came_s) > connections else 0.0,
        p50_ms=took["p50"],
        p95_ms=took["p95"],
        p99_ms=took["p99"],
    )
