"""Workers as Ray actors: with `prompts.cluster`, which connects, all of training that knows Ray.

On one machine Ray is started for the job and stopped again. On a cluster (`--ray-address`, or
RAY_ADDRESS) every machine needs the same environment (isogloss, torch and ray in the same versions,
as `pip install -c constraints.txt` or the project's container image gives it), and what a job reads
and writes must be on storage that all of them see under the same path, as Ray Train asks too: the
current folder, --out, and --model and --data where they are folders. Workers check the first two.
They import nothing from any of these.

An actor that dies is replaced by the job and not by Ray (`max_restarts`): only the job knows which
unit it was doing, how often that one has failed, and that another machine might do better. Ray's
`ActorPool` drops a dead actor with its unit, does not say which unit that was, and starts no other.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isogloss.prompts.cluster.address import chosen_address
from isogloss.prompts.cluster.connection import Machine, connected, ray, variables
from isogloss.prompts.errors import InvalidInput, IsoglossError, Unavailable
from isogloss.prompts.files import durable
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.files import writing
from isogloss.training.workers.units import ModelSpec, PoolSpec, Unit, WorkerLost, WorkerPool

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
class _Folders:
    """The driver's folders, and the file that proves that a worker sees the same ones."""

    working: str
    out: str
    marker: str


class Worker:
    """One process with one model; runs inside a Ray actor."""

    def __init__(self, spec: ModelSpec, threads: int, folders: _Folders) -> None:
        self._spec, self._threads, self._folders = spec, threads, folders
        self._model: Backbone | None = None

    def here(self) -> None:
        """Answer that there was room for this worker; loading may take long after that."""

    def start(self) -> None:
        """Go where the driver is and load the model."""
        import torch

        try:
            torch.set_num_threads(self._threads)
            _enter(self._folders)
            self._model = self._spec.load()
        except IsoglossError as error:
            raise type(error)(f"worker on {socket.gethostname()}: {error}") from error

    def run(self, unit: Unit[Any, Any]) -> Any:
        """Do a unit."""
        assert self._model is not None
        return unit.run(self._model, None)


def _enter(folders: _Folders, patience_s: float = _SHARED_WITHIN_S) -> None:
    """Make relative paths mean what they mean to the driver, and check that `out` is the same.

    Raises:
        InvalidInput: this machine lacks the folder, or has another one under its name.
    """
    try:
        os.chdir(folders.working)
    except OSError as error:
        raise InvalidInput(
            f"there is no folder {folders.working} here ({error.strerror}), where the command was "
            "given; give it in a folder that every machine has"
        ) from error
    give_up_s = time.monotonic() + patience_s
    while not Path(folders.out, folders.marker).exists():
        if time.monotonic() > give_up_s:
            raise InvalidInput(
                f"--out: {folders.out} is not the folder that the command writes to; choose one on "
                "storage that every machine sees under this path, such as a network file system"
            )
        time.sleep(0.2)


@contextlib.contextmanager
def ray_pool(workers: PoolSpec, out: Path, say: Callable[[str], None]) -> Iterator[WorkerPool]:
    """Workers on Ray while open; on the way out they are stopped, whatever they are doing.

    Raises:
        Unavailable: no Ray cluster answers at the address.
        InvalidInput: CUDA is asked for and the cluster has none, or `out` cannot be written.
    """
    with _connected(workers, say), _marked(out) as folders:
        pool = _RayPool(workers, folders)
        try:
            yield pool
        finally:
            pool.stop()


@contextlib.contextmanager
def _marked(out: Path) -> Iterator[_Folders]:
    folder = out.resolve()
    marker = folder / f".seen-by-all-{uuid.uuid4().hex}"
    with writing(out):
        durable.write_atomically(marker, b"")
    try:
        yield _Folders(os.getcwd(), str(folder), marker.name)
    finally:
        marker.unlink(missing_ok=True)


