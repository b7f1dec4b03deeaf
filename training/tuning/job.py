"""From a command to prompt files: a grid of runs, trained side by side, each with its card.

OUT/<name>.safetensors, OUT/<name>/     see training/tuning/outputs.py
OUT/<name>.state.safetensors            an unfinished run, for --resume; where several train
OUT/<name>+<N>.state.safetensors        together, the first one's name and how many more
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.files import writable_folder
from isogloss.training.tuning.checkpoint import StateFile
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.dataset import Datasets
from isogloss.training.tuning.grid import populations, run_names
from isogloss.training.tuning.outputs import Run, Trained
from isogloss.training.tuning.prompt_trainer import PromptState
from isogloss.training.tuning.texts import CacheBudget
from isogloss.training.tuning.trainer import Progress, Silent, Trainer
from isogloss.training.workers.pool import run_units
from isogloss.training.workers.units import PoolSpec


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

    def runs(self, model: Backbone) -> list[Run]:
        """Read what every run learns from, and settle where it goes.

        Raises:
            NotFound: there is no such teacher or prompt to start from.
            InvalidPrompt: a teacher or a prompt to start from cannot be used.
            InvalidInput: data, settings or folder cannot be used.
        """
        names = self.names or run_names(model.model_id, self.configs, self.name)
        writable_folder(self.out)
        datasets = Datasets(model, self.data)
        return [
            Run.of(model, self.out, name, config, datasets.load(config))
            for name, config in zip(names, self.configs, strict=True)
        ]

    def finished(self, runs: Sequence[Run]) -> dict[str, Trained]:
        """Results, by name, of runs whose prompts are there and which the job keeps.

        Raises:
            InvalidInput: a prompt of other settings is in the way.
        """
        there = [run.finished(overwrite=self.overwrite) for run in runs]
        return {result.name: result for result in there if result and self.resume}


@dataclass(frozen=True, slots=True)
class TrainingUnit:
    """Runs of a job that train together, in this process or on a worker.

    What it makes lies in the job's folder. Run again after its worker died, it goes on from its
    state file.
    """

    job: Job
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """The first run's name, and how many train with it."""
        more = len(self.runs) - 1
        return f"{self.runs[0].name} and {more} more" if more else self.runs[0].name

    @property
    def state_file(self) -> StateFile:
        """Of these runs, while they are not finished."""
        more = f"+{len(self.runs) - 1}" if len(self.runs) > 1 else ""
        path = self.job.out / f"{self.runs[0].name}{more}.state.safetensors"
        return StateFile(path, [run.settings for run in self.runs])

    def run(self, model: Backbone, progress: Progress | None = None) -> list[Trained]:
        """Train them, or go on with them, and write their prompts.

        Runs with a state file go on together, so that every prompt ends with the same bytes as
        without the pause; without one, only those that are not finished are trained.

        Raises:
            InvalidInput: this is not the job's model, a state file is of no use, or the folder
                cannot be written.
        """
        if model.fingerprint != self.runs[0].settings["backbone"]:
            raise InvalidInput(
                f"--model: {model.model_id} has other weights here than where the command was "
                "given; give every machine the same ones"
            )
        done = self.job.finished(self.runs)
        if len(done) == len(self.runs):
            return list(done.values())
        unit, states = self, self._states()
        if states is None:
            unit = replace(self, runs=tuple(run for run in self.runs if run.name not in done))
            states = unit._states()
        trained = unit._train(model, states, progress or Silent(), done)
        return list((done | trained).values())

    def _states(self) -> list[PromptState] | None:
        return self.state_file.load() if self.job.resume else None

    def _train(
        self,
        model: Backbone,
        states: Sequence[PromptState] | None,
        progress: Progress,
        done: Mapping[str, Trained],
    ) -> dict[str, Trained]:
        began = time.monotonic()
        lessons = [(run.config, run.dataset) for run in self.runs]
        trainer = Trainer.prepare(model, lessons, self.job.cache, progress)
        if states is not None:
            trainer.restore(states)
        progress.started([run.name for run in self.runs], trainer.prompts)
        state_file = self.state_file
        trainer.train(progress, state_file.keep if self.job.keep_state else lambda states: None)
        share_s = (time.monotonic() - began) / len(self.runs)
        results = {
            run.name: done.get(run.name) or run.save(model, prompt, share_s, len(self.runs))
            for run, prompt in zip(self.runs, trainer.prompts, strict=True)
        }
        if all(prompt.finished for prompt in trainer.prompts):
            state_file.remove()
        return results


def run_job(
    model: Backbone,
    job: Job,
    progress: Progress,
    workers: PoolSpec | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Trained]:
    """Train every run, yielding each when its file is written; finished ones first.

    The last ones yielded are the interrupted ones where Ctrl-C was pressed.

    Args:
        model: trains, unless there are workers; they load their own.
        job: what to train.
        progress: follows what is trained here.
        workers: train instead.
        say: told what happens to workers.

    Raises:
        InvalidInput: data, settings or folder cannot be used; nothing was written for these runs.
        Unavailable: workers cannot start, or die again and again.
    """
    groups = populations(job.configs, job.population)
    runs = job.runs(model)
    done = job.finished(runs)
    yield from done.values()
    units = [TrainingUnit(job, tuple(runs[place] for place in group)) for group in groups]
    left = [unit for unit in units if any(run.name not in done for run in unit.runs)]
    if workers is not None:
        if not job.resume:
            for unit in left:
                unit.state_file.remove()
        # From here on nothing older than this job is there to go on from, and a unit whose worker
        # died does go on from its state.
        left = [replace(unit, job=replace(job, resume=True)) for unit in left]
    running = run_units(left, model, workers, out=job.out, progress=progress, say=say)
    with closing(running) as finished:
        for _, results in finished:
            yield from (result for result in results if result.name not in done)
            if any(result.interrupted for result in results):
                return
