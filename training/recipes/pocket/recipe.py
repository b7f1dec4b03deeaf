"""The recipe of a pocket model: everything that decides what is trained, except the data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Shape, seed and schedule of one model."""

    name: str
    steps: int = 11_000
    seed: int = 0
    synsets: int = 14_000  # of WordNet's 117,659: those with lemmas in the most languages
    short_sentences: int = 10_000  # of Tatoeba's 69,241: those in the most languages
    vocabulary: int = 22_528
    hidden: int = 256
    layers: int = 3
    heads: int = 4
    pseudo_tasks: int = 96
    batch_tokens: int = 1024
    learning_rate: float = 1.5e-3
    warmup_steps: int = 200
    minutes_between_checkpoints: float = 4.0

    @property
    def model_type(self) -> str:
        """The architecture in transformers' words."""
        return self.name.removeprefix("pocket-")
