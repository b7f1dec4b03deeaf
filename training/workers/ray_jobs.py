"""Workers as Ray actors: with `prompts.cluster`, which connects, all of training that knows Ray.

On one machine Ray is started for the job and stopped again. On a cluster (`--ray-address`, or
RAY_ADDRESS) every machine needs the same environment (isogloss, torch and ray in the same versions,
as `pip install -c constraints.txt` or the project's container image gives it), and what a job reads
and writes must be on storage that all of them see under the same path, as Ray Train asks too: the
current folder, --out, and --model and --data where they are folders. Workers check the first two.
They import nothing from any of these.

An actor that dies is replaced by the job and not by Ray (`max_restarts`): only the job knows which
unit it was doing, how often that one has failed, and that another machine might do better.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isogloss.prompts.cluster.address import chosen_address
from isogloss.prompts.cluster.connection import Machine, connected, ray, variables
from isogloss.prompts.errors import InvalidInput, IsoglossError, Unavailable
from isogloss.prompts.files import durable
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.files import writing
from isogloss.training.workers.crew import (
    Crew,
    Failed,
    Finished,
    Lost,
    ModelSpec,
    Pool,
    Ready,
    Report,
    Unit,
    fair_share,
)

_OBJECT_STORE_BYTES = 256 << 20  # units travel through it, one a worker
_NO_WORKER_S = 300.0  # a cluster may have to start a machine first
_SHARED_WITHIN_S = 5.0  # network file systems show a new file a little late
_ENVIRONMENT = {
    # Ray prints each worker's death to standard output, where `--json` goes; we tell it ourselves.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    # Not 15, Ray's default, with which a busy machine gives workers next to nothing.
    "RAY_worker_niceness": "0",
}


@dataclass(frozen=True, slots=True)
class _Place:
    """The driver's folders, and the file that proves that a worker sees the same ones."""

    folder: str
    out: str
    marker: str


class Worker:
    """One process with one model; runs inside a Ray actor."""

    def __init__(self, spec: ModelSpec, threads: int, place: _Place) -> None:
        self._spec, self._threads, self._place = spec, threads, place
        self._model: Backbone | None = None

    def here(self) -> None:
        """Answer that there was room for this worker; loading may take long after that."""

    def start(self) -> IsoglossError | None:
        """Go where the driver is and load the model; an error is an answer too."""
        import torch

        try:
            torch.set_num_threads(self._threads)
            _enter(self._place)
            self._model = self._spec.load()
        except IsoglossError as error:
            return type(error)(f"worker on {socket.gethostname()}: {error}")
        return None

    def run(self, unit: Unit[Any, Any]) -> tuple[Any, IsoglossError | None]:
        """A unit's result, or its own error."""
        assert self._model is not None
        try:
            return unit.run(self._model, None), None
        except IsoglossError as error:
            return None, error


def _enter(place: _Place, patience_s: float = _SHARED_WITHIN_S) -> None:
    """Make relative paths mean what they mean to the driver, and check that `out` is the same.

    Raises:
        InvalidInput: this machine lacks the folder, or has another one under its name.
    """
    try:
        os.chdir(place.folder)
    except OSError as error:
        raise InvalidInput(
            f"there is no folder {place.folder} here ({error.strerror}), where the command was "
            "given; give it in a folder that every machine has"
        ) from error
    give_up_s = time.monotonic() + patience_s
    while not Path(place.out, place.marker).exists():
        if time.monotonic() > give_up_s:
            raise InvalidInput(
                f"--out: {place.out} is not the folder that the command writes to; choose one on "
                "storage that every machine sees under this path, such as a network file system"
            )
        time.sleep(0.2)


@contextlib.contextmanager
def ray_crew(
    spec: ModelSpec, workers: Pool, out: Path, say: Callable[[str], None]
) -> Iterator[Crew]:
    """Workers on Ray while open; on the way out they are stopped, whatever they are doing.

    Raises:
        Unavailable: no Ray cluster answers at the address.
        InvalidInput: CUDA is asked for and the cluster has none, or `out` cannot be written.
    """
    with _connected(workers, say), _marked(out) as place:
        crew = _RayCrew(spec, workers.count, place)
        try:
            yield crew
        finally:
            crew.dismiss()


@contextlib.contextmanager
def _marked(out: Path) -> Iterator[_Place]:
    folder = out.resolve()
    marker = folder / f".seen-by-all-{uuid.uuid4().hex}"
    with writing(out):
        durable.write_atomically(marker, b"")
    try:
        yield _Place(os.getcwd(), str(folder), marker.name)
    finally:
        marker.unlink(missing_ok=True)


