"""Independent pieces of work: done here one after another, or by workers on a Ray cluster.

    with closing(run_units(units, spec, workers=None, out=folder, model=model)) as finished:
        for place, result in finished: ...

Without workers nothing is started and nothing is pickled. With workers, each loads the model once
and pulls unit after unit; one that dies is replaced, and its unit is run again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from isogloss.prompts.errors import Unavailable
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.workers.crew import (
    Crew,
    Failed,
    Finished,
    Lost,
    ModelSpec,
    Pool,
    Ready,
    Unit,
)

__all__ = ["ModelSpec", "Pool", "Unit", "dispatch", "load_here", "run_units"]

R = TypeVar("R")
W = TypeVar("W")
Say = Callable[[str], None]

_ATTEMPTS = 3  # a unit whose worker died this often is set aside


def load_here(
    spec: ModelSpec, workers: Pool | None
) -> tuple[Backbone, tuple[ModelSpec, Pool] | None]:
    """The model for this process, and where there are workers, what they load and where they are.

    With workers this process only tokenizes and checks: the GPUs are theirs, and the revision that
    it found is the one they load.
    """
    if workers is None:
        return spec.load(), None
    model = replace(spec, device="cpu").load()
    return model, (replace(spec, revision=model.revision), workers)


def _unheard(line: str) -> None:
    """Nobody listens."""


def run_units(
    units: Sequence[Unit[W, R]],
    spec: ModelSpec,
    *,
    workers: Pool | None,
    out: Path,
    model: Backbone | None = None,
    watcher: W | None = None,
    say: Say = _unheard,
) -> Generator[tuple[int, R], None, None]:
    """Run every unit; yield each one's place and result as it finishes.

    Args:
        units: what is to be done. No unit waits for another.
        spec: the model, for workers to load.
        workers: None runs the units here, in their order.
        out: an existing folder in which the units leave their files; workers check that they see
            the same one.
        model: `spec` loaded already, where it is to be used in this process.
        watcher: handed to the units that run in this process.
        say: told what happens to workers, line by line.

    Close it (`contextlib.closing`) to have the workers stopped on the way out, also by Ctrl-C:
    what finished before is kept in the units' files.

    Raises:
        IsoglossError: a unit's own error, of its own class. Units that were running are finished
            first, and no others are begun.
        Unavailable: no worker could start, or a unit's worker died again and again; the other
            units are finished first.
    """
    if not units:
        return
    if workers is None:
        here = spec.load() if model is None else model
        for place, unit in enumerate(units):
            yield place, unit.run(here, watcher)
        return
    from isogloss.training.workers.ray_jobs import ray_crew

    with ray_crew(spec, workers, out, say) as crew:
        yield from dispatch(units, crew, workers.count, say)


def dispatch(
    units: Sequence[Unit[Any, R]], crew: Crew, workers: int, say: Say = _unheard
) -> Generator[tuple[int, R], None, None]:
    """Hand units to workers as they come free, and again where a worker died.

    Raises: as `run_units`.
    """
    queue = _Queue(units, crew, say)
    for _ in range(min(workers, len(units))):
        queue.hire()
    while queue.unfinished():
        queue.hand_out()
        match crew.report():
            case Ready(worker):
                queue.ready(worker)
            case Finished(worker, result):
                yield queue.finished(worker), result
            case Failed(worker, error):
                queue.failed(worker, error)
            case Lost(worker, reason):
                queue.lost(worker, reason)
    queue.raise_errors()


class _Queue:
    """Which units wait, which are being done by whom, and what has gone wrong."""

    def __init__(self, units: Sequence[Unit[Any, Any]], crew: Crew, say: Say) -> None:
        self._units, self._crew, self._say = units, crew, say
        self._waiting = deque(range(len(units)))
        self._doing: dict[int, int] = {}  # worker -> unit
        self._idle: deque[int] = deque()
        self._starting = 0
        self._stillborn = 0  # workers that died before they were ready, since one last was
        self._deaths: Counter[int] = Counter()  # unit -> workers that died of it
        self._given_up: dict[int, str] = {}  # unit -> why its last worker died
        self._error: Exception | None = None

    def unfinished(self) -> bool:
        """Whether any unit is yet to be done. Nobody waits for workers that are still starting."""
        return bool(self._waiting or self._doing)

    def hire(self) -> None:
        self._starting += 1
        self._crew.hire()

    def hand_out(self) -> None:
        while self._waiting and self._idle:
            worker, unit = self._idle.popleft(), self._waiting.popleft()
            self._doing[worker] = unit
            self._crew.give(worker, self._units[unit])

    def ready(self, worker: int) -> None:
        self._starting -= 1
        self._stillborn = 0
        self._idle.append(worker)

    def finished(self, worker: int) -> int:
        self._idle.append(worker)
        return self._doing.pop(worker)

    def failed(self, worker: int, error: Exception) -> None:
        """Begin nothing more: what one unit or worker cannot do, others hardly can."""
        unit = self._doing.pop(worker, None)
        if unit is None:
            self._starting -= 1
        else:
            self._idle.append(worker)
        self._error = self._error or error
        self._waiting.clear()
        if self._doing:
            what = "a worker" if unit is None else self._units[unit].name
            self._say(f"{what} failed; waiting for {len(self._doing)} more to finish: {error}")

    def lost(self, worker: int, reason: str) -> None:
        unit = self._doing.pop(worker, None)
        if unit is None:
            self._replace_stillborn(reason)
            return
        self._deaths[unit] += 1
        name, times = self._units[unit].name, self._deaths[unit]
        if times < _ATTEMPTS:
            self._say(f"the worker of {name} died ({reason}); a new one does it again")
            self._waiting.append(unit)
        else:
            self._given_up[unit] = reason
            self._say(f"{name} is set aside: its worker died {times} times ({reason})")
            if len(self._given_up) > 1:  # one unit may be at fault; with two it is the machines
                self._waiting.clear()
        if self._waiting:
            self.hire()

    def _replace_stillborn(self, reason: str) -> None:
        self._starting -= 1
        self._stillborn += 1
        if self._stillborn < _ATTEMPTS:
            self.hire()
        elif not (self._starting or self._doing or self._idle):
            raise Unavailable(
                f"--workers: no worker could start ({reason}); install the same isogloss, torch "
                "and ray on every machine of the cluster, with memory for the model"
            )

    def raise_errors(self) -> None:
        if self._error is not None:
            raise self._error
        for unit, reason in self._given_up.items():
            raise Unavailable(
                f"{self._units[unit].name}: its worker died {_ATTEMPTS} times, at last with: "
                f"{reason}; what finished is kept: use fewer --workers or machines with more "
                "memory, and give the same command again"
            )
