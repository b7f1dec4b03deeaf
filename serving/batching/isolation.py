"""Getting answers out of a batch that fails: pure, whatever runs the rows.

A batch that fails is cut in half, and each half is run again, until the rows that cannot be
answered stand alone: n rows cost about 2 log2(n) more runs for each such row. A batch that needs
more memory than there is is cut the same way, and no later piece is larger than what was too large.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from isogloss.prompts.errors import IsoglossError, Unavailable

Work = TypeVar("Work")
Done = TypeVar("Done")
Run = Callable[[Sequence[Work]], Sequence[Done | IsoglossError]]

MOST_FAILED_RUNS = 32
"""After so many it is not the rows: the rest is failed without being run."""
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory")


class BatchFailed(IsoglossError):
    """The model failed unexpectedly on a row, or on every row: whoever waits for it is told so."""


class TextTooLargeForMemory(Unavailable):
    """One text alone needs more memory than there is."""


@dataclass(frozen=True)
class Outcome(Generic[Done]):
    """Each row's result or error, in order, and what went wrong on the way."""

    results: list[Done | IsoglossError]
    failures: list[BaseException] = field(default_factory=list)
    """One for each run that failed, in order of time."""
    too_many_rows: int | None = None
    """The smallest number of rows that the memory did not suffice for; None: it did."""


def isolate(
    run: Run[Work, Done],
    rows: Sequence[Work],
    error: BaseException,
    free_memory: Callable[[], None],
) -> Outcome[Done]:
    """Find out which rows of a batch that failed can be answered.

    Args:
        run: answers every row with its result, or with the error that concerns it alone.
        rows: of the batch.
        error: what running them together failed with.
        free_memory: called before rows that memory did not suffice for are run again.
    """
    return _Isolation(run, rows, free_memory).outcome(error)


class _Isolation(Generic[Work, Done]):
    """One batch being taken apart."""

    def __init__(
        self, run: Run[Work, Done], rows: Sequence[Work], free_memory: Callable[[], None]
    ) -> None:
        self._run = run
        self._rows = rows
        self._free_memory = free_memory
        self._pieces: deque[range] = deque()
        self._results: dict[int, Done | IsoglossError] = {}
        self._failures: list[BaseException] = []
        self._too_many: int | None = None

    def outcome(self, error: BaseException) -> Outcome[Done]:
        self._fail(range(len(self._rows)), error)
        while self._pieces:
            piece = self._pieces.popleft()
            if self._too_many is not None and len(piece) >= self._too_many > 1:
                self._halve(piece)
            else:
                self._try(piece)
        results = [self._results[i] for i in range(len(self._rows))]
        return Outcome(results, self._failures, self._too_many)

    def _try(self, piece: range) -> None:
        try:
            results = self._run([self._rows[i] for i in piece])
            self._results.update(zip(piece, results, strict=True))
        # A panic of a library written in Rust is no Exception, and its rows want an answer too.
        except BaseException as error:
            self._fail(piece, error)

    def _fail(self, piece: range, error: BaseException) -> None:
        self._failures.append(error)
        if is_out_of_memory(error):
            self._too_many = len(piece)  # never larger than the one before
            self._free_memory()
        if len(self._failures) >= MOST_FAILED_RUNS:
            self._give_up(piece, error)
        elif len(piece) > 1:
            self._halve(piece)
        else:
            self._results[piece[0]] = _answer(error)

    def _halve(self, piece: range) -> None:
        middle = len(piece) // 2
        self._pieces.extendleft((piece[middle:], piece[:middle]))

    def _give_up(self, piece: range, error: BaseException) -> None:
        """Answer all that is left with what failed last."""
        for left in (piece, *self._pieces):
            self._results.update(dict.fromkeys(left, _answer(error)))
        self._pieces.clear()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice, on a GPU or on the host."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(each in words for each in _MEMORY_WORDS)


def _answer(error: BaseException) -> IsoglossError:
    """What whoever waits for a row is told; details are for the log."""
    if isinstance(error, IsoglossError):
        return error
    if is_out_of_memory(error):
        return TextTooLargeForMemory(
            "the model ran out of memory on this text alone; send a shorter one, or try again"
        )
    failed = BatchFailed(
        f"the model failed ({type(error).__name__}); the server's log has the details; try again"
    )
    failed.__cause__ = error
    return failed
