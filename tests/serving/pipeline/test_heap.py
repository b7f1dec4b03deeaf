"""When freed memory is handed back, and that it is."""

from __future__ import annotations

import sys

import pytest

from isogloss.serving.pipeline.heap import WORTH_BYTES, Heap, resident_bytes, trim_heap

_MIB = 1 << 20


class Process:
    """One whose memory is what a test says."""

    def __init__(self) -> None:
        self.needed, self.free, self.busy, self.trims = 300 * _MIB, 200 * _MIB, False, 0
        self.heap = Heap(lambda: self.busy, lambda: self.needed + self.free, self._trim)

    def _trim(self) -> None:
        self.free, self.trims = 0, self.trims + 1


def test_what_a_start_has_freed_is_handed_back() -> None:
    process = Process()
    assert (process.free, process.trims) == (0, 1)


def test_a_little_is_kept_for_the_next_batch() -> None:
    process = Process()
    process.free = WORTH_BYTES - 1
    process.heap.poll()
    assert process.trims == 1
    process.free += 1
    process.heap.poll()
    assert (process.free, process.trims) == (0, 2)


def test_what_is_needed_for_good_is_no_reason_to_try_again() -> None:
    process = Process()
    process.needed += WORTH_BYTES
    process.heap.poll()
    process.heap.poll()
    assert process.trims == 2


def test_what_work_under_way_holds_is_handed_back_after_it() -> None:
    process = Process()
    process.needed, process.busy = process.needed + WORTH_BYTES, True
    process.heap.poll()
    process.needed, process.free, process.busy = process.needed - WORTH_BYTES, WORTH_BYTES, False
    process.heap.poll()
    assert (process.free, process.trims) == (0, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and glibc")
def test_pages_below_the_top_of_the_heap_are_handed_back() -> None:
    blocks = [bytearray(b"x" * (100 << 10)) for _ in range(2000)]
    held = resident_bytes()
    last = blocks.pop()  # at the top: what lies below cannot go by itself
    blocks.clear()
    trim_heap()
    assert held - resident_bytes() > 150 * _MIB
    assert last
