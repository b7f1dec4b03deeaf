"""The processes of a server, wherever they have gone: found, weighed and ended.

A server may be many processes (Ray's, HAProxy's), some of which leave its process group and its
parent. All inherit an environment variable with a value of its own: by that they are found again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

MARK = "ISOGLOSS_BENCH_SERVER"
_REPLICA = "ray::ServeReplica:"
_RESET_PEAK = "5"  # proc(5): writing 5 sets the peak resident size to the current one

Role = Literal["replica", "haproxy", "ray"]


def processes(mark: str) -> list[Any]:
    """Processes (psutil's) of the server with this mark, the oldest first."""
    marked = [
        process
        for process in psutil.process_iter()
        if _of(process, "environ", {}).get(MARK) == mark
    ]
    return sorted(marked, key=lambda process: (process.create_time(), process.pid))


def replicas(mark: str) -> list[Any]:
    """Those that hold a replica, by the title that Ray gives them."""
    return [process for process in processes(mark) if role_of(title_of(process)) == "replica"]


def title_of(process: Any) -> str:
    """What a process calls itself; nothing once it has ended."""
    return " ".join(" ".join(_of(process, "cmdline", [])).split())


def role_of(title: str) -> Role:
    """What a process of a server does, by its title."""
    if title.startswith(_REPLICA):
        return "replica"
    return "haproxy" if "haproxy" in title.split(" ")[0].rpartition("/")[2] else "ray"


def cpu_seconds(of: Iterable[Any]) -> float:
    """Processor time that processes have had so far; those that have ended count nothing."""
    times = (_of(process, "cpu_times", None) for process in of)
    return float(sum(each.user + each.system for each in times if each is not None))


def thread_seconds(process: Any) -> dict[int, float]:
    """Processor time that each thread of a process has had so far, by its id."""
    return {each.id: each.user_time + each.system_time for each in _of(process, "threads", [])}


@dataclass
class Spent:
    """Seconds of load, and the processor time that both its sides had in them."""

    seconds: float = 0.0
    client_cpu_s: float = 0.0
    server_cpu_s: float = 0.0

    @contextlib.contextmanager
    def on(self, replicas: Sequence[Any]) -> Iterator[None]:
        """Add what is spent while open, by this process and the server's replicas."""
        began_s, client_s, server_s = self._readings(replicas)
        yield
        now_s, client_now_s, server_now_s = self._readings(replicas)
        self.seconds += now_s - began_s
        self.client_cpu_s += client_now_s - client_s
        self.server_cpu_s += server_now_s - server_s

    @staticmethod
    def _readings(replicas: Sequence[Any]) -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), cpu_seconds(replicas)


def resident_bytes(process: Any) -> int:
    """Memory that a process holds now, shared pages included; 0 once it has ended."""
    held = _of(process, "memory_info", None)
    return 0 if held is None else int(held.rss)


def kill(of: Iterable[Any]) -> None:
    """SIGKILL those that have not ended."""
    for process in of:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def peak_bytes(of: Iterable[Any]) -> int:
    """Memory of processes at their peak so far (Linux).

    What each holds now, pages that several hold shared out between them, and how much more it held
    at its own peak.
    """
    total = 0
    for process in of:
        with contextlib.suppress(psutil.Error, OSError):
            held = process.memory_full_info()
            total += held.pss + max(0, peak_resident_bytes(process.pid) - held.rss)
    return total


def can_reset_peak() -> bool:
    """Whether this system keeps a process's peak and lets it be reset (Linux)."""
    return os.access("/proc/self/clear_refs", os.W_OK)


def reset_peak(pid: int) -> None:
    """From now on the peak is that of the time to come; raises OSError where it cannot be."""
    Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK, encoding="ascii")


def peak_resident_bytes(pid: int) -> int:
    """The most that a process has held (Linux), which psutil does not tell; raises OSError."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def _of(process: Any, what: str, otherwise: Any) -> Any:
    """What psutil says of a process; something else where it ended or is somebody else's."""
    try:
        return getattr(process, what)()
    except psutil.Error:
        return otherwise
