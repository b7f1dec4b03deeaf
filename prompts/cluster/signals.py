"""SIGINT and SIGTERM while Ray is at work: it takes handlers over, and may not come back for long.

A handler of Python's runs when the main thread is back from the C code it is in. Ray's may stay
there for minutes, so a second thread, which the signal wakes at once, watches the clock.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_STOPS = (signal.SIGINT, signal.SIGTERM)
_KILLED = 128  # what shells add to a signal's number


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Put back the handlers that were there, also where C code has put its own in their place."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # Python cannot name one that is not its own
                signal.signal(number, handler)


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Let a SIGTERM that would kill this process at once leave through every `finally` instead."""
    with handlers_kept():
        if _is_main() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _exit)
        yield


@contextlib.contextmanager
def ended_within(limit_s: float, last: Callable[[], None] = lambda: None) -> Iterator[None]:
    """End this process by force where it is still in here so long after SIGINT or SIGTERM.

    Args:
        limit_s: how long what hears the signal may take.
        last: done before the process is ended.
    """
    if not _is_main():
        yield
        return
    left = threading.Event()
    heard, woken = socket.socketpair()
    woken.setblocking(False)
    before = signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        if (number := _first_stop(heard, before)) and not left.wait(limit_s):
            last()
            os._exit(_KILLED + number)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        woken.close()  # ends the watcher's waiting
        watcher.join()
        heard.close()


def _first_stop(heard: socket.socket, others: int) -> int | None:
    """Wait for one of our signals, or for the end; whoever listened before us hears them all."""
    while numbers := heard.recv(1):
        if others != -1:
            with contextlib.suppress(OSError):
                os.write(others, numbers)
        if numbers[0] in _STOPS:
            return numbers[0]
    return None


def _exit(number: int, _frame: FrameType | None) -> Any:
    raise SystemExit(_KILLED + number)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
