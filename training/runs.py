"""From a command to prompt files: one prompt per seed, each with its card.

    OUT/<name>.safetensors          a frozen run's prompt
    OUT/<name>/                     an unfrozen run: the model's weights in the hub's layout, and
    OUT/<name>/prompt/<name>.safetensors   the prompt that is valid with those weights only
    OUT/<name>.state.safetensors    an unfinished run, for --resume

A name is `<task>-<model>-<kind>-<length>-seed<S>`, or what the user calls it, and `-seed<S>`.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from pydantic import JsonValue
from torch import Tensor

from prompts.backbone import Backbone
from prompts.errors import InvalidInput
from prompts.routes import check_name
from prompts.soft_prompt import ModelRef, SoftPrompt
from prompts.verbalizer import LabelToken, verbalize
from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import TrainingConfig
from training.files import writable_folder
from training.loop import Best, Checkpoint, Outcome, PromptTraining, Watcher, train_prompt
from training.outputs import (
    PROMPT_FOLDER,
    make_prompt,
    outcome_facts,
    save_folder,
    save_prompt,
    versions,
)
from training.shots import Sample, SourceData, sample
from training.texts import FreshTexts, LabelledTexts, Texts, encode_texts, gold_of, tokenize


@dataclass(frozen=True, slots=True)
class Job:
    """What to train and where to put it; the seeds share everything but chance."""

    data: str
    out: Path
    config: TrainingConfig  # its seed is replaced by each of `seeds`
    seeds: tuple[int, ...]
    name: str | None = None
    resume: bool = False
    overwrite: bool = False
    keep_state: bool = True  # for --resume; an unfrozen run's is four times the weights, an epoch
    cache_bytes: int = 4 * 2**30


@dataclass(frozen=True, slots=True)
class Trained:
    """One seed's result."""

    name: str
    path: Path | None  # None: interrupted before the first epoch ended
    seed: int
    epochs: int
    best_epoch: int | None
    dev_accuracy: float | None
    dev_loss: float | None
    seconds: float
    interrupted: bool
    digest: str | None


class RunWatcher(Watcher, Protocol):
    """Someone who follows a job."""

    def run(
        self, name: str, config: TrainingConfig, train: int, dev: int, first_epoch: int
    ) -> None:
        """A seed begins: numbers of examples, and the epoch it begins or goes on with."""


def run_job(model: Backbone, job: Job, watcher: RunWatcher) -> Iterator[Trained]:
    """Train one prompt per seed, yielding each when its file is written.

    The last one yielded is the interrupted one where Ctrl-C was pressed.

    Raises:
        InvalidInput: data, settings or folder cannot be used; nothing was written for that seed.
    """
    source = SourceData.load(job.data, job.config.sources, job.config.validation)
    labels = verbalize(source.labels, model.tokenizer, job.config.words)
    writable_folder(job.out)
    for seed in job.seeds:
        config = job.config.model_copy(update={"seed": seed})
        run = _Run(model, job, config, labels, sample(source, config.shots, seed))
        result = run.finished() or run.train(watcher)
        yield result
        if result.interrupted:
            return


def run_name(model_id: str, config: TrainingConfig, name: str | None) -> str:
    """The name of a run's files, which is also a valid name in a prompt store.

    Raises:
        InvalidInput: the name given, or the one made, is not valid in a store.
    """
    short = re.sub(r"[^a-z0-9._-]+", "-", Path(model_id).name.lower()).strip("-._")
    made = f"{config.task}-{short}-{config.kind}-{config.length}"
    if config.unfrozen:
        made += "-unfrozen"
    return check_name(f"{name or made}-seed{config.seed}")


