"""Sees to it that nothing of a server outlives the command that started it, however that ends.

Ray's own processes end with their parent, but not what they started in turn: HAProxy of a command
that was killed holds the port for ever. A small process in a session of its own, so that no signal
to the command's group reaches it, waits until the command is gone: then its pipe ends. Everything
the server consists of carries an environment variable whose value is the server's alone; by that it
is found, and never by a name that other people's Ray has as well.

The file is run as it is, by path and without the project: it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

MARK_VARIABLE = "ISOGLOSS_SERVER"
_GOOD_ORDER = b"."
_PROC = Path("/proc")
_PATIENCE_S = 30.0
_POLL_S = 0.05
_DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Supervisors send these to every process of a service; the reaper has to be the last to end."""
_EMPTY_POLLS = 2
"""One that forks and ends while it is looked for shows its child at the next poll."""


class Reaper:
    """The command's end of it."""

    def __init__(self, folder: Path, last_command: Sequence[str] = ()) -> None:
        """Start watching over this process.

        Args:
            folder: of the server alone; it goes when everything else has gone.
            last_command: a command to run if this process ends without having closed the reaper.
        """
        self.mark = uuid.uuid4().hex
        self._folder = folder
        self._last_command = last_command
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-S", __file__, self.mark, str(self._folder)]
        command += self._last_command
        # It inherits what is blocked here, so that no signal ends it before it ignores them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _DEAF_TO)
        try:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @contextlib.contextmanager
    def marking(self) -> Iterator[None]:
        """While open, what this process starts is of the server."""
        before = os.environ.get(MARK_VARIABLE)
        os.environ[MARK_VARIABLE] = self.mark
        try:
            yield
        finally:
            del os.environ[MARK_VARIABLE]
            if before is not None:
                os.environ[MARK_VARIABLE] = before

    def revive(self) -> None:
        """Start the process again if somebody has ended it."""
        if self._process.poll() is not None:
            self._close_pipe()
            self._process = self._start()

    def close(self) -> None:
        """End whatever is left of the server now, and wait until it has ended."""
        self.revive()
        self._close_pipe(_GOOD_ORDER)
        self._process.wait()

    def _close_pipe(self, last_word: bytes = b"") -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):
            pipe.write(last_word)
            pipe.close()


def processes(mark: str) -> set[int]:
    """The processes that carry a mark, and what they have started.

    A long title that a process gives itself is written over its first variables.
    """
    found = {pid for pid in _all_processes() if _carries(pid, mark)}
    children: dict[int, list[int]] = {}
    for pid in _all_processes():
        children.setdefault(_parent(pid), []).append(pid)
    waiting = list(found)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def _all_processes() -> list[int]:
    return [int(path.name) for path in _PROC.glob("[0-9]*")]


def _carries(pid: int, mark: str) -> bool:
    try:
        variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is somebody else's
        return False
    return f"{MARK_VARIABLE}={mark}".encode() in variables


def _parent(pid: int) -> int:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def end_all(mark: str) -> None:
    """SIGKILL, until there is nobody left or half a minute is over."""
    ends_s, empty = time.monotonic() + _PATIENCE_S, 0
    while empty < _EMPTY_POLLS and time.monotonic() < ends_s:
        found = processes(mark) - {os.getpid()}
        empty = 0 if found else empty + 1
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def main(mark: str, folder: str, *last_command: str) -> None:
    """Wait until the command is gone, then end what is left of its server."""
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _DEAF_TO)
    said = sys.stdin.buffer.read()
    end_all(mark)
    if last_command and said != _GOOD_ORDER:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(last_command, check=False, timeout=_PATIENCE_S, stdin=subprocess.DEVNULL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
