"""The study, stage by stage: train every run, ask every prompt in every language, gather.

    OUT/prompts/     prompt files, and the folders of unfrozen runs
    OUT/evidence/    what each prompt answered, language by language
    OUT/times/       how long a plain step takes, with and without freezing
    OUT/tables/, OUT/figures/, OUT/report.html

Every file is whole or absent, and what is there is never made twice: interrupted in any way, the
same command goes on and ends with the same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.data.shots import SourceData
from isogloss.training.evaluation.evaluate import choose_languages
from isogloss.training.files import writable_folder
from isogloss.training.study.beside import check_same_test, read_settings, read_summary
from isogloss.training.study.evidence import Questions, StudyFolder, UnfrozenUnit
from isogloss.training.study.figures import draw_figures
from isogloss.training.study.gathering import gather
from isogloss.training.study.plain_times import plain_times
from isogloss.training.study.plan import Study, study_configs
from isogloss.training.study.report import write_report
from isogloss.training.study.results import StudyResults
from isogloss.training.study.tables import write_tables
from isogloss.training.tuning.job import Job, run_job
from isogloss.training.tuning.trainer import Progress
from isogloss.training.workers.pool import run_units
from isogloss.training.workers.units import PoolSpec


class StudyWatcher(Progress, Protocol):
    """Someone who follows a study."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def trained(self, done: int, total: int) -> None:
        """So many runs have their prompts."""

    def answered(self, done: int, total: int) -> None:
        """So many languages have been asked."""

    def language(self, run: str, code: str) -> None:
        """An unfrozen run has answered in one language."""


def conduct(
    model: Backbone,
    plan: Study,
    watcher: StudyWatcher,
    workers: PoolSpec | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> StudyResults:
    """Run what is left of the study, write tables, figures and report, and return the results.

    Args:
        model: trains and answers, unless there are workers; they load their own.
        plan: what to run.
        watcher: follows what is done here.
        workers: train and answer instead.
        say: told what happens to workers.

    Raises:
        InvalidData: a language or split, or the study to compare with, cannot be read; nothing was
            trained yet.
        InvalidInput: a setting or folder cannot be used, or a run's numbers broke.
        Unavailable: workers cannot start, or die again and again.
    """
    study = _Sitting(model, plan, watcher, workers, say)
    study.train()
    study.ask()
    study.take_times()
    watcher.stage("tables, figures and report")
    results = gather(model, plan, study.folder)
    tables = write_tables(results, plan.out / "tables", study.other)
    figures = draw_figures(results, tables, plan.out / "figures")
    write_report(results, tables, figures, plan.out / "report.html", study.other)
    return results


class _Sitting:
    """One call of the command: the work that is left of a study."""

    def __init__(
        self,
        model: Backbone,
        plan: Study,
        watcher: StudyWatcher,
        workers: PoolSpec | None,
        say: Callable[[str], None],
    ) -> None:
        self.model, self.plan, self.watcher = model, plan, watcher
        self.workers, self.say = workers, say
        configs = study_configs(model, plan.choices)
        self.other = None if plan.beside is None else read_summary(plan.beside)
        writable_folder(plan.out)
        _check_variant(plan)
        labels = SourceData.load(plan.data, (plan.choices.source,), "dev").labels
        # All data is read before anything slow: what is wrong with it shows at once.
        codes = choose_languages(model, plan.data, plan.languages)
        if self.other is not None:
            check_same_test((plan.split, *sorted(codes)), self.other)
        questions = tuple(Questions.load(plan.data, code, plan.split, labels) for code in codes)
        self.folder = StudyFolder(plan.out, configs, questions, labels)

    def train(self) -> None:
        """Train the runs that are not finished."""
        self.watcher.stage("training")
        configs = self.folder.configs
        job = Job(
            data=self.plan.data,
            out=self.folder.prompts,
            configs=tuple(configs.values()),
            names=tuple(configs),
            resume=True,
            population=self.plan.population,
            cache=self.plan.cache,
        )
        broken = []
        results = run_job(self.model, job, self.watcher, self.workers, self.say)
        for done, result in enumerate(results, start=1):
            if result.interrupted:
                raise KeyboardInterrupt
            if result.path is None:
                broken.append(f"{result.name}: {result.failure}")
            self.watcher.trained(done, len(configs))
        if broken:
            raise InvalidInput("; ".join(broken))

    def ask(self) -> None:
        """Ask the prompts what they have not answered."""
        self.watcher.stage("evaluation")
        configs = self.folder.configs
        frozen = self.folder.units([n for n, config in configs.items() if not config.unfrozen])
        left = [unit for unit in frozen if unit.lacking(self.model.fingerprint)]
        done = len(frozen) - len(left)
        self.watcher.answered(done, len(frozen))
        for more, _ in enumerate(self._run(left), start=1):
            self.watcher.answered(done + more, len(frozen))
        unfrozen = {n: self.folder.units([n]) for n, config in configs.items() if config.unfrozen}
        asked = [
            UnfrozenUnit(name, self.folder.prompts / name, tuple(units))
            for name, units in unfrozen.items()
            if any(unit.lacking(self.folder.fingerprint(name)) for unit in units)
        ]
        for _ in self._run(asked):
            pass

    def take_times(self) -> None:
        """Time plain steps of the seeds whose times were not taken."""
        times = plain_times(self.folder.configs, self.plan.data, self.plan.out)
        if left := [each for each in times if each.kept() is None]:
            self.watcher.stage("timing of plain steps")
            for _ in self._run(left):
                pass

    def _run(self, units: Sequence[Any]) -> Iterator[Any]:
        """Results as units finish, here or by workers."""
        running = run_units(
            units,
            self.model,
            self.workers,
            out=self.plan.out,
            progress=self.watcher,
            say=self.say,
        )
        with closing(running) as finished:
            yield from finished


def _check_variant(plan: Study) -> None:
    """Refuse a folder that holds a study of the other variant."""
    path = plan.out / "tables" / "settings.csv"
    if not path.exists():
        return  # what is there of an unfinished one is refused by its prompts' settings
    there = read_settings(path).get("variant")
    if there != plan.choices.variant:
        raise InvalidInput(
            f"--out {plan.out} holds a study of the variant {there!r}, and this one is "
            f"{plan.choices.variant!r}; give it a folder of its own"
        )
