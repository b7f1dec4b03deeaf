"""What a person sees while training and evaluating: bars on standard error."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
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

from isogloss.training.tuning.prompt_trainer import EpochRecord, PromptTrainer


class _Bars:
    """A rich progress display as a context; it appears with its first bar."""

    def __init__(self, *columns: str, unit: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn(unit, markup=False),
            *(TextColumn(column, markup=False) for column in columns),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> Self:
        return self

    def _add(self, description: str, total: int, completed: float = 0, **fields: Any) -> TaskID:
        # Not earlier: an error in the data should be the only line on standard error.
        self._progress.start()
        task = self._progress.add_task(description, total=total, **fields)
        self._progress.update(task, completed=completed)
        return task

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress.tasks:
            self._progress.stop()


class TrainingBars(_Bars):
    """A bar a population: epochs of all its prompts, live loss, dev accuracy now and at its best.

    Losses and accuracies are means over the prompts that are still training. Texts that are being
    encoded have a bar of their own.
    """

    def __init__(self) -> None:
        super().__init__("{task.fields[said]}", unit="{task.fields[unit]}")
        self._encoding: TaskID | None = None
        self._task: TaskID | None = None
        self._workers: TaskID | None = None
        self._prompts: Sequence[PromptTrainer] = ()
        self._losses: dict[int, float] = {}

    def encoded(self, done: int, total: int) -> None:
        """Move by some texts."""
        if self._encoding is None:
            self._encoding = self._add("encoding", total, said="", unit="texts")
        self._progress.update(self._encoding, completed=done, total=total)
        if done == total:
            self._progress.remove_task(self._encoding)
            self._encoding = None

    def started(self, prompts: Sequence[PromptTrainer]) -> None:
        """Show a new bar."""
        self._prompts, self._losses = prompts, {}
        what = f"seed {prompts[0].config.seed}" if len(prompts) == 1 else f"{len(prompts)} prompts"
        total = sum(prompt.config.epochs for prompt in prompts)
        self._task = self._add(what, total, self._done(), said="", unit="epochs")

    def step(self, prompt: int, epoch: int, loss: float) -> None:
        """Move by one batch."""
        self._losses[prompt] = loss
        if self._task is not None and len(self._losses) == self._training():
            self._progress.update(self._task, completed=self._done(), said=self._said())
            self._losses = {}

    def epoch(self, prompt: int, record: EpochRecord) -> None:
        """Nothing of its own: the next step, or the end, shows it."""
        if self._task is not None:
            self._progress.update(self._task, completed=self._done(), said=self._said())

    def trained(self, done: int, total: int) -> None:
        """Show how many prompts are written, where workers train them out of sight."""
        if self._prompts:
            return
        if self._workers is None:
            self._workers = self._add("workers", total, said="", unit="prompts")
        self._progress.update(self._workers, completed=done)

    def _training(self) -> int:
        return max(1, sum(not prompt.finished for prompt in self._prompts))

    def _done(self) -> float:
        return sum(
            prompt.config.epochs if prompt.finished else prompt.steps / prompt.steps_per_epoch
            for prompt in self._prompts
        )

    def _said(self) -> str:
        said = f"loss {fmean(self._losses.values()):.3f}" if self._losses else ""
        validated = [prompt for prompt in self._prompts if prompt.best is not None]
        if not validated:
            return said
        now = fmean(_right(prompt.history[-1]) for prompt in validated)
        best = fmean(_right(prompt.best.record) for prompt in validated if prompt.best)
        return f"{said} validated {now:.1%} (best {best:.1%})".strip()


def _right(record: EpochRecord) -> float:
    """Share answered as the labels say, or as the teacher does where there are none."""
    return (record.dev_agreement if record.dev_accuracy is None else record.dev_accuracy) or 0.0


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


class StudyBars(TrainingBars):
    """A study's stages: a population's bar while it trains, then languages as they are asked."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: TaskID | None = None
        self._run = ""

    def stage(self, name: str) -> None:
        """Say what begins."""
        self._progress.console.print(f"==> {name}", highlight=False, markup=False)

    def answered(self, done: int, total: int) -> None:
        """Move by one language."""
        if self._asked is None:
            self._asked = self._add("frozen prompts", total, said="", unit="languages")
        self._progress.update(self._asked, completed=done, total=total)

    def language(self, run: str, code: str) -> None:
        """Move an unfrozen run's bar by one language."""
        if run != self._run and self._asked is not None:
            total = self._progress.tasks[self._progress.task_ids.index(self._asked)].total
            self._asked = self._add(run, int(total or 0), said="", unit="languages")
            self._run = run
        if self._asked is not None:
            self._progress.update(self._asked, advance=1)
