"""Notices that the cluster under a server has gone, which Ray's own processes wait a minute for.

A driver without its GCS or its raylet answers nobody and never again will: what is left is to say
so and to end, so that whoever supervises the command starts it anew.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from isogloss.prompts.cluster.loss import abandon, leave, missing_parts, patience_s
from isogloss.prompts.errors import Unavailable
from isogloss.serving.ray.reaper import Reaper

_POLL_S = 0.5
_STOP_S = 12.0
"""How long stopping may take: replicas are given ten seconds for what they have begun."""
_LEAVE_S = 2.5
"""How long the main thread may take to leave; it may be in C code that nobody interrupts."""


class ClusterWatch:
    """Polls the cluster from a thread, and interrupts the main thread when it has gone."""

    def __init__(
        self,
        reaper: Reaper,
        missing: Callable[[], list[str]] = missing_parts,
        patience: Callable[[], float] = patience_s,
    ) -> None:
        self.problem: str | None = None
        self.cut_short = False
        """Whether the server was asked to stop, and could not in order."""
        self._asked_s: float | None = None
        self._reaper = reaper
        self._missing = missing
        self._patience = patience
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="cluster-watch", daemon=True)

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Start the cluster while open; what ends of it from then on is missed."""
        with self._reaper.marking():
            yield
        self._thread.start()

    @contextlib.contextmanager
    def until_asked(self) -> Iterator[None]:
        """Serve while open; a cluster that goes later than that does what was asked for."""
        try:
            yield
        finally:
            if self.problem is None:
                self._asked_s = time.monotonic()

    def close(self) -> None:
        """Poll no longer; nobody is interrupted after this."""
        self._closed.set()
        with contextlib.suppress(KeyboardInterrupt):  # its own, just before
            if self._thread.is_alive():
                self._thread.join()

    def check(self) -> None:
        """Do nothing, unless the cluster has gone.

        Raises:
            Unavailable: it has; the message says what of it.
        """
        if self.problem is not None:
            raise Unavailable(self.problem)

    def _poll(self) -> None:
        """Whoever ends all processes at once ends this one too: it is given time to hear of it."""
        since_s: float | None = None
        while not self._closed.wait(_POLL_S):
            self._reaper.revive()
            missing = self._missing()
            if not missing:
                since_s = None
            elif since_s is None:
                since_s = time.monotonic()
            if _passed(since_s, self._patience()) or _passed(self._asked_s, _STOP_S):
                self._interrupt(missing)
                if not self._closed.wait(_LEAVE_S):
                    self._leave()
                return

    def _interrupt(self, missing: Sequence[str]) -> None:
        if self._asked_s is not None:
            self.cut_short = True
        else:
            self.problem = (
                f"the server has lost its Ray cluster ({' and '.join(missing)} ended) and cannot "
                "go on; start it again"
            )
        os.kill(os.getpid(), signal.SIGINT)  # wakes the main thread from whatever it waits for

    def _leave(self) -> None:
        """End this process with nothing left behind, as the main thread would."""
        self._reaper.close()
        if self.problem is not None:
            print(f"error: {self.problem}", file=sys.stderr)
        leave(0 if self.problem is None else 1)


def _passed(since_s: float | None, limit_s: float) -> bool:
    return since_s is not None and time.monotonic() - since_s >= limit_s


@contextlib.contextmanager
def watched(scratch: Path, last_command: Sequence[str] = ()) -> Iterator[ClusterWatch]:
    """What a server is started, runs and is stopped in; nothing of it is left behind.

    Where the cluster goes while the server stops, where that takes too long, or whoever asked asks
    a second time, stopping is interrupted, and the rest ends without order.

    Args:
        scratch: a folder of the server's alone, which goes with it.
        last_command: a command to run where this process is killed and could not stop anything: for
            what is on a cluster of others.

    Raises:
        Unavailable: the server has lost its cluster.
        KeyboardInterrupt: it was told to stop.
    """
    reaper = Reaper(scratch, last_command)
    watch = ClusterWatch(reaper)
    try:
        yield watch
    except KeyboardInterrupt:
        watch.check()
        raise
    finally:
        watch.close()
        reaper.close()
        if watch.cut_short:
            abandon(0)
