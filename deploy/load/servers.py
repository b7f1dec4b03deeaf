"""Servers of `bench http` as processes: started, asked for their memory, and surely ended.

A server may be many processes (Ray's, HAProxy's), some of which leave its process group and its
parent. All inherit an environment variable with a value of its own: by that they are found again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isogloss.prompts.cluster.import_path import safe_variables
from isogloss.prompts.console.http_client import open_url
from isogloss.prompts.errors import Unavailable
from isogloss.serving.ray.ports import free_port

READY_TIMEOUT_S = 300.0
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.1
_MARK = "ISOGLOSS_BENCH_SERVER"
_PROC = Path("/proc")
_LONGEST_RAY_FOLDER = 40  # sockets in it have paths of up to 107 bytes
_SHOWN_CHARACTERS = 400
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    url: str
    mark: str
    seconds_to_ready: float
    process: subprocess.Popen[bytes]
    """The command, which leads a group of processes."""

    def peak_memory_bytes(self) -> int | None:
        """Memory of all its processes at their peak so far; None where there is no /proc.

        What each holds now, pages that several hold shared out between them, and how much more it
        held at its own peak.
        """
        if not _PROC.is_dir():
            return None
        return sum(_peak_bytes(pid) for pid in processes(self.mark))


@contextlib.contextmanager
def running(
    module: Sequence[str], scratch: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """A server while open, in processes of its own; nothing of it is left behind.

    Args:
        module: arguments of Python; "{port}" stands for the port to listen on.
        scratch: a folder for its log and Ray's files.
        environment: variables it gets besides ours.

    Raises:
        Unavailable: it ended or did not answer `GET /health` in time; with the end of its log.
    """
    mark, port, started_s = uuid.uuid4().hex, free_port("127.0.0.1"), time.monotonic()
    scratch.mkdir(parents=True, exist_ok=True)
    log = scratch / "server.log"
    command = [sys.executable, *(each.replace("{port}", str(port)) for each in module)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**_environment(mark, scratch), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(process, url, log)
        yield Running(url, mark, round(time.monotonic() - started_s, 1), process)
    finally:
        _stop(process, mark)


def processes(mark: str) -> list[int]:
    """Processes of the server with this mark, wherever they have gone."""
    wanted = f"{_MARK}={mark}".encode()
    found = []
    for path in _PROC.glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it ended, or is somebody else's
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _environment(mark: str, scratch: Path) -> dict[str, str]:
    """This process's own, with what a benchmark of several Ray servers needs."""
    own = {_MARK: mark, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}
    own["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    if len(str(scratch)) <= _LONGEST_RAY_FOLDER:
        own["RAY_TMPDIR"] = str(scratch)
    return {**os.environ, **own, **safe_variables(os.environ)}


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    ends_s = time.monotonic() + READY_TIMEOUT_S
    while not _answers(url):
        if process.poll() is not None:
            raise Unavailable(f"the server ended with {process.returncode}: {_end_of(log)}")
        if time.monotonic() > ends_s:
            raise Unavailable(f"no answer within {READY_TIMEOUT_S:.0f} s: {_end_of(log)}")
        time.sleep(_POLL_S)


def _answers(url: str) -> bool:
    try:
        with open_url(f"{url}/health", 5) as reply:
            return bool(reply.status == 200)
    except OSError:  # urllib's errors among them
        return False


def _stop(process: subprocess.Popen[bytes], mark: str) -> None:
    """Ask it to end, and end what does not."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT_S)
    ends_s = time.monotonic() + _STOP_TIMEOUT_S / 3
    while processes(mark) and time.monotonic() < ends_s:
        time.sleep(_POLL_S)
    for pid in processes(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.kill()  # where there is no /proc
    process.wait()
    ends_s = time.monotonic() + _STOP_TIMEOUT_S
    while processes(mark) and time.monotonic() < ends_s:  # killed, but not yet gone
        time.sleep(_POLL_S)


def _end_of(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    return " ".join(text.split())[-_SHOWN_CHARACTERS:] or "it said nothing"


def _peak_bytes(pid: int) -> int:
    folder = _PROC / str(pid)
    try:
        shared_out = _sizes(folder / "smaps_rollup")["Pss"]
        status = _sizes(folder / "status")
    except (OSError, KeyError):  # it ended
        return 0
    return shared_out + max(0, status["VmHWM"] - status["VmRSS"])


def _sizes(path: Path) -> Mapping[str, int]:
    """Fields of a file of /proc that are given in kB, in bytes."""
    found = {}
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            found[words[0].rstrip(":")] = int(words[1]) * _KIB
    return found
