"""What the paper's released code does where its text is silent or says otherwise.

Each is an option of training; docs/how-to/as-published.md sets them side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

AS_PUBLISHED: Mapping[str, Any] = MappingProxyType(
    {
        "init": "uniform",
        "prompt_scale": "embedding",
        "warmup": 0.1,
        "loss": "vocabulary",
        "checkpoint": "loss",
        "verbalizer": "published",
        "text_start": "none",
    }
)
"""By setting of `TrainingConfig`. A model that scales no embeddings, or puts nothing before a text
(BLOOM: neither), is what it is without the setting that says so."""

REPARAMETERIZED_AS_PUBLISHED = "mlp"
"""The `reparameterization` of a published run that has one; the paper's main runs have none."""

PUBLISHED_WORDS: Mapping[str, str] = MappingProxyType(
    {"geography": "earth", "entertainment": "fun", "politics": "government", "sports": "play"}
)
"""Of SIB-200's labels; the others are their own first words, as by default."""


def as_published(choices: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Values to try, by setting: those chosen, and the published ones where none is."""
    chosen = {name: values for name, values in choices.items() if values}
    return {**choices, **{name: [value] for name, value in AS_PUBLISHED.items()}, **chosen}
