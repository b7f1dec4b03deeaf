"""Prompts on one backbone's device: what they are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from isogloss.prompts.format.soft_prompt import PromptCard


@dataclass(frozen=True, eq=False)
class LoadedPrompt:
    """What one digest stands for, ready to run."""

    card: PromptCard
    vectors: Tensor  # (length, hidden) on the backbone's device, in its dtype
    label_rows: Tensor  # (labels, hidden), shared by prompts with the same verbalizer
    labels: tuple[str, ...]
    largest: float = 0.0
    """Of its numbers' sizes, as they were published."""


@dataclass(frozen=True, eq=False)
class ServedPrompt:
    """One version of a named prompt: what an answer is attributed to."""

    name: str
    version: int
    digest: str
    loaded: LoadedPrompt

    def reads_along(self, other: ServedPrompt) -> bool:
        """Whether both can be read in one pass and answer with the same labels, in any order.

        A prompt before the text would cost a pass over the text of its own.
        """
        one, two = self.loaded, other.loaded
        follow = one.card.position == two.card.position == "suffix"
        return follow and set(one.labels) == set(two.labels)


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a prompt cannot run on this backbone.

    Not the exception itself: raised again with every generation, one would hold on to the frames,
    and so to the generations, of all times before.
    """

    reason: str


LoadedPrompts = Mapping[str, LoadedPrompt | Unfit]
"""By digest; a prompt that does not fit this backbone is kept as the reason why."""
