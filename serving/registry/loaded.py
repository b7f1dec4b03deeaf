"""Prompts on one backbone's device: what they are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from isogloss.prompts.format.card import PromptCard
from isogloss.prompts.format.ensemble import EnsembleCard, EnsembleMember


@dataclass(frozen=True, eq=False)
class LoadedMember:
    """One prompt's vectors: all that a model reads of it."""

    vectors: Tensor  # (length, hidden) on the backbone's device, in its dtype
    position: Literal["suffix", "prefix"] = "suffix"
    reference: str = ""
    """What it is called in an ensemble; empty: it answers alone."""
    largest: float = 0.0
    """Of its numbers' sizes, as they were published."""


@dataclass(frozen=True, eq=False)
class LoadedPrompt:
    """What one digest stands for, ready to run: a prompt, or several that answer together."""

    card: PromptCard | EnsembleCard
    members: tuple[LoadedMember, ...]
    label_rows: Tensor  # (labels, hidden), shared by prompts with the same verbalizer
    labels: tuple[str, ...]

    @property
    def length(self) -> int:
        """Vectors of all members."""
        return sum(member.vectors.shape[0] for member in self.members)

    @property
    def prefixes(self) -> int:
        """How many members stand before the text."""
        return sum(member.position == "prefix" for member in self.members)

    @property
    def joined(self) -> tuple[EnsembleMember, ...] | None:
        """Who answers together; None: it is one prompt."""
        return self.card.members if isinstance(self.card, EnsembleCard) else None


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
