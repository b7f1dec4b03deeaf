"""A teacher, and prompts that learn from it over our sentences as parallel text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.tuning.config import TrainingConfig, configure
from isogloss.training.tuning.job import Job, run_job
from isogloss.training.tuning.outputs import Trained
from isogloss.training.tuning.texts import tokenize
from isogloss.training.tuning.trainer import Silent
from tests.training.tiny import prompt, sentences


def save_teacher(model: Backbone, path: Path, **changes: Any) -> str:
    """An untrained prompt with strong opinions."""
    made = prompt(model, seed=5)
    made = SoftPrompt(made.card.model_copy(update=changes), made.vectors * 2)
    made.save(path)
    return str(path)


def settings(model: Backbone, teacher: str, task: str, /, **choices: Any) -> TrainingConfig:
    own = {"task": "home", "teacher": teacher, "parallel": (task,), "sources": ("fra_Latn",)}
    tried = {"length": 3, "epochs": 3, "learning_rate": 0.03}
    return configure(model, {**own, **tried, **choices})


def train(model: Backbone, out: Path, *configs: TrainingConfig, **more: Any) -> list[Trained]:
    job = Job(data="nowhere", out=out, configs=configs, **more)
    return sorted(run_job(model, job, Silent()), key=lambda own: own.name)


def vectors(trained: Trained) -> Tensor:
    assert trained.path is not None
    return SoftPrompt.load(trained.path).vectors


def ids(model: Backbone, code: str = "fra_Latn") -> Sequence[Sequence[int]]:
    return tokenize(model, [text for _, _, text in sentences(code, "train")], None)
