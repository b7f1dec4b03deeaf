"""Units of work, the workers that do them, and the model that those load."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone, Device, Dtype

P_contra = TypeVar("P_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model by name: what a worker needs to load its own."""

    model: str
    device: Device = "auto"
    dtype: Dtype = "auto"
    revision: str | None = None

    def load(self) -> Backbone:
        """Load it in this process; raises what `Backbone.load` raises."""
        kept = _kept.get()
        if kept is not None and self in kept:
            return kept[self]
        model = Backbone.load(
            self.model, device=self.device, dtype=self.dtype, revision=self.revision
        )
        if kept is not None:
            kept.clear()
            kept[self] = model
        return model


_kept: ContextVar[dict[ModelSpec, Backbone] | None] = ContextVar("kept", default=None)


@contextmanager
def kept_loaded() -> Iterator[None]:
    """Within, a model that is loaded again is the one that was loaded before, if it was the last.

    For commands that run other commands: a billion parameters are read once.
    """
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """How many workers on which Ray cluster, and the model that each of them loads.

    Without an address, the cluster is RAY_ADDRESS's or this machine.
    """

    count: int
    spec: ModelSpec
    address: str | None = None


class Unit(Protocol[P_contra, R_co]):
    """A piece of work that needs no other: picklable, and the same when it is run again.

    What it makes it leaves in files, written atomically, below the job's output folder; what it
    returns is small and picklable. A unit whose worker died is run again from its start, so one
    that takes long goes on from its own files. Paths may be relative to where the command runs.
    """

    @property
    def name(self) -> str:
        """What people call it: a language, a run."""

    def run(self, model: Backbone, progress: P_contra | None, /) -> R_co:
        """Do it. `progress` follows it live, and is None on a worker, where nobody looks."""


class WorkerLost(Exception):
    """A worker died: killed, out of memory, or gone with its machine."""


class WorkerPool(Protocol):
    """Workers in other processes, known by number, each doing one unit at a time."""

    def start(self) -> None:
        """Start one more worker; it answers when it is ready."""

    def give(self, worker: int, unit: Unit[Any, Any]) -> None:
        """Let a worker that is ready, or has finished, begin a unit."""

    def answer(self) -> tuple[int, Any, Exception | None]:
        """Wait for the next worker to be ready, to finish its unit, or to fail.

        Returns:
            The worker, the result of its unit, and what it failed with: `WorkerLost`, or the error
            of its start or its unit, which trying again would raise again.

        Raises:
            Unavailable: there is no worker, and none came in reasonable time.
        """


def load_model(
    spec: ModelSpec, workers: int | None, address: str | None
) -> tuple[Backbone, PoolSpec | None]:
    """The model for this process, and the workers of `--workers` and `--ray-address`, if any.

    With workers this process only tokenizes and checks: the GPUs are theirs, and the revision that
    it found is the one they load.

    Raises:
        InvalidInput: fewer than one worker, or an address without workers.
    """
    if workers is None:
        if address is not None:
            raise InvalidInput(f"--ray-address {address!r}: say how many workers, e.g. --workers 4")
        return spec.load(), None
    if workers < 1:
        raise InvalidInput(
            f"--workers {workers}: give 1 or more, or leave it out to work in this process"
        )
    model = replace(spec, device="cpu").load()
    return model, PoolSpec(workers, replace(spec, revision=model.revision), address)
