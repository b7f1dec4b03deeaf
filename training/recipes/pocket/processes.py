"""Trainings in processes of their own, some at a time, with one line of progress for all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

_POLL_S = 0.2


@dataclass(frozen=True, eq=False)  # two are never the same, whatever they run
class Child:
    """A training that is to run: its output goes to `work`, where it logs its steps."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    work: Path
    steps: int

    def start(self) -> subprocess.Popen[bytes]:
        """Run the command, with its output in a file."""
        self.work.mkdir(parents=True, exist_ok=True)
        with self.output.open("wb") as output:
            return subprocess.Popen(
                self.command,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> Path:
        """What the process said."""
        return self.work / "output.txt"

    def progress(self) -> tuple[int, float]:
        """Steps done and the last loss."""
        path = self.work / "log.jsonl"
        lines = path.read_bytes().splitlines() if path.is_file() else []
        with suppress(ValueError, IndexError):  # half a line, or none yet
            done = json.loads(lines[-1])
            return done["step"], done["loss"]
        return 0, float("nan")

    def failure(self, code: int) -> str:
        """Who ended how, and where to read on."""
        said = self.output.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
        how = f"exit code {code}: {last}"
        if code < 0:
            # The system kills without a word who takes the last memory: fewer at a time may do.
            how = f"killed by {signal.Signals(-code).name} at step {self.progress()[0]}"
        return f"{self.name} was not finished ({how}; all of its output: {self.output})"


def run_side_by_side(children: Sequence[Child], workers: int) -> list[str]:
    """Run all, at most `workers` at a time, and return what became of those that failed.

    One that fails stops no other. Whatever ends this function ends the processes it started.
    """
    waiting, failures = list(children), list[str]()
    running: dict[Child, subprocess.Popen[bytes]] = {}
    console = Console(stderr=True)
    with Progress(console=console) as progress:
        bar = progress.add_task("", total=sum(child.steps for child in children) or None)
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    running[waiting[0]] = waiting[0].start()
                    waiting.pop(0)
                time.sleep(_POLL_S)
                for child in [child for child in running if running[child].poll() is not None]:
                    code = running.pop(child).returncode
                    failures += [child.failure(code)] if code else []
                    console.print(failures[-1] if code else f"{child.name} is done", markup=False)
                _show(progress, bar, children, running)
        finally:
            _end(list(running.values()))
    return failures


def _show(
    progress: Progress, bar: TaskID, children: Sequence[Child], running: Mapping[Child, object]
) -> None:
    told = ", ".join(
        f"{child.name} loss {child.progress()[1]:.3f}" if child.steps else child.name
        for child in running
    )
    steps = sum(child.progress()[0] for child in children)
    progress.update(bar, completed=steps, description=told)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()
