"""What a run leaves behind: a prompt with its card, or an unfrozen run's folder of weights.

OUT/<name>.safetensors          a frozen run's prompt
OUT/<name>/                     an unfrozen run: the model's weights in the hub's layout, and
OUT/<name>/prompt/<name>.safetensors   the prompt that is valid with those weights only
"""

from __future__ import annotations

import contextlib
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.files import durable
from isogloss.prompts.format.soft_prompt import ModelRef, PromptCard, SoftPrompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.files import writing
from isogloss.training.tuning.config import START_PROMPT, TrainingConfig, written_settings
from isogloss.training.tuning.dataset import Dataset
from isogloss.training.tuning.given_prompt import identity, load_prompt
from isogloss.training.tuning.prompt_trainer import Best, PromptTrainer
from isogloss.training.tuning.supervision import supervision_facts

PROMPT_FOLDER = "prompt"
"""Inside an unfrozen run's folder: not beside the weights, where loaders look for shards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One run's result."""

    name: str
    path: Path | None = None  # None: nothing to keep (see `interrupted` and `failure`)
    seed: int
    epochs: int
    best_epoch: int | None = None
    dev_accuracy: float | None = None  # None where what validates is held out of train
    validation: str | None = None  # dev or train; None: a teacher's sentences
    validation_accuracy: float | None = None  # of the split that chose the checkpoint
    dev_loss: float | None = None
    seconds: float  # its share, where prompts trained together
    interrupted: bool
    digest: str | None = None
    failure: str | None = None  # why its numbers broke


