"""The recipe of a pocket model: everything that decides what is trained, except the data."""

from __future__ import annotations

from dataclasses import dataclass

from isogloss.prompts.errors import InvalidInput

ARCHITECTURES = ("bloom", "xglm", "qwen3", "gemma3_text", "llama", "gpt2")
"""What a pocket model can be. The first two ship; on the others, training's settings are tried."""


@dataclass(frozen=True)
class Recipe:
    """Shape, seed, diet and schedule of one model.

    Raises:
        InvalidInput: alpha or steps is out of bounds, or the name is of no architecture.
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
        if not self.name.startswith(tuple(f"pocket-{each}" for each in ARCHITECTURES)):
            raise InvalidInput(
                f"name is {self.name!r}; give pocket-, one of {', '.join(ARCHITECTURES)}, and what "
                "you like"
            )

    @property
    def model_type(self) -> str:
        """The architecture in transformers' words."""
        named = self.name.removeprefix("pocket-")
        return next(each for each in ARCHITECTURES if named.startswith(each))

    @property
    def fed_as(self) -> str:
        """Whose pretraining the diet follows; nobody tells that of the other architectures."""
        return "xglm" if self.model_type == "xglm" else "bloom"
