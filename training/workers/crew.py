"""The words that a job and its workers share: pieces of work, workers, and what they report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone, Device, Dtype

R_co = TypeVar("R_co", covariant=True)
W_contra = TypeVar("W_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model by name: what a worker needs to load its own."""

    model: str
    device: Device = "auto"
    dtype: Dtype = "auto"
    revision: str | None = None

    def load(self) -> Backbone:
        """Load it in this process; raises what `Backbone.load` raises."""
        return Backbone.load(
            self.model, device=self.device, dtype=self.dtype, revision=self.revision
        )


@dataclass(frozen=True, slots=True)
class Pool:
    """How many workers on which Ray cluster; without an address, RAY_ADDRESS's or this machine."""

    count: int
    address: str | None = None

    @classmethod
    def of(cls, count: int | None, address: str | None) -> Pool | None:
        """`--workers` and `--ray-address`; None is to work in this process.

        Raises:
            InvalidInput: fewer than one worker, or an address without workers.
        """
        if count is None:
            if address is not None:
                raise InvalidInput(
                    f"--ray-address {address!r}: say how many workers, e.g. --workers 4"
                )
            return None
        if count < 1:
            raise InvalidInput(
                f"--workers {count}: give 1 or more, or leave it out to work in this process"
            )
        return cls(count, address)


class Unit(Protocol[W_contra, R_co]):
    """A piece of work that needs no other: picklable, and the same when it is run again.

    What it makes it leaves in files, written atomically, below the job's output folder; what it
    returns is small and picklable. A unit whose worker died is run again from its start, so one
    that takes long goes on from its own files. Paths may be relative to where the command runs.
    """

    @property
    def name(self) -> str:
        """What people call it: a language, a run."""

    def run(self, model: Backbone, watcher: W_contra | None) -> R_co:
        """Do it. `watcher` follows it live, and is None on a worker, where nobody looks."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has its model and waits for work."""

    worker: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A worker's unit is done."""

    worker: int
    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker's unit, or its start, raised an error: trying again would raise it again."""

    worker: int
    error: Exception


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker died: killed, out of memory, or gone with its machine."""

    worker: int
    reason: str


Report = Ready | Finished | Failed | Lost


class Crew(Protocol):
    """Workers in other processes, each doing one unit at a time."""

    def hire(self) -> None:
        """Ask for one more worker; it reports when it is ready."""

    def give(self, worker: int, unit: Unit[Any, Any]) -> None:
        """Let a worker that is ready, or has finished, begin a unit."""

    def report(self) -> Report:
        """Wait for the next report.

        Raises:
            Unavailable: there is no worker, and none came in reasonable time.
        """


def fair_share(cores: Sequence[int], workers: int) -> int:
    """Cores for each worker, so that this many workers find room on machines with these cores.

    >>> fair_share([8], 2), fair_share([5, 5], 3), fair_share([2], 4)
    (4, 2, 1)
    """
    for share in range(max(sum(cores) // workers, 1), 1, -1):
        if sum(own // share for own in cores) >= workers:
            return share
    return 1
