"""Gives memory that a replica has freed back to the system, which the C library would keep.

glibc hands back what lies at the top of its heap alone. A batch's activations lie below kernels
that oneDNN keeps, so that a replica kept the most it ever needed: 0.8 GB of pocket-bloom after
thousands of different batches, 0.5 GB once they were handed back.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

HEAP_INTERVAL_S = 10.0
"""What is handed back is taken again page by page: not after every batch."""
WORTH_BYTES = 64 << 20
"""Beyond what a replica held last when it had nothing to do."""

_SIZES = Path("/proc/self/statm")  # proc(5): pages in all, pages that are resident, ...


class Heap:
    """This process's memory, looked at now and then.

    What is held while there is work may be needed; only what is left without any is the measure of
    the next time.

    Args:
        busy: whether there is work.
        resident: bytes of memory that are held.
        trim: hands back what is free.
    """

    def __init__(
        self,
        busy: Callable[[], bool],
        resident: Callable[[], int] | None = None,
        trim: Callable[[], None] | None = None,
    ) -> None:
        self._busy = busy
        self._resident = resident or resident_bytes
        self._trim = trim or trim_heap
        self._needed_bytes = 0
        self.poll()

    def poll(self) -> None:
        """Hand back what is free, where more is held than was needed."""
        if self._resident() - self._needed_bytes < WORTH_BYTES:
            return
        busy = self._busy()
        self._trim()
        if not busy:
            self._needed_bytes = self._resident()


def resident_bytes() -> int:
    """Memory that this process holds; 0 where the system does not say."""
    try:
        return int(_SIZES.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def trim_heap() -> None:
    """Have the C library hand back all pages that it has free; others' libraries have no way."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
