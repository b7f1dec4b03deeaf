"""Small prompts and route tables for tests; no model is needed for them."""

from __future__ import annotations

from datetime import UTC, datetime

import torch

from isogloss.prompts.format.card import ModelRef, PromptCard
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.verbalizer import LabelToken
from isogloss.prompts.routing.routes import RouteTable

MODEL = ModelRef(id="pocket-bloom", revision=None, fingerprint="sha256:" + "ab" * 32)
NAMES = "abcdefghijklmnopq"
OTHER_MODEL = ModelRef(id="pocket-xglm", revision=None, fingerprint="sha256:" + "cd" * 32)


def labels(*names: str) -> tuple[LabelToken, ...]:
    return tuple(
        LabelToken(label=name, word=name, token=f"Ġ{name}", token_id=100 + place)
        for place, name in enumerate(names)
    )


def card(
    *,
    model: ModelRef = MODEL,
    task: str = "topic",
    names: tuple[str, ...] = ("sports", "travel"),
    position: str = "suffix",
) -> PromptCard:
    return PromptCard.model_validate(
        {
            "model": model,
            "position": position,
            "kind": "plain",
            "task": task,
            "labels": labels(*names),
            "training": {"seed": 42, "learning_rate": 0.1},
            "dev_accuracy": 0.75,
            "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        }
    )


def prompt(
    seed: int = 0, *, length: int = 3, hidden: int = 8, of_card: PromptCard | None = None
) -> SoftPrompt:
    vectors = torch.randn(length, hidden, generator=torch.Generator().manual_seed(seed))
    return SoftPrompt(card=of_card or card(), vectors=vectors)


def table(universal: str = "world", **clades: str) -> RouteTable:
    return RouteTable(model=MODEL, task="topic", universal=universal, clades=clades)


def ensemble(*prompts: SoftPrompt) -> Ensemble:
    """As `prompts combine a b ...` makes it of version 1 of each."""
    return Ensemble.of([(name, 1, each) for name, each in zip(NAMES, prompts, strict=False)])
