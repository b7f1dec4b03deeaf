"""Prompts on one backbone's device: what they are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor

from isogloss.prompts.format.card import PromptCard
from isogloss.prompts.format.ensemble import EnsembleCard, EnsembleMember
from isogloss.prompts.format.problem import Problem


@dataclass(frozen=True, eq=False)
class LoadedMember:
    """One prompt's vectors: all that a model reads of it."""

    vectors: Tensor  # (length, hidden) on the backbone's device, in its dtype
    position: Literal["suffix", "prefix"] = "suffix"
    reference: str = ""
    """What it is called in an ensemble; empty: it answers alone."""
    largest: float = 0.0
    """Of its numbers' sizes, as they were published."""
    template: str | None = None
    """What stands around the texts that it reads."""


@dataclass(frozen=True, eq=False)
class LoadedPrompt:
    """What one digest stands for, ready to run: a prompt, or several that answer together."""

    card: PromptCard | EnsembleCard
    members: tuple[LoadedMember, ...]
    label_rows: Tensor  # (labels, hidden), shared by prompts with the same verbalizer
    labels: tuple[str, ...]
    problem: Problem = "single_label"

    @property
    def independent(self) -> bool:
        """Whether any number of labels may be right."""
        return self.problem == "multi_label"

    @property
    def length(self) -> int:
        """Vectors of all members."""
        return sum(member.vectors.shape[0] for member in self.members)

    @property
    def prefixes(self) -> int:
        """How many members stand before the text."""
        return sum(member.position == "prefix" for member in self.members)

    @cached_property
    def templates(self) -> frozenset[str | None]:
        """What its members want around a text; None: nothing."""
        return frozenset(member.template for member in self.members)

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

    def answers_like(self, other: ServedPrompt) -> bool:
        """Whether both answer with the same labels, in any order, and in the same way."""
        alike = self.loaded.problem == other.loaded.problem
        return alike and set(self.loaded.labels) == set(other.loaded.labels)

    def reads_along(self, other: ServedPrompt) -> bool:
        """Whether both can also be read in one pass.

        One before the text takes another over it, and so does one with something else around it.
        """
        ours, theirs = self.loaded, other.loaded
        one_pass = not (ours.prefixes or theirs.prefixes) and ours.templates == theirs.templates
        return one_pass and self.answers_like(other)


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a prompt cannot run on this backbone.

    Not the exception itself: raised again with every generation, one would hold on to the frames,
    and so to the generations, of all times before.
    """

    reason: str


LoadedPrompts = Mapping[str, LoadedPrompt | Unfit]
"""By digest; a prompt that does not fit this backbone is kept as the reason why."""
