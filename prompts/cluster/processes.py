"""Processes below this one, as /proc knows them; where there is no /proc there are none."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process; its number may be another's later, its number and start may not."""

    pid: int
    started: str


def children() -> set[Process]:
    """The processes that this one started and that have not ended."""
    return {process for process, parent in _running().items() if parent == os.getpid()}


def below(roots: set[Process]) -> set[Process]:
    """These and all that they started, directly or not, as far as they still run."""
    parents = _running()
    running = roots & set(parents)
    while more := {each for each, parent in parents.items() if parent in _pids(running)} - running:
        running |= more
    return running


def end(processes: set[Process]) -> None:
    """Kill those that still run."""
    for process in processes & set(_running()):
        with contextlib.suppress(OSError):  # it ended meanwhile
            os.kill(process.pid, signal.SIGKILL)


def end_children() -> None:
    """Kill all that this process started, directly or not."""
    end(below(children()))


def _pids(processes: set[Process]) -> set[int]:
    return {process.pid for process in processes}


def _running() -> dict[Process, int]:
    """Every process that runs, with its parent."""
    parents = {}
    for path in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name, which may hold anything: state, parent, ..., start (22nd of all).
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[Process(int(path.parent.name), fields[19])] = int(fields[1])
    return parents
