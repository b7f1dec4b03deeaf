"""The recipe of a pocket model: everything that decides what is trained, except the data."""

from __future__ import annotations

from dataclasses import dataclass

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.languages.pretraining_data import Architecture


@dataclass(frozen=True)
class Recipe:
    """Shape, seed, diet and schedule of one model.

    Raises:
        InvalidInput: alpha or steps is out of bounds.
    """

    name: str
    steps: int = 11_000
    seed: int = 0
    alpha: float = 0.0  # how far the diet follows the real model's pretraining; see `diet`
    floor: float = 0.02  # of its text that any language is read in
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

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise InvalidInput(
                f"alpha is {self.alpha}; give a number from 0 (all languages alike) to 1 (as the "
                "real model's pretraining)"
            )
        if self.steps < 1:
            raise InvalidInput(f"steps is {self.steps}; give at least 1")

    @property
    def model_type(self) -> Architecture:
        """The architecture in transformers' words."""
        return "xglm" if "xglm" in self.name else "bloom"
