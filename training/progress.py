"""What a person sees while training and evaluating: bars on standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from training.config import TrainingConfig
from training.loop import EpochRecord


class _Bars:
    """A rich progress display as a context; it appears with its first bar."""

    def __init__(self, *columns: str, unit: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn(unit),
            *(TextColumn(column, markup=False) for column in columns),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> Self:
        return self

    def _add(self, description: str, total: int, completed: int = 0, **fields: Any) -> TaskID:
        # Not earlier: an error in the data should be the only line on standard error.
        self._progress.start()
        return self._progress.add_task(description, total=total, completed=completed, **fields)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress.tasks:
            self._progress.stop()


class TrainingBars(_Bars):
    """One bar a seed: epoch, live loss, dev accuracy now and at its best, time left."""

    def __init__(self) -> None:
        super().__init__("loss {task.fields[loss]}", "dev {task.fields[dev]}", unit="epochs")
        self._task: TaskID | None = None
        self._steps = 1
        self._best = 0.0

    def run(
        self, name: str, config: TrainingConfig, train: int, dev: int, first_epoch: int
    ) -> None:
        """Show a new bar."""
        self._steps = -(-train // config.batch_size)
        self._best = 0.0
        self._task = self._add(
            f"seed {config.seed}", config.epochs, first_epoch - 1, loss="-", dev="-"
        )

    def step(self, epoch: int, loss: float) -> None:
        """Move by one batch."""
        if self._task is not None:
            self._progress.update(self._task, advance=1 / self._steps, loss=f"{loss:.3f}")

    def epoch(self, record: EpochRecord) -> None:
        """Show the dev accuracy, and whole epochs again."""
        if self._task is not None:
            self._best = max(self._best, record.dev_accuracy)
            shown = f"{record.dev_accuracy:.1%} (best {self._best:.1%})"
            self._progress.update(self._task, completed=record.epoch, dev=shown)


class EvaluationBar(_Bars):
    """One bar: languages done, time left."""

    def __init__(self) -> None:
        super().__init__(unit="languages")
        self._task: TaskID | None = None

    def language(self, code: str, done: int, total: int, kept: bool) -> None:
        """Move by one language."""
        if self._task is None:
            self._task = self._add("", total)
        said = f"{code} (kept)" if kept else code
        self._progress.update(self._task, completed=done, description=said)
