"""One job from labelled texts to published routes: plan, run, tell, publish.

OUT/plan.json, routes.json, *.csv    what was planned, chosen and measured: see `results`
OUT/report.html                      the same, for a person
OUT/work/                            the steps' folders: prompts, predictions, logs
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore, open_store
from isogloss.training.data.labelled import language_codes
from isogloss.training.evaluation.evaluate import choose_languages
from isogloss.training.files import writable_folder, write_atomically
from isogloss.training.tailor.cost import Rates, measure
from isogloss.training.tailor.plan import ROUTES, Given, Plan
from isogloss.training.tailor.situation import Situation, survey
from isogloss.training.tailor.steps import Finished, Run, Told, run_steps
from isogloss.training.tailor.ways import EFFORTS, Effort, Ways
from isogloss.training.tailor.words import Step

if TYPE_CHECKING:
    from isogloss.prompts.model.backbone import Backbone


@dataclass(frozen=True, slots=True)
class Request:
    """What `isogloss tailor` was asked for."""

    given: Given
    out: Path
    store: Path | None  # None: the user's own
    parallel: tuple[Path, ...] = ()
    languages: str = "all"
    effort: Effort = "full"
    workers: int = 1
    dry_run: bool = False
    ways: Ways | None = None  # other than the effort's

    @property
    def work(self) -> Path:
        """Folder of the steps."""
        return self.out / "work"


@dataclass(frozen=True, slots=True)
class Tailored:
    """What came of it."""

    plan: Plan
    table: RouteTable
    seconds: Mapping[str, float]  # of each step
    generation: int | None  # that was published; None: a dry run
    report: Path


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and its steps, before anything runs."""

    plan: Plan
    steps: tuple[Step, ...]
    about: str
    situation: Situation = field(repr=False)


def plan_job(model: Backbone, request: Request) -> Planned:
    """Look at the data, measure this machine, and plan; nothing is trained.

    Raises:
        InvalidInput: data, languages or folders cannot be used.
    """
    given = request.given
    present = language_codes(given.data)
    asked = choose_languages(model, given.data, request.languages)
    found = survey(model, given.data, asked, request.parallel, set(present), *given.kind)
    rates = _rates(model, request, found)
    plan = Plan(given, found, request.ways or EFFORTS[request.effort], rates)
    steps = plan.steps()
    return Planned(plan, steps, _about(model, request, found), found)


def tailor(
    model: Backbone, request: Request, run: Run, tell: Callable[[Told, Planned], None]
) -> Tailored:
    """Run everything, or what is left of it, and publish.

    Raises:
        InvalidInput: data, folders or store cannot be used, or another run is at work in `out`.
    """
    from isogloss.training.tailor.results import write_results

    began = datetime.now(UTC)
    start = time.monotonic()
    planned = plan_job(model, request)
    with _alone(request.work):
        finished = run_steps(
            planned.steps, request.work, planned.about, run, lambda told: tell(told, planned)
        )
        store = PromptStore.open(finished[ROUTES].folder / "store")
        table, prompts = chosen(store)
        generation = _publish(request, table, prompts)
        facts = _facts(model, request, planned, finished, generation)
        facts |= {"began": began.isoformat(timespec="seconds")}
        facts |= {"seconds": round(time.monotonic() - start, 1)}
        report = write_results(planned.steps, finished, table, facts, request.out)
    seconds = {name: step.seconds for name, step in finished.items()}
    return Tailored(planned.plan, table, seconds, generation, report)


def chosen(store: PromptStore) -> tuple[RouteTable, dict[str, Prompt]]:
    """The one table of a job's own store, and its prompts by name."""
    state = store.state()
    (table,) = state.routes
    return table, {name: store.read(state.resolve(name)[2]) for name in state.prompts}


def _publish(request: Request, table: RouteTable, prompts: Mapping[str, Prompt]) -> int | None:
    if request.dry_run:
        return None
    note = f"isogloss tailor --model {request.given.model} --data {request.given.data}"
    return open_store(request.store, create=True).publish(prompts, [table], note).generation


def _rates(model: Backbone, request: Request, found: Situation) -> Rates:
    """Measured once a job: a plan that is printed twice is the same."""
    path = request.work / "rates.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Rates(**json.loads(path.read_bytes()))
    rates = measure(model, found.samples, request.workers)
    writable_folder(request.work)
    write_atomically(path, json.dumps(asdict(rates)).encode())
    return rates


def _about(model: Backbone, request: Request, found: Situation) -> str:
    """The weights, and the bytes of all texts that a step may read."""
    digest = hashlib.sha256(model.fingerprint.encode())
    for path in _files((Path(request.given.data), *request.parallel), found):
        digest.update(f"{path.name} {path.parent.name}".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files(folders: Sequence[Path], found: Situation) -> Iterator[Path]:
    for folder in folders:
        if folder.is_dir():
            yield from sorted(path for path in folder.rglob("*") if path.suffix in (".tsv", ".txt"))


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Two jobs in one folder would write each other's files.

    Raises:
        InvalidInput: one is at work there.
    """
    with (writable_folder(work) / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(
                f"--out {work.parent}: another `isogloss tailor` is at work there; wait for it, or "
                "give another folder"
            ) from None
        yield


def _facts(
    model: Backbone,
    request: Request,
    planned: Planned,
    finished: Mapping[str, Finished],
    generation: int | None,
) -> dict[str, Any]:
    """OUT/plan.json, but for its times."""
    import torch

    from isogloss.prompts.store.seed import release

    plan, found, given = planned.plan, planned.situation, request.given
    shown = sorted(set(found.asked) | set(found.labelled))
    return {
        "format": 1,
        "model": given.model,
        "architecture": model.architecture,
        "task": given.task,
        "labels": list(found.labels),
        "effort": request.effort,
        "data": given.data,
        "parallel": list(found.parallel),
        "store": str(request.store) if request.store else None,
        "published": generation,
        "hardware": f"{torch.get_num_threads()} threads, {model.device}, {model.dtype}",
        "versions": {"isogloss": release(), "torch": torch.__version__},
        "first": found.first,
        "diverse": list(plan.sources),
        "languages": {code: _language(found, code) for code in shown},
        "clades": {clade: list(codes) for clade, codes in plan.clades.items()},
        "left_out": [asdict(each) for each in plan.left_out],
        "steps": [
            {
                "name": step.name,
                "predicted_seconds": round(step.seconds, 1),
                "seconds": finished[step.name].seconds,
                "folder": str(finished[step.name].folder.relative_to(request.out)),
                "command": str(step),
            }
            for step in planned.steps
        ],
    }


def _language(found: Situation, code: str) -> dict[str, Any]:
    tongue = found.tongues[code]
    return {
        "name": tongue.name,
        "lineage": list(tongue.lineage),
        "known": tongue.known,
        "hardly_known": tongue.hardly_known,
        "train": tongue.train,
        "dev": tongue.dev,
        "test": tongue.test,
        "parallel": len(tongue.translated),
    }
