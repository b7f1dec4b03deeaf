"""From a command to prompt files: a grid of runs, trained as populations, each with its card.

OUT/<name>.safetensors, OUT/<name>/     see training/tuning/run.py
OUT/<name>.state.safetensors            an unfinished run, for --resume; where a population of
OUT/<name>+<N>.state.safetensors        runs is under way, its first one's name and how many more
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from isogloss.prompts.model.backbone import Backbone
from isogloss.training.files import writable_folder
from isogloss.training.tuning.checkpoint import load_states, save_states
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.grid import populations, run_names
from isogloss.training.tuning.material import Materials
from isogloss.training.tuning.member import EpochRecord, Member, MemberState
from isogloss.training.tuning.population import Population, Watcher
from isogloss.training.tuning.run import Run, Trained
from isogloss.training.tuning.texts import CacheBudget, CachedTexts, EncodedTexts, FreshTexts
from isogloss.training.workers.jobs import ModelSpec, Pool, run_units

_STATE_SHARE = 0.05  # of the time goes into writing states at most, after the first


def default_population(device: str) -> int:
    """Prompts that train together: enough to fill the device's matrix products, few enough for its
    memory (BLOOM-560M in float32 holds about 1 MB for each prompt token of a step).
    """
    return 64 if device == "cuda" else 16


@dataclass(frozen=True, slots=True)
class Job:
    """What to train and where to put it."""

    data: str
    out: Path
    configs: tuple[TrainingConfig, ...]
    name: str | None = None  # what the runs are called, before what differs between them
    names: tuple[str, ...] = ()  # or each run's own
    resume: bool = False
    overwrite: bool = False
    keep_state: bool = True  # for --resume; an unfrozen run's is four times the weights
    population: int = 16  # prompts that train together at most
    cache: CacheBudget = field(default_factory=CacheBudget)

    def populations(self) -> list[tuple[int, ...]]:
        """Places in `configs` of the runs that train together."""
        return populations(self.configs, self.population)

    def run_names(self, model_id: str) -> tuple[str, ...]:
        """What each run's files are called."""
        return self.names or tuple(run_names(model_id, self.configs, self.name))


class RunWatcher(Watcher, Protocol):
    """Someone who follows a job."""

    def encoded(self, done: int, total: int) -> None:
        """So many of the texts to encode are encoded."""

    def population(self, names: Sequence[str], members: Sequence[Member]) -> None:
        """These runs begin, or go on from where they are."""


@dataclass(frozen=True, slots=True)
class PopulationUnit:
    """One population of a job, for a worker: what it makes lies in the job's folder.

    Run again after its worker died, it goes on from its state file.
    """

    job: Job
    places: tuple[int, ...]

    @property
    def name(self) -> str:
        """The first run's name, or its place, and how many train with it."""
        first = self.job.names[self.places[0]] if self.job.names else f"run {self.places[0] + 1}"
        return first if len(self.places) == 1 else f"{first} and {len(self.places) - 1} more"

    def run(self, model: Backbone, watcher: RunWatcher | None) -> list[Trained]:
        """Train it, or go on with it."""
        return Workshop(model, self.job, self.places).train(self.places, watcher or Unwatched())


def run_job(
    model: Backbone,
    job: Job,
    watcher: RunWatcher,
    workers: tuple[ModelSpec, Pool] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Trained]:
    """Train every run, yielding each when its file is written; finished ones first.

    The last ones yielded are the interrupted ones where Ctrl-C was pressed.

    Args:
        model: trains, unless there are workers; they load their own.
        job: what to train.
        watcher: follows what is trained here.
        workers: the model for workers to load, and where they are. A population is one's work.
        say: told what happens to workers.

    Raises:
        InvalidInput: data, settings or folder cannot be used; nothing was written for these runs.
        Unavailable: workers cannot start, or die again and again.
    """
    together = job.populations()
    workshop = Workshop(model, job)
    done = [workshop.finished(place) for place in range(len(job.configs))]
    yield from (result for result in done if result is not None)
    left = [own for own in together if any(done[place] is None for place in own)]
    if workers is None:
        groups = (workshop.train(places, watcher) for places in left)
        yield from _until_interrupted(groups, _names(done))
        return
    spec, pool = workers
    if not job.resume:
        workshop.forget(left)
    # From here on nothing older than this job is there to go on from, and a unit whose worker died
    # does go on from its state.
    units = [PopulationUnit(replace(job, resume=True), places) for places in left]
    running = run_units(units, spec, workers=pool, out=job.out, say=say)
    with closing(running) as finished:
        yield from _until_interrupted((results for _, results in finished), _names(done))


def _until_interrupted(
    groups: Iterable[list[Trained]], known: Collection[str]
) -> Iterator[Trained]:
    for results in groups:
        yield from (result for result in results if result.name not in known)
        if any(result.interrupted for result in results):
            return


