"""One run's files: a prompt with its card, or an unfrozen run's folder of weights.

OUT/<name>.safetensors          a frozen run's prompt
OUT/<name>/                     an unfrozen run: the model's weights in the hub's layout, and
OUT/<name>/prompt/<name>.safetensors   the prompt that is valid with those weights only
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.soft_prompt import ModelRef, SoftPrompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.tuning.config import START_PROMPT, TrainingConfig
from isogloss.training.tuning.material import Material
from isogloss.training.tuning.member import Best, Member, Outcome
from isogloss.training.tuning.outputs import (
    PROMPT_FOLDER,
    make_prompt,
    outcome_facts,
    save_folder,
    save_prompt,
    versions,
)
from isogloss.training.tuning.teacher import identity, load_prompt
from isogloss.training.tuning.texts import EncodedTexts, tokenize
from isogloss.training.tuning.way import way_of


@dataclass(frozen=True, slots=True)
class Trained:
    """One run's result."""

    name: str
    path: Path | None  # None: nothing to keep (see `interrupted` and `failure`)
    seed: int
    epochs: int
    best_epoch: int | None
    dev_accuracy: float | None
    dev_loss: float | None
    seconds: float  # its share, where it trained in a population
    interrupted: bool
    digest: str | None
    failure: str | None = None  # why its numbers broke


class Run:
    """One prompt to be trained, and where it goes."""

    def __init__(
        self,
        name: str,
        model: Backbone,
        out: Path,
        config: TrainingConfig,
        material: Material,
    ) -> None:
        self.name, self.model, self.config, self.material = name, model, config, material
        self.folder = out / name  # unfrozen only
        self.path = out / f"{name}.safetensors"
        if config.unfrozen:
            self.path = self.folder / PROMPT_FOLDER / f"{name}.safetensors"
        self.settings: dict[str, JsonValue] = {
            # Files are known by their digests: one that was moved is the same.
            **config.model_dump(mode="json", exclude={"teacher_language"}),
            **_start(model, config.init),
            **material.identity,
            "backbone": model.fingerprint,
        }

    def finished(self, *, overwrite: bool) -> Trained | None:
        """The result of this very run where it is already whole.

        Raises:
            InvalidInput: the file is there and would be replaced by a prompt of other settings.
        """
        if not self.path.exists():
            return None
        prompt = SoftPrompt.load(self.path)
        was = prompt.card.training
        differing = [name for name in self.settings if was.get(name) != self.settings[name]]
        if differing and not overwrite:
            raise InvalidInput(
                f"{self.path} was trained with another {differing[0]} "
                f"({was.get(differing[0])!r}, now {self.settings[differing[0]]!r}); "
                "choose another --out or --name, or replace it with --overwrite"
            )
        if differing or was.get("interrupted"):
            return None
        return self._result(prompt, None, seconds=0.0)

    @cached_property
    def texts(self) -> list[Sequence[int]]:
        """Token ids of everything it learns from and validates on."""
        return [
            text
            for split in (self.material.train, self.material.validation)
            for text in tokenize(self.model, split, self.config.max_text_tokens)
        ]

    def member(
        self,
        model: Backbone,
        weights: Sequence[Tensor],
        texts: EncodedTexts,
        watch: Callable[[int, int], None],
    ) -> Member:
        """The run as a member of a population over `texts`, to which its own are added.

        `watch` is told how many of a teacher's sentences are read.
        """
        train, dev = self.material.split(texts.add(self.texts), model, watch)
        ids = [label.token_id for label in self.material.labels]
        return Member(model, ids, self.config, train, dev, weights)

    def save(self, member: Member, outcome: Outcome, took_s: float, population: int) -> Trained:
        """Write the best checkpoint, if there is one."""
        if outcome.best is None:
            return Trained(
                self.name,
                None,
                self.config.seed,
                len(outcome.history),
                None,
                None,
                None,
                round(took_s, 3),
                outcome.interrupted,
                None,
                outcome.failure,
            )
        facts = {
            **self._facts(),
            **outcome_facts(outcome, outcome.best, took_s),
            "population": population,
        }
        prompt = self._save(member, outcome.best, facts)
        return self._result(prompt, outcome, took_s)

    def _facts(self) -> dict[str, JsonValue]:
        return {
            **self.settings,
            **way_of(self.config),
            "train_examples": len(self.material.train),
            "validation_examples": len(self.material.validation),
            "device": self.model.device.type,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "versions": versions(),
        }

    def _save(self, member: Member, best: Best, facts: dict[str, JsonValue]) -> SoftPrompt:
        model = member.model
        if not self.config.unfrozen:
            ref = ModelRef(
                id=model.model_id, revision=model.revision, fingerprint=model.fingerprint
            )
            return save_prompt(
                self.path, make_prompt(ref, self.config, self.material.labels, facts, best)
            )
        with torch.no_grad():
            for weight, value in zip(member.weights, best.weights, strict=True):
                weight.copy_(value)
        return save_folder(
            self.folder,
            model,
            lambda ref: make_prompt(ref, self.config, self.material.labels, facts, best),
        )

    def _result(self, prompt: SoftPrompt, outcome: Outcome | None, seconds: float) -> Trained:
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
            interrupted=outcome is not None and outcome.interrupted,
            digest=prompt.digest,
            failure=outcome.failure if outcome else None,
        )


def _start(model: Backbone, init: str) -> dict[str, JsonValue]:
    """The prompt to start from, by what it is and not by where it lies."""
    if not init.startswith(START_PROMPT):
        return {"start": None}
    path = init.removeprefix(START_PROMPT)
    start = identity(path, load_prompt(path, model, f"--init {START_PROMPT}"))
    return {"init": f"{START_PROMPT}{start['name']}", "start": start}
