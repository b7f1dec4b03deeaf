"""What a run leaves behind: a prompt with its card, or a folder of weights with theirs."""

from __future__ import annotations

import contextlib
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from pydantic import JsonValue

from isogloss.prompts.files import durable
from isogloss.prompts.format.soft_prompt import ModelRef, PromptCard, SoftPrompt
from isogloss.prompts.format.verbalizer import LabelToken
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.files import writing
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.member import Best, Outcome

PROMPT_FOLDER = "prompt"
"""Inside an unfrozen run's folder: not beside the weights, where loaders look for shards."""


def make_prompt(
    model: ModelRef,
    config: TrainingConfig,
    labels: tuple[LabelToken, ...],
    facts: Mapping[str, JsonValue],
    best: Best,
) -> SoftPrompt:
    """The best checkpoint as a prompt whose card says how to train it again."""
    card = PromptCard(
        model=model,
        position="suffix",
        kind=config.kind,
        task=config.task,
        labels=labels,
        training=dict(facts),
        dev_accuracy=best.record.dev_accuracy,
        created_at=datetime.now(UTC),
    )
    return SoftPrompt(card, best.vectors)


def outcome_facts(outcome: Outcome, best: Best, took_s: float) -> dict[str, JsonValue]:
    """How a run went, for the card."""
    return {
        "best_epoch": best.record.epoch,
        "dev_loss": best.record.dev_loss,
        "history": [asdict(record) for record in outcome.history],
        "epochs_run": len(outcome.history),
        "interrupted": outcome.interrupted,
        "seconds": round(took_s, 3),
    }


def save_prompt(path: Path, prompt: SoftPrompt) -> SoftPrompt:
    """Write a prompt file, and return the prompt.

    Raises:
        InvalidInput: it cannot be written.
    """
    with writing(path):
        prompt.save(path)
    return prompt


def save_folder(
    folder: Path, model: Backbone, prompt_for: Callable[[ModelRef], SoftPrompt]
) -> SoftPrompt:
    """Write trained weights and the prompt that is valid with them only, in one step.

    Raises:
        InvalidInput: they cannot be written.
    """
    beside, old = durable.temporary_name(folder.parent), durable.temporary_name(folder.parent)
    try:
        with writing(folder):
            model.save_pretrained(beside)
            # Read back: the fingerprint of what a later command will load.
            fingerprint = Backbone.load(str(beside), device="cpu").fingerprint
            prompt = prompt_for(ModelRef(id=str(folder), fingerprint=fingerprint))
            (beside / PROMPT_FOLDER).mkdir()
            prompt.save(beside / PROMPT_FOLDER / f"{folder.name}.safetensors")
            if folder.exists():
                folder.rename(old)
            beside.rename(folder)
    finally:
        for leftover in (beside, old):
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(leftover)
    return prompt


def versions() -> dict[str, JsonValue]:
    """Versions of what decides a prompt's numbers."""
    found: dict[str, JsonValue] = {"python": platform.python_version()}
    for package in ("isogloss", "torch", "transformers", "safetensors"):
        with contextlib.suppress(metadata.PackageNotFoundError):  # run from a bare checkout
            found[package] = metadata.version(package)
    return found
