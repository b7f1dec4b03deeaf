"""Pieces of work for tests of jobs: some kill their worker, some fail."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.model.backbone import Backbone


class Listener(Protocol):
    def heard(self, name: str) -> None:
        """A unit is being done."""


@dataclass(frozen=True)
class Counting:
    """Writes a file and returns the length of its name; counts how often it began."""

    name: str
    out: Path
    deaths: int = 0  # attempts at which the process is killed
    error: str | None = None
    seconds: float = 0.0
    needs: str | None = None  # a unit whose end it waits for
    meets: str | None = None  # a unit whose beginning it waits for

    def run(self, model: Backbone, progress: Listener | None) -> int:
        if progress is not None:
            progress.heard(self.name)
        attempt = sum(1 for _ in self.out.glob(f"{self.name}.began.*"))
        (self.out / f"{self.name}.began.{attempt}.{os.getpid()}").touch()
        while self.needs and not (self.out / f"{self.needs}.txt").exists():
            time.sleep(0.02)
        while self.meets and not attempts(self.out, self.meets):
            time.sleep(0.02)
        if attempt < self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.error is not None:
            raise InvalidData(self.error)
        time.sleep(self.seconds)
        (self.out / f"{self.name}.txt").write_text(f"{self.name} {model.hidden_size}\n")
        return len(self.name)


def attempts(out: Path, name: str) -> list[int]:
    """Processes in which a unit began, in turn."""
    return [int(p.suffix[1:]) for p in sorted(out.glob(f"{name}.began.*"))]


def done(out: Path) -> list[str]:
    """Names of the units whose files are there."""
    return sorted(path.stem for path in out.glob("*.txt"))
