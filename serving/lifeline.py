"""Notices that the cluster under a server has gone, which Ray's own processes wait a minute for.

A driver without its GCS or its raylet answers nobody and never again will: what is left is to say
so and to end, so that whoever supervises the command starts it anew.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from prompts.errors import Unavailable
from serving.guardian import Guardian
from serving.local_ray import missing_parts

_LOOK_S = 0.5


class Lifeline:
    """Looks after the cluster from a thread, and interrupts the main thread when it has gone."""

    def __init__(
        self, guardian: Guardian, missing: Callable[[], list[str]] = missing_parts
    ) -> None:
        self.problem: str | None = None
        self._guardian = guardian
        self._missing = missing
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lifeline", daemon=True)

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Start the cluster while open; what ends of it from then on is missed."""
        with self._guardian.marking():
            yield
        self._thread.start()

    def close(self) -> None:
        """Look no longer; nobody is interrupted after this."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Do nothing, unless the cluster has gone.

        Raises:
            Unavailable: it has; the message says what of it.
        """
        if self.problem is not None:
            raise Unavailable(self.problem)

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_S):
            self._guardian.revive()
            if missing := self._missing():
                self.problem = (
                    f"the server has lost its Ray cluster ({', '.join(missing)} ended) and cannot "
                    "go on; start it again"
                )
                os.kill(os.getpid(), signal.SIGINT)  # wakes it from whatever it waits for
                return


@contextlib.contextmanager
def lifeline(scratch: Path, stop: Callable[[], None]) -> Iterator[Lifeline]:
    """What a server is started and runs in; nothing of it is left behind.

    Args:
        scratch: a folder of the server's alone, which goes with it.
        stop: ends the server in good order; where that takes too long for whoever asks a second
            time, or where the cluster goes meanwhile, the server is ended without order.

    Raises:
        Unavailable: the server has lost its cluster.
    """
    guardian = Guardian(scratch)
    line = Lifeline(guardian)
    try:
        yield line
    except KeyboardInterrupt:
        line.check()
        raise
    finally:
        if line.problem is None:
            with contextlib.suppress(KeyboardInterrupt):
                stop()
        line.close()
        guardian.close()
