"""Independent units of work: done here one after another, or by a pool of workers on Ray.

    with closing(run_units(units, model, workers=None, out=folder)) as finished:
        for place, result in finished: ...

Without workers nothing is started and nothing is pickled. With workers, each loads the model once
and pulls unit after unit; one that dies is replaced, and its unit is run again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from isogloss.prompts.errors import Unavailable
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.workers.units import PoolSpec, Unit, WorkerLost, WorkerPool

P = TypeVar("P")
R = TypeVar("R")
Say = Callable[[str], None]

_ATTEMPTS = 3  # a unit whose worker died this often is set aside


def _unheard(line: str) -> None:
    """Nobody listens."""


def run_units(
    units: Sequence[Unit[P, R]],
    model: Backbone,
    workers: PoolSpec | None,
    *,
    out: Path,
    progress: P | None = None,
    say: Say = _unheard,
) -> Generator[tuple[int, R], None, None]:
    """Run every unit; yield each one's place and result as it finishes.

    Args:
        units: what is to be done. No unit waits for another.
        model: runs the units, unless there are workers.
        workers: None runs the units here, in their order.
        out: an existing folder in which the units leave their files; workers check that they see
            the same one.
        progress: handed to the units that run in this process.
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
        for place, unit in enumerate(units):
            yield place, unit.run(model, progress)
        return
    from isogloss.training.workers.ray_pool import ray_pool

    with ray_pool(workers, out, say) as pool:
        yield from dispatch(units, pool, workers.count, say)


def dispatch(
    units: Sequence[Unit[Any, R]], pool: WorkerPool, workers: int, say: Say = _unheard
) -> Generator[tuple[int, R], None, None]:
    """Hand units to workers as they come free, and again where a worker died.

    Raises: as `run_units`.
    """
    queue = _Queue(units, pool, say)
    for _ in range(min(workers, len(units))):
        queue.start_worker()
    while queue.waiting or queue.doing:  # nobody waits for workers that are still starting
        queue.hand_out()
        worker, result, error = pool.answer()
        unit = queue.doing.pop(worker, None)
        if unit is None:
            queue.started(worker, error)
        elif isinstance(error, WorkerLost):
            queue.lost(unit, error)
        else:
            queue.idle.append(worker)
            if error is None:
                yield unit, result
            else:
                queue.fail(units[unit].name, error)
    queue.raise_errors()


class _Queue:
    """Which units wait, which are being done by whom, and what has gone wrong."""

    def __init__(self, units: Sequence[Unit[Any, Any]], pool: WorkerPool, say: Say) -> None:
        self._units, self._pool, self._say = units, pool, say
        self.waiting = deque(range(len(units)))
        self.doing: dict[int, int] = {}  # worker -> unit
        self.idle: deque[int] = deque()
        self._starting = 0
        self._stillborn = 0  # workers that died before they were ready, since one last was
        self._deaths: Counter[int] = Counter()  # unit -> workers that died of it
        self._given_up: dict[int, WorkerLost] = {}  # unit -> why its last worker died
        self._error: Exception | None = None

    def start_worker(self) -> None:
        self._starting += 1
        self._pool.start()

    def hand_out(self) -> None:
        while self.waiting and self.idle:
            worker, unit = self.idle.popleft(), self.waiting.popleft()
            self.doing[worker] = unit
            self._pool.give(worker, self._units[unit])

    def started(self, worker: int, error: Exception | None) -> None:
        """A worker is ready, failed to start, or died; then it is replaced, but not for ever."""
        self._starting -= 1
        if error is None:
            self._stillborn = 0
            self.idle.append(worker)
            return
        if not isinstance(error, WorkerLost):
            self.fail("a worker", error)
            return
        self._stillborn += 1
        if self._stillborn < _ATTEMPTS:
            self.start_worker()
        elif not (self._starting or self.doing or self.idle):
            raise Unavailable(
                f"--workers: no worker could start ({error}); install the same isogloss, torch "
                "and ray on every machine of the cluster, with memory for the model"
            )

    def fail(self, what: str, error: Exception) -> None:
        """Begin nothing more: what one unit or worker cannot do, others hardly can."""
        self._error = self._error or error
        self.waiting.clear()
        if self.doing:
            self._say(f"{what} failed; waiting for {len(self.doing)} more to finish: {error}")

    def lost(self, unit: int, error: WorkerLost) -> None:
        """The worker of a unit died: have another do it again, or set it aside."""
        self._deaths[unit] += 1
        name, times = self._units[unit].name, self._deaths[unit]
        if times < _ATTEMPTS:
            self._say(f"the worker of {name} died ({error}); a new one does it again")
            self.waiting.append(unit)
        else:
            self._given_up[unit] = error
            self._say(f"{name} is set aside: its worker died {times} times ({error})")
            if len(self._given_up) > 1:  # one unit may be at fault; with two it is the machines
                self.waiting.clear()
        if self.waiting:
            self.start_worker()

    def raise_errors(self) -> None:
        if self._error is not None:
            raise self._error
        for unit, error in self._given_up.items():
            raise Unavailable(
                f"{self._units[unit].name}: its worker died {_ATTEMPTS} times, at last with: "
                f"{error}; what finished is kept: use fewer --workers or machines with more "
                "memory, and give the same command again"
            )
