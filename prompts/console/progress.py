"""A bar on standard error for long work on rows, where somebody is there to see it."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class RowsBar:
    """How much is done, how fast, and how long it will take; a context."""

    def __init__(
        self,
        total: int,
        rows: int = 0,
        *,
        console: Console | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            TextColumn("{task.fields[said]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._total = total
        self._first = rows
        self._now_s = now_s
        self._began_s = now_s()
        self._task = self._progress.add_task("", total=total or None, said=f"{rows:,} rows")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def moved(self, rows: int, done: int) -> None:
        """Show that so many rows are done, those of an earlier run among them.

        Args:
            rows: so far.
            done: so much of the total.
        """
        spent_s = max(1e-9, self._now_s() - self._began_s)
        said = f"{rows:,} rows, {(rows - self._first) / spent_s:,.0f} rows/s"
        self._progress.update(self._task, completed=done, said=said)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
