"""The study, stage by stage: train every run, ask every prompt in every language, gather.

    OUT/prompts/     prompt files, and the folders of unfrozen runs
    OUT/evidence/    what each prompt answered, language by language
    OUT/tables/, OUT/figures/, OUT/report.html

Every file is whole or absent, and what is there is never made twice: interrupted in any way, the
same command goes on and ends with the same tables.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import JsonValue

from isogloss.prompts.errors import InvalidData, InvalidInput
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.decoder.weights import tensors_of
from isogloss.training.data.labelled import Split
from isogloss.training.data.shots import SourceData
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.evaluate import choose_languages
from isogloss.training.files import writable_folder
from isogloss.training.study.evidence import EvidenceUnit, Questions, UnfrozenUnit
from isogloss.training.study.figures import draw_figures
from isogloss.training.study.machine import hardware
from isogloss.training.study.paper import paper_model
from isogloss.training.study.plan import StudyChoices, base_length, study_configs
from isogloss.training.study.report import write_report
from isogloss.training.study.results import StudyResults, StudyRun
from isogloss.training.study.tables import write_tables
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.outputs import PROMPT_FOLDER, versions
from isogloss.training.tuning.runs import Job, RunWatcher, run_job
from isogloss.training.tuning.texts import CacheBudget
from isogloss.training.workers.jobs import ModelSpec, Pool, run_units

_HALF_PRECISION_BYTES = 2  # of a parameter, as the models are handed out


@dataclass(frozen=True, slots=True)
class Study:
    """What to run, on what, and where to put it."""

    data: str
    out: Path
    choices: StudyChoices = field(default_factory=StudyChoices)
    languages: str = "all"
    split: Split = "test"
    population: int = 16
    cache: CacheBudget = field(default_factory=CacheBudget)
    uriel: Path | None = None


class StudyWatcher(RunWatcher, Protocol):
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
    study: Study,
    watcher: StudyWatcher,
    workers: tuple[ModelSpec, Pool] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> StudyResults:
    """Run what is left of the study, write tables, figures and report, and return the results.

    Args:
        model: trains and answers, unless there are workers; they load their own.
        study: what to run.
        watcher: follows what is done here.
        workers: the model for workers to load, and where they are.
        say: told what happens to workers.

    Raises:
        InvalidData: a language or split cannot be read; nothing was trained yet.
        InvalidInput: a setting or folder cannot be used, or a run's numbers broke.
        Unavailable: workers cannot start, or die again and again.
    """
    conductor = _Conductor(model, study, watcher, workers, say)
    conductor.train()
    conductor.ask()
    watcher.stage("tables, figures and report")
    results = conductor.results()
    tables = write_tables(results, study.out / "tables")
    figures = draw_figures(results, tables, study.out / "figures")
    write_report(results, tables, figures, study.out / "report.html")
    return results


class _Conductor:
    """One sitting of a study."""

    def __init__(
        self,
        model: Backbone,
        study: Study,
        watcher: StudyWatcher,
        workers: tuple[ModelSpec, Pool] | None,
        say: Callable[[str], None],
    ) -> None:
        self.model, self.study, self.watcher = model, study, watcher
        self.workers, self.say = workers, say
        self.configs = study_configs(model, study.choices)
        self.prompts = study.out / "prompts"
        # backbone -> language -> digest of a prompt -> accuracy
        self._answered: dict[str, dict[str, dict[str, float]]] = {}
        self.parameters = sum(tensor.numel() for tensor in tensors_of(model.weights))
        writable_folder(study.out)
        source = SourceData.load(study.data, (study.choices.source,), "dev")
        self.labels = source.labels
        # All data is read before anything slow: what is wrong with it shows at once.
        codes = choose_languages(model, study.data, study.languages)
        self.questions = [
            Questions.load(study.data, code, study.split, self.labels) for code in codes
        ]

    def train(self) -> None:
        """Train the runs that are not finished."""
        self.watcher.stage("training")
        job = Job(
            data=self.study.data,
            out=self.prompts,
            configs=tuple(self.configs.values()),
            names=tuple(self.configs),
            resume=True,
            population=self.study.population,
            cache=self.study.cache,
        )
        broken = []
        for done, result in enumerate(
            run_job(self.model, job, self.watcher, self.workers, self.say), start=1
        ):
            if result.interrupted:
                raise KeyboardInterrupt
            if result.path is None:
                broken.append(f"{result.name}: {result.failure}")
            self.watcher.trained(done, len(self.configs))
        if broken:
            raise InvalidInput("; ".join(broken))

    def ask(self) -> None:
        """Ask the prompts what they have not answered."""
        self.watcher.stage("evaluation")
        frozen = self._units([n for n, c in self.configs.items() if not c.unfrozen])
        left = [unit for unit in frozen if unit.lacking(self.model.fingerprint)]
        done = len(frozen) - len(left)
        self.watcher.answered(done, len(frozen))
        for more, _ in enumerate(self._run(left), start=1):
            self.watcher.answered(done + more, len(frozen))
        unfrozen = {n: tuple(self._units([n])) for n, c in self.configs.items() if c.unfrozen}
        units = [
            UnfrozenUnit(name, self.prompts / name, own)
            for name, own in unfrozen.items()
            if any(unit.lacking(self._fingerprint(name)) for unit in own)
        ]
        for _ in self._run(units):
            pass

    def results(self) -> StudyResults:
        """Everything that the tables are made of, from what is on disk."""
        model, study = self.model, self.study
        runs = tuple(self._result(name, config) for name, config in self.configs.items())
        return StudyResults(
            model=model.model_id,
            architecture=model.architecture,
            hidden_size=model.hidden_size,
            paper_model=paper_model(model.model_id, model.architecture, model.hidden_size),
            data=study.data,
            source=study.choices.source,
            split=study.split,
            parts=study.choices.parts,
            shots=study.choices.shots,
            length=base_length(model, study.choices),
            runs=runs,
            model_parameters=self.parameters,
            model_bytes=self.parameters * _HALF_PRECISION_BYTES,
            settings=self._settings(),
            versions={name: str(version) for name, version in versions().items()},
            hardware=hardware(model.device),
            seconds=self._seconds(runs),
            created_at=datetime.now(UTC),
            majority_share=self._majority_share(),
            uriel=study.uriel,
        )

    def _run(self, units: Sequence[Any]) -> Any:
        """Results as units finish, here or by workers."""
        spec, pool = self.workers or (ModelSpec(self.model.model_id), None)
        running = run_units(
            units,
            spec,
            workers=pool,
            out=self.study.out,
            model=self.model,
            watcher=self.watcher,
            say=self.say,
        )
        with closing(running) as finished:
            yield from finished

    def _units(self, names: Sequence[str]) -> list[EvidenceUnit]:
        candidates = tuple(Candidate(name, self._prompt(name)) for name in names)
        return [
            EvidenceUnit(questions, candidates, self.study.out, self.labels)
            for questions in self.questions
        ]

    def _path(self, name: str) -> Path:
        if self.configs[name].unfrozen:
            return self.prompts / name / PROMPT_FOLDER / f"{name}.safetensors"
        return self.prompts / f"{name}.safetensors"

    def _prompt(self, name: str) -> SoftPrompt:
        return SoftPrompt.load(self._path(name))

    def _fingerprint(self, name: str) -> str:
        return self._prompt(name).card.model.fingerprint

    def _result(self, name: str, config: TrainingConfig) -> StudyRun:
        prompt = self._prompt(name)
        facts: Mapping[str, Any] = prompt.card.training
        assert isinstance(config.shots, int)
        return StudyRun(
            name=name,
            seed=config.seed,
            shots=config.shots,
            length=config.length,
            kind=config.kind,
            unfrozen=config.unfrozen,
            digest=_digest(prompt),
            dev_accuracy=prompt.card.dev_accuracy,
            best_epoch=int(facts["best_epoch"]),
            epochs=int(facts["epochs_run"]),
            train_seconds=float(facts["seconds"]),
            trained_parameters=self._trained_parameters(config),
            prompt_bytes=self._stored_bytes(config),
            accuracy=self._accuracy(prompt),
        )

    def _accuracy(self, prompt: SoftPrompt) -> dict[str, float]:
        """By language; a backbone's answers are read once for all of its prompts."""
        backbone = prompt.card.model.fingerprint
        if backbone not in self._answered:
            self._answered[backbone] = {u.name: u.accuracies(backbone) for u in self._units([])}
        by_language = self._answered[backbone]
        if lacking := [code for code, own in by_language.items() if prompt.digest not in own]:
            raise InvalidData(f"prompt {prompt.digest} has no answers for {lacking[0]}; run again")
        return {code: own[prompt.digest] for code, own in by_language.items()}

    def _stored_bytes(self, config: TrainingConfig) -> int:
        """Of the numbers in what a run leaves behind; its card, some KB, says when and where."""
        numbers = config.length * self.model.hidden_size
        if config.unfrozen:
            numbers += self.parameters
        return numbers * torch.float32.itemsize

    def _trained_parameters(self, config: TrainingConfig) -> int:
        hidden = self.model.hidden_size
        count = config.length * hidden
        if config.bottleneck is not None:  # two projections, and a layer norm's gain and bias
            count += 2 * hidden * config.bottleneck + 2 * hidden
        if config.unfrozen:
            count += self.parameters
        return count

    def _settings(self) -> dict[str, JsonValue]:
        """Those of the base run, and in what unfrozen and residual runs differ."""
        told = ("sources", "kind", "seed", "length", "shots", "unfrozen", "bottleneck", "words")
        configs = list(self.configs.values())
        shown: dict[str, JsonValue] = configs[0].model_dump(
            mode="json", exclude={*told, "reparameterization"}
        )
        for config in configs:
            if config.unfrozen:
                shown["learning_rate_unfrozen"] = config.learning_rate
            if config.bottleneck is not None:
                shown["bottleneck"] = config.bottleneck
        return {**shown, "dtype": str(self.model.dtype).removeprefix("torch.")}

    def _seconds(self, runs: Sequence[StudyRun]) -> dict[str, float]:
        asked = {
            fingerprint: sum(unit.seconds(fingerprint) for unit in self._units([]))
            for fingerprint in {self._fingerprint(run.name) for run in runs}
        }
        frozen = asked.pop(self.model.fingerprint)
        stages = {
            "training, frozen": sum(r.train_seconds for r in runs if not r.unfrozen),
            "training, unfrozen": sum(r.train_seconds for r in runs if r.unfrozen),
            "evaluation, frozen": frozen,
            "evaluation, unfrozen": sum(asked.values()),
        }
        return {name: round(seconds, 1) for name, seconds in stages.items() if seconds}

    def _majority_share(self) -> float:
        """Of the commonest label among the sentences of one language: what guessing gets."""
        counts = Counter(example.label for example in self.questions[0].examples)
        return max(counts.values()) / counts.total()


def _digest(prompt: SoftPrompt) -> str:
    """Of the numbers alone: a prompt's own digest tells when it was made, too."""
    return f"sha256:{hashlib.sha256(prompt.vectors.numpy().tobytes()).hexdigest()}"