class Unwatched:
    """Follows a job that nobody looks at."""

    def encoded(self, done: int, total: int) -> None:
        """Not shown."""

    def population(self, names: Sequence[str], members: Sequence[Member]) -> None:
        """Not shown."""

    def step(self, member: int, epoch: int, loss: float) -> None:
        """Not shown."""

    def epoch(self, member: int, record: EpochRecord) -> None:
        """Not shown."""


class Workshop:
    """What the populations of a job share: the model and the data."""

    def __init__(self, model: Backbone, job: Job, places: Sequence[int] | None = None) -> None:
        self.model, self.job = model, job
        self.names = job.run_names(model.model_id)
        writable_folder(job.out)
        self._materials = Materials(model, job.data)
        wanted = range(len(job.configs)) if places is None else places
        self._runs = {place: self._run(place) for place in wanted}

    def finished(self, place: int) -> Trained | None:
        """A run's result where its prompt is there and the job goes on with what is left.

        Raises:
            InvalidInput: a prompt of other settings is in the way.
        """
        found = self._runs[place].finished(overwrite=self.job.overwrite)
        return found if self.job.resume else None

    def forget(self, populations: Sequence[Sequence[int]]) -> None:
        """Remove what earlier jobs left of these populations' states."""
        for places in populations:
            self._state_path([self._runs[place] for place in places]).unlink(missing_ok=True)

    def train(self, places: Sequence[int], watcher: RunWatcher) -> list[Trained]:
        """Train one population, or go on with it, and write its prompts.

        A population with a state file goes on as a whole, so that every prompt ends with the same
        bytes as without the pause; without one, only runs that are not finished are trained.
        """
        runs = [self._runs[place] for place in places]
        done = {own.name: own for p in places if (own := self.finished(p)) is not None}
        if len(done) == len(runs):
            return list(done.values())
        state_path = self._state_path(runs)
        states = self._states(state_path, runs)
        if states is None:
            runs = [run for run in runs if run.name not in done]
            state_path = self._state_path(runs)
            states = self._states(state_path, runs)
        trained = self._train(runs, states, state_path, watcher, done)
        return [*trained, *(own for own in done.values() if own.name not in _names(trained))]

    def _train(
        self,
        runs: Sequence[Run],
        states: list[MemberState] | None,
        state_path: Path,
        watcher: RunWatcher,
        done: dict[str, Trained],
    ) -> list[Trained]:
        began = time.monotonic()
        population = self._population(runs, watcher)
        if states is not None:
            population.restore(states)
        watcher.population([run.name for run in runs], population.members)
        keeper = _StateKeeper(state_path, runs, self.job.keep_state)
        outcomes = population.train(watcher, keeper.keep)
        share_s = (time.monotonic() - began) / len(runs)
        results = [
            done.get(run.name) or run.save(member, outcome, share_s, len(runs))
            for run, member, outcome in zip(runs, population.members, outcomes, strict=True)
        ]
        if not any(outcome.interrupted for outcome in outcomes):
            state_path.unlink(missing_ok=True)
        return results

    def _population(self, runs: Sequence[Run], watcher: RunWatcher) -> Population:
        texts: EncodedTexts
        if runs[0].config.unfrozen:
            copy, weights = self.model.trainable_copy()
            texts = FreshTexts(copy)
            members = [run.member(copy, weights, texts, watcher.encoded) for run in runs]
            return Population(copy, texts, members)
        # Encoded for this population alone, in an order of its own: in their last bits keys and
        # values depend on the texts beside them, and a resumed job is to end with the same bytes.
        texts = CachedTexts(self.model, self.job.cache, watcher.encoded)
        texts.add([text for run in runs for text in run.texts])
        members = [run.member(self.model, (), texts, watcher.encoded) for run in runs]
        return Population(self.model, texts, members)

    def _run(self, place: int) -> Run:
        config = self.job.configs[place]
        material = self._materials.of(config)
        return Run(self.names[place], self.model, self.job.out, config, material)

    def _state_path(self, runs: Sequence[Run]) -> Path:
        more = f"+{len(runs) - 1}" if len(runs) > 1 else ""
        return self.job.out / f"{runs[0].name}{more}.state.safetensors"

    def _states(self, path: Path, runs: Sequence[Run]) -> list[MemberState] | None:
        return load_states(path, [run.settings for run in runs]) if self.job.resume else None


class _StateKeeper:
    """Writes a population's states, the first at once and later ones not too often."""

    def __init__(self, path: Path, runs: Sequence[Run], wanted: bool) -> None:
        self._path, self._wanted = path, wanted
        self._settings = [run.settings for run in runs]
        self._next_s = 0.0

    def keep(self, states: list[MemberState]) -> None:
        began = time.monotonic()
        if not self._wanted or began < self._next_s:
            return
        save_states(self._path, states, self._settings)
        now = time.monotonic()
        self._next_s = now + (now - began) / _STATE_SHARE


def _names(results: Sequence[Trained | None]) -> set[str]:
    return {result.name for result in results if result is not None}