class _RayPool:
    """Actors of this job, known by number."""

    def __init__(self, workers: PoolSpec, folders: _Folders) -> None:
        spec = workers.spec
        nodes = [node["Resources"] for node in ray().nodes() if node["Alive"]]
        gpus = sum(node.get("GPU", 0) for node in nodes) if spec.device != "cpu" else 0
        if spec.device == "cuda" and not gpus:
            raise InvalidInput("--device cuda: the Ray cluster has no GPU; use --device cpu")
        cores = [int(node.get("CPU", 0)) for node in nodes]
        share = 1 if gpus else fair_share(cores, workers.count)
        self._options = {
            "num_cpus": share,
            "num_gpus": 1 if gpus else 0,
            "scheduling_strategy": "SPREAD",
        }
        # What Ray counts decides, not what a worker finds: it may be told of fewer GPUs.
        spec = replace(spec, device="cuda" if gpus else "cpu")
        self._arguments = (spec, share, folders)
        self._started = 0
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}  # reference to the answer of `start` or `run` -> worker
        self._waiting_for_room: set[Any] = set()  # references to the answers of `here`

    def start(self) -> None:
        """Start an actor; Ray may have to wait for room."""
        number, self._started = self._started, self._started + 1
        actor = ray().remote(Worker).options(**self._options).remote(*self._arguments)
        self._actors[number] = actor
        self._waiting_for_room.add(actor.here.remote())
        self._asked[actor.start.remote()] = number

    def give(self, worker: int, unit: Unit[Any, Any]) -> None:
        """Send a unit to an actor."""
        self._asked[self._actors[worker].run.remote(unit)] = worker

    def answer(self) -> tuple[int, Any, Exception | None]:
        """Wait for the next answer of any actor."""
        from ray.exceptions import RayError, RayTaskError

        reference = self._next_answer()
        while reference in self._waiting_for_room:
            self._waiting_for_room.remove(reference)  # if it died, `start` says so too
            reference = self._next_answer()
        worker = self._asked.pop(reference)
        try:
            return worker, ray().get(reference), None
        except RayTaskError as error:  # a fault in the program has the worker's own traceback
            return worker, None, error.cause if isinstance(error.cause, IsoglossError) else error
        except RayError as error:
            self._stop(worker)  # where Ray only lost sight of it
            return worker, None, WorkerLost(_reason(error))

    def stop(self) -> None:
        """Stop every actor at once."""
        for worker in list(self._actors):
            self._stop(worker)

    def _next_answer(self) -> Any:
        nobody = len(self._waiting_for_room) == len(self._asked)
        patience_s = _NO_WORKER_S if nobody else None
        asked = [*self._asked, *self._waiting_for_room]
        answered, _ = ray().wait(asked, num_returns=1, timeout=patience_s)
        if not answered:
            raise Unavailable(
                f"--workers: there was no room for one within {_NO_WORKER_S:.0f} s, each needing "
                f"{self._options['num_cpus']} CPU and {self._options['num_gpus']} GPU; "
                "`ray status` shows who holds them"
            )
        return answered[0]

    def _stop(self, worker: int) -> None:
        ray().kill(self._actors.pop(worker))


def fair_share(cores: Sequence[int], workers: int) -> int:
    """Cores for each worker, so that this many workers find room on machines with these cores.

    >>> fair_share([8], 2), fair_share([5, 5], 3), fair_share([2], 4)
    (4, 2, 1)
    """
    for share in range(max(sum(cores) // workers, 1), 1, -1):
        if sum(machine // share for machine in cores) >= workers:
            return share
    return 1


def _reason(error: Exception) -> str:
    """What Ray says of a death, in one line, without its pages of advice."""
    said = str(error)
    for begin in ("Worker exit detail: ", "The actor is dead because "):
        if begin in said:
            said = said.rpartition(begin)[2].partition("Some common causes")[0]
            break
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


@contextlib.contextmanager
def _connected(workers: PoolSpec, say: Callable[[str], None]) -> Iterator[None]:
    """A connection to the cluster, or Ray on this machine, unless this process has one already."""
    address = chosen_address(workers.address, os.environ)
    machine = Machine(max(os.cpu_count() or 1, workers.count), _OBJECT_STORE_BYTES)
    with variables(_ENVIRONMENT):
        if ray().is_initialized():
            yield
            return
        with connected(address, machine, say):
            yield
