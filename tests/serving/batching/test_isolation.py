"""A failing batch taken apart: which rows are answered, and in how many runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from isogloss.prompts.errors import InvalidInput, IsoglossError
from isogloss.serving.batching.batcher import run_isolating
from isogloss.serving.batching.isolation import (
    MOST_FAILED_RUNS,
    BatchFailed,
    TextTooLargeForMemory,
    is_out_of_memory,
)


class RustPanic(BaseException):
    """As libraries written in Rust raise it: no Exception."""


class Model:
    """Squares numbers; fails on some, and on more of them than its memory holds."""

    def __init__(
        self,
        poisoned: Sequence[int] = (),
        holds: int = 1000,
        error: BaseException | None = None,
    ) -> None:
        self.poisoned = set(poisoned)
        self.holds = holds
        self.error = error or ValueError("poison")
        self.runs: list[int] = []
        self.freed = 0

    def __call__(self, rows: Sequence[int]) -> list[int | IsoglossError]:
        self.runs.append(len(rows))
        if len(rows) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        if self.poisoned & set(rows):
            raise self.error
        return [row * row for row in rows]

    def free(self) -> None:
        self.freed += 1


@pytest.mark.parametrize("poisoned", [[], [0], [63], [31, 32], [5, 6, 7], list(range(0, 64, 16))])
def test_poisoned_rows_fail_alone_in_few_runs(poisoned: list[int]) -> None:
    model = Model(poisoned)
    outcome = run_isolating(model, range(64))
    failed = [row for row, result in enumerate(outcome.results) if isinstance(result, BatchFailed)]
    assert failed == poisoned
    for row in set(range(64)) - set(poisoned):
        assert outcome.results[row] == row * row
    assert len(model.runs) <= 1 + 2 * len(poisoned) * math.log2(64)
    assert outcome.too_many_rows is None


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: device-side assert"), RustPanic("index out of bounds")]
)
def test_when_every_row_fails_all_are_told_after_a_few_runs(error: BaseException) -> None:
    model = Model(range(256), error=error)
    results = run_isolating(model, range(256)).results
    assert all(isinstance(result, BatchFailed) for result in results)
    assert len(results) == 256
    assert len(model.runs) == MOST_FAILED_RUNS
    assert type(error).__name__ in str(results[0])
    assert str(error) not in str(results[0])  # details are for the log


def test_an_error_on_purpose_is_passed_on_as_it_is() -> None:
    refusal = InvalidInput("no tokens")
    outcome = run_isolating(Model([3], error=refusal), range(8))
    assert outcome.results == [0, 1, 4, refusal, 16, 25, 36, 49]


@pytest.mark.parametrize(
    ("rows", "holds", "runs"),
    [
        (8, 8, [8]),
        (8, 4, [8, 4, 4]),
        (8, 3, [8, 4, 2, 2, 2, 2]),  # the second half is not tried whole: four were too many
        (7, 3, [7, 3, 4, 2, 2]),
        (5, 1, [5, 2, 1, 1, 1, 1, 1]),
    ],
)
def test_want_of_memory_halves_the_batch_and_goes_on(
    rows: int, holds: int, runs: list[int]
) -> None:
    model = Model(holds=holds)
    outcome = run_isolating(model, range(rows), model.free)
    assert outcome.results == [row * row for row in range(rows)]
    assert model.runs == runs
    assert model.freed == len(outcome.failures) == sum(run > holds for run in runs)


def test_a_text_too_large_for_the_memory_alone_is_said_to_be() -> None:
    outcome = run_isolating(Model(holds=0), range(3))
    assert all(isinstance(result, TextTooLargeForMemory) for result in outcome.results)
    assert outcome.too_many_rows == 1


def test_poison_and_want_of_memory_together() -> None:
    model = Model([9], holds=4)
    outcome = run_isolating(model, range(16))
    assert [isinstance(result, BatchFailed) for result in outcome.results].index(True) == 9
    assert sum(isinstance(result, int) for result in outcome.results) == 15
    assert max(model.runs[2:]) <= 8


def test_a_wrong_number_of_results_is_a_failure() -> None:
    def short(rows: Sequence[int]) -> list[int | IsoglossError]:
        return [row for row in rows if row != 2]

    results = run_isolating(short, range(4)).results
    assert [isinstance(result, BatchFailed) for result in results] == [False, False, True, False]


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate "
                      "memory: you tried to allocate 4398046511104 bytes."), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("out of memory"), False),
    ],
)  # fmt: skip
def test_what_want_of_memory_looks_like(error: Exception, memory: bool) -> None:
    assert is_out_of_memory(error) is memory


def test_torch_says_it_so_on_this_machine() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(1 << 48)
    assert is_out_of_memory(failed.value)