class _Run:
    """One seed of a job."""

    def __init__(
        self,
        model: Backbone,
        job: Job,
        config: TrainingConfig,
        labels: tuple[LabelToken, ...],
        examples: Sample,
    ) -> None:
        self.model, self.job, self.config = model, job, config
        self.labels, self.examples = labels, examples
        self.name = run_name(model.model_id, config, job.name)
        self.state_path = job.out / f"{self.name}.state.safetensors"
        self.folder = job.out / self.name  # unfrozen only
        self.path = job.out / f"{self.name}.safetensors"
        if config.unfrozen:
            self.path = self.folder / PROMPT_FOLDER / f"{self.name}.safetensors"
        self.settings: dict[str, JsonValue] = {
            **config.model_dump(mode="json"),
            "data": job.data,
            "examples": _digest(examples),
            "backbone": model.fingerprint,
        }
        self._facts: dict[str, JsonValue] = {
            **self.settings,
            "train_examples": len(examples.train),
            "validation_examples": len(examples.validation),
            "device": model.device.type,
            "dtype": str(model.dtype).removeprefix("torch."),
            "versions": versions(),
        }

    def finished(self) -> Trained | None:
        """With --resume, the result of this very run where it is already whole.

        Raises:
            InvalidInput: the file is there and would be replaced by a prompt of other settings.
        """
        if not self.path.exists():
            return None
        card = SoftPrompt.load(self.path).card
        differing = [k for k in self.settings if card.training.get(k) != self.settings[k]]
        if differing and not self.job.overwrite:
            raise InvalidInput(
                f"{self.path} was trained with another {differing[0]} "
                f"({card.training.get(differing[0])!r}, now {self.settings[differing[0]]!r}); "
                "choose another --out or --name, or replace it with --overwrite"
            )
        if differing or not self.job.resume or card.training.get("interrupted"):
            return None
        return self._result(SoftPrompt.load(self.path), interrupted=False, seconds=0.0)

    def train(self, watcher: RunWatcher) -> Trained:
        """Train, or go on from the state file, and write the best checkpoint."""
        began = time.monotonic()
        start = load_checkpoint(self.state_path, self.settings) if self.job.resume else None
        model, weights = self._model()
        train, dev = self._texts(model)
        first = len(start.history) + 1 if start else 1
        watcher.run(self.name, self.config, len(train), len(dev), first)
        ids = [label.token_id for label in self.labels]
        outcome = train_prompt(
            PromptTraining(model, ids, self.config, weights),
            train,
            dev,
            watcher,
            start=start,
            keep=self._keep,
        )
        seconds = time.monotonic() - began
        if outcome.best is None:
            return Trained(
                self.name, None, self.config.seed, 0, None, None, None, seconds, True, None
            )
        prompt = self._save(model, weights, outcome, outcome.best, seconds)
        if not outcome.interrupted:
            self.state_path.unlink(missing_ok=True)
        return self._result(prompt, outcome.interrupted, seconds)

    def _keep(self, checkpoint: Checkpoint) -> None:
        if self.job.keep_state:
            save_checkpoint(self.state_path, checkpoint, self.settings)

    def _model(self) -> tuple[Backbone, list[Tensor]]:
        return self.model.trainable_copy() if self.config.unfrozen else (self.model, [])

    def _texts(self, model: Backbone) -> tuple[LabelledTexts, LabelledTexts]:
        names = [label.label for label in self.labels]
        splits = [self.examples.train, self.examples.validation]
        ids = [tokenize(model, split, self.config.max_text_tokens) for split in splits]
        gold = [gold_of(split, names, model.device) for split in splits]
        if self.config.unfrozen:
            fresh = [FreshTexts(model, texts) for texts in ids]
            return LabelledTexts(fresh[0], gold[0]), LabelledTexts(fresh[1], gold[1])
        budgets = _shares(ids, self.job.cache_bytes)
        held = [encode_texts(model, t, budget) for t, budget in zip(ids, budgets, strict=True)]
        return LabelledTexts(held[0], gold[0]), LabelledTexts(held[1], gold[1])

    def _save(
        self,
        model: Backbone,
        weights: Sequence[Tensor],
        outcome: Outcome,
        best: Best,
        took_s: float,
    ) -> SoftPrompt:
        facts = {**self._facts, **outcome_facts(outcome, best, took_s)}
        if not self.config.unfrozen:
            ref = ModelRef(
                id=model.model_id, revision=model.revision, fingerprint=model.fingerprint
            )
            return save_prompt(self.path, make_prompt(ref, self.config, self.labels, facts, best))
        with torch.no_grad():
            for weight, value in zip(weights, best.weights, strict=True):
                weight.copy_(value)
        return save_folder(
            self.folder,
            model,
            lambda ref: make_prompt(ref, self.config, self.labels, facts, best),
        )

    def _result(self, prompt: SoftPrompt, interrupted: bool, seconds: float) -> Trained:
        facts = json.loads(prompt.card.to_json())["training"]
        return Trained(
            name=self.name,
            path=self.folder if self.config.unfrozen else self.path,
            seed=self.config.seed,
            epochs=facts["epochs_run"],
            best_epoch=facts["best_epoch"],
            dev_accuracy=prompt.card.dev_accuracy,
            dev_loss=facts["dev_loss"],
            seconds=round(seconds, 3),
            interrupted=interrupted,
            digest=prompt.digest,
        )


def _digest(examples: Sample) -> str:
    """Identity of the very examples: the same settings on changed data are another run."""
    rows = [asdict(example) for example in (*examples.train, *examples.validation)]
    return f"sha256:{hashlib.sha256(json.dumps(rows).encode()).hexdigest()}"


def _shares(texts: Sequence[Texts], budget_bytes: int) -> list[int]:
    """Divide the cache between splits by their numbers of tokens."""
    tokens = [sum(map(len, own)) for own in texts]
    return [budget_bytes * own // sum(tokens) for own in tokens]