@dataclass(frozen=True, slots=True)
class Run:
    """One prompt to be trained, and where it goes."""

    name: str
    config: TrainingConfig
    dataset: Dataset
    path: Path  # of the prompt's file, or an unfrozen run's folder
    settings: dict[str, JsonValue]  # all that decides the prompt, for its card and for --resume

    @classmethod
    def of(
        cls, model: Backbone, out: Path, name: str, config: TrainingConfig, dataset: Dataset
    ) -> Run:
        """Settle where a run goes, and what decides its prompt.

        Raises:
            NotFound: there is no such prompt to start from.
            InvalidPrompt: the prompt to start from cannot be used.
        """
        settings = {
            # Files are known by their digests: one that was moved is the same.
            **config.model_dump(mode="json", exclude={"teacher_language"}),
            **_start(model, config.starts_at),
            **dataset.identity,
            "backbone": model.fingerprint,
        }
        path = out / (name if config.unfrozen else f"{name}.safetensors")
        return cls(name, config, dataset, path, settings)

    @property
    def prompt_path(self) -> Path:
        """Of the prompt's file."""
        if self.config.unfrozen:
            return self.path / PROMPT_FOLDER / f"{self.name}.safetensors"
        return self.path

    def finished(self, *, overwrite: bool) -> Trained | None:
        """The result of this very run where it is already whole.

        Raises:
            InvalidInput: the file is there and would be replaced by a prompt of other settings.
        """
        if not self.prompt_path.exists():
            return None
        prompt = SoftPrompt.load(self.prompt_path)
        was = written_settings(prompt.card.training) | {"template": prompt.card.template}
        differing = [name for name in self.settings if was.get(name) != self.settings[name]]
        if differing and not overwrite:
            raise InvalidInput(
                f"{self.prompt_path} was trained with another {differing[0]} "
                f"({was.get(differing[0])!r}, now {self.settings[differing[0]]!r}); "
                "choose another --out or --name, or replace it with --overwrite"
            )
        if differing or was.get("interrupted"):
            return None
        return self._saved(prompt)

    def save(
        self, model: Backbone, trainer: PromptTrainer, seconds: float, together: int
    ) -> Trained:
        """Write the best checkpoint of a training that has ended, if there is one.

        Args:
            model: the frozen backbone.
            trainer: of this run's prompt.
            seconds: this prompt's share of the time.
            together: prompts that trained side by side.

        Raises:
            InvalidInput: it cannot be written.
        """
        best, seconds, interrupted = trainer.best, round(seconds, 3), not trainer.finished
        if best is None:
            return Trained(
                name=self.name,
                seed=self.config.seed,
                epochs=len(trainer.history),
                seconds=seconds,
                interrupted=interrupted,
                failure=trainer.failure,
            )
        facts = {
            **self._facts(model, trainer, best),
            "interrupted": interrupted,
            "seconds": seconds,
            "population": together,
        }
        save = self._save_folder if self.config.unfrozen else self._save_prompt
        return self._saved(save(trainer, best, facts), seconds, interrupted, trainer.failure)

    def _facts(self, model: Backbone, trainer: PromptTrainer, best: Best) -> dict[str, JsonValue]:
        """How the prompt was made, for its card, which says its template itself."""
        settings = {name: value for name, value in self.settings.items() if name != "template"}
        return {
            **settings,
            **supervision_facts(self.config),
            "train_examples": len(self.dataset.train),
            "validation_examples": len(self.dataset.validation),
            "device": model.device.type,
            "dtype": str(model.dtype).removeprefix("torch."),
            "versions": versions(),
            "best_epoch": best.record.epoch,
            "validation_accuracy": best.record.dev_accuracy,
            "dev_loss": best.record.dev_loss,
            "history": [asdict(record) for record in trainer.history],
            "epochs_run": len(trainer.history),
        }

    def _saved(
        self,
        prompt: SoftPrompt,
        seconds: float = 0.0,
        interrupted: bool = False,
        failure: str | None = None,
    ) -> Trained:
        facts: Mapping[str, Any] = prompt.card.training
        return Trained(
            name=self.name,
            path=self.path,
            seed=self.config.seed,
            epochs=facts["epochs_run"],
            best_epoch=facts["best_epoch"],
            dev_accuracy=prompt.card.dev_accuracy,
            validation=facts.get("validation"),
            validation_accuracy=facts.get("validation_accuracy", prompt.card.dev_accuracy),
            dev_loss=facts["dev_loss"],
            seconds=seconds,
            interrupted=interrupted,
            digest=prompt.digest,
            failure=failure,
        )

    def _save_prompt(
        self, trainer: PromptTrainer, best: Best, facts: Mapping[str, JsonValue]
    ) -> SoftPrompt:
        model = trainer.model
        reference = ModelRef(
            id=model.model_id, revision=model.revision, fingerprint=model.fingerprint
        )
        prompt = self._prompt(reference, best, facts)
        with writing(self.path):
            prompt.save(self.path)
        return prompt

    def _save_folder(
        self, trainer: PromptTrainer, best: Best, facts: Mapping[str, JsonValue]
    ) -> SoftPrompt:
        """Write trained weights and the prompt that is valid with them only, in one step."""
        with torch.no_grad():
            for weight, value in zip(trainer.weights, best.weights, strict=True):
                weight.copy_(value)
        folder = self.path
        beside, old = durable.temporary_name(folder.parent), durable.temporary_name(folder.parent)
        try:
            with writing(folder):
                trainer.model.save_pretrained(beside)
                # Read back: the fingerprint of what a later command will load.
                fingerprint = Backbone.load(str(beside), device="cpu").fingerprint
                prompt = self._prompt(
                    ModelRef(id=str(folder), fingerprint=fingerprint), best, facts
                )
                (beside / PROMPT_FOLDER).mkdir()
                prompt.save(beside / PROMPT_FOLDER / self.prompt_path.name)
                if folder.exists():
                    folder.rename(old)
                beside.rename(folder)
        finally:
            for leftover in (beside, old):
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(leftover)
        return prompt

    def _prompt(self, model: ModelRef, best: Best, facts: Mapping[str, JsonValue]) -> SoftPrompt:
        """The best checkpoint as a prompt whose card says how to train it again."""
        card = PromptCard(
            model=model,
            position="suffix",
            kind=self.config.kind,
            template=self.config.template,
            task=self.config.task,
            labels=self.dataset.verbalizer.labels,
            problem=self.dataset.verbalizer.problem,
            none=self.dataset.verbalizer.none,
            training=dict(facts),
            dev_accuracy=best.record.dev_accuracy if self.config.validation == "dev" else None,
            created_at=datetime.now(UTC),
        )
        return SoftPrompt(card, best.vectors)


def versions() -> dict[str, JsonValue]:
    """Versions of what decides a prompt's numbers."""
    known: dict[str, JsonValue] = {"python": platform.python_version()}
    for package in ("isogloss", "torch", "transformers", "safetensors"):
        with contextlib.suppress(metadata.PackageNotFoundError):  # run from a bare checkout
            known[package] = metadata.version(package)
    return known


def _start(model: Backbone, init: str) -> dict[str, JsonValue]:
    """The prompt to start from, by what it is and not by where it lies."""
    if not init.startswith(START_PROMPT):
        return {"start": None}
    path = init.removeprefix(START_PROMPT)
    start = identity(path, load_prompt(path, model, f"--init {START_PROMPT}"))
    return {"init": f"{START_PROMPT}{start['name']}", "start": start}