class _RayCrew:
    """Actors of this job, known by number."""

    def __init__(self, spec: ModelSpec, workers: int, place: _Place) -> None:
        nodes = [_resources(node) for node in ray().nodes()]
        gpus = sum(node.get("GPU", 0) for node in nodes) if spec.device != "cpu" else 0
        if spec.device == "cuda" and not gpus:
            raise InvalidInput("--device cuda: the Ray cluster has no GPU; use --device cpu")
        cores = [int(node.get("CPU", 0)) for node in nodes]
        share = 1 if gpus else fair_share(cores, workers)
        self._options = {
            "num_cpus": share,
            "num_gpus": 1 if gpus else 0,
            "scheduling_strategy": "SPREAD",
        }
        # What Ray counts decides, not what a worker finds: it may be told of fewer GPUs.
        spec = replace(spec, device="cuda" if gpus else "cpu")
        self._arguments = (spec, share, place)
        self._actors: dict[int, Any] = {}
        self._starting: dict[Any, int] = {}  # reference to an answer -> worker
        self._waiting_for_room: set[Any] = set()  # references to the answers of `here`
        self._running: dict[Any, int] = {}
        self._hired = 0

    def hire(self) -> None:
        """Start an actor; Ray may have to wait for room."""
        number, self._hired = self._hired, self._hired + 1
        actor = ray().remote(Worker).options(**self._options).remote(*self._arguments)
        self._actors[number] = actor
        self._waiting_for_room.add(actor.here.remote())
        self._starting[actor.start.remote()] = number

    def give(self, worker: int, unit: Unit[Any, Any]) -> None:
        """Send a unit to an actor."""
        self._running[self._actors[worker].run.remote(unit)] = worker

    def report(self) -> Report:
        """Wait for the next answer of any actor."""
        reference = self._next_answer()
        while reference in self._waiting_for_room:
            self._waiting_for_room.remove(reference)  # if it died, `start` says so too
            reference = self._next_answer()
        if reference in self._starting:
            return self._started(self._starting.pop(reference), reference)
        return self._finished(self._running.pop(reference), reference)

    def _next_answer(self) -> Any:
        asked = [*self._running, *self._starting, *self._waiting_for_room]
        nobody = not self._running and len(self._waiting_for_room) == len(self._starting)
        patience_s = _NO_WORKER_S if nobody else None
        answered, _ = ray().wait(asked, num_returns=1, timeout=patience_s)
        if not answered:
            raise Unavailable(
                f"--workers: there was no room for one within {_NO_WORKER_S:.0f} s, each needing "
                f"{self._options['num_cpus']} CPU and {self._options['num_gpus']} GPU; "
                "`ray status` shows who holds them"
            )
        return answered[0]

    def dismiss(self) -> None:
        """Stop every actor at once."""
        for worker in list(self._actors):
            self._stop(worker)

    def _started(self, worker: int, reference: Any) -> Report:
        answer = self._answer(worker, reference)
        if isinstance(answer, Lost | Failed):
            return answer
        return Ready(worker) if answer is None else Failed(worker, answer)

    def _finished(self, worker: int, reference: Any) -> Report:
        answer = self._answer(worker, reference)
        if isinstance(answer, Lost | Failed):
            return answer
        result, error = answer
        return Finished(worker, result) if error is None else Failed(worker, error)

    def _answer(self, worker: int, reference: Any) -> Any:
        from ray.exceptions import RayError, RayTaskError

        try:
            return ray().get(reference)
        except RayTaskError as error:  # a fault in the program, with the worker's own traceback
            return Failed(worker, error)
        except RayError as error:
            self._stop(worker)  # where Ray only lost sight of it
            return Lost(worker, _reason(error))

    def _stop(self, worker: int) -> None:
        ray().kill(self._actors.pop(worker))


def _reason(error: Exception) -> str:
    """What Ray says of a death, in one line, without its pages of advice."""
    said = str(error)
    for begin in ("Worker exit detail: ", "The actor is dead because "):
        if begin in said:
            said = said.rpartition(begin)[2].partition("Some common causes")[0]
            break
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


def _resources(node: dict[str, Any]) -> dict[str, float]:
    return node["Resources"] if node["Alive"] else {}


@contextlib.contextmanager
def _connected(workers: Pool, say: Callable[[str], None]) -> Iterator[None]:
    """A connection to the cluster, or Ray on this machine, unless this process has one already."""
    address = chosen_address(workers.address, os.environ)
    machine = Machine(max(os.cpu_count() or 1, workers.count), _OBJECT_STORE_BYTES)
    with variables(_ENVIRONMENT):
        if ray().is_initialized():
            yield
            return
        with connected(address, machine, say):
            yield
