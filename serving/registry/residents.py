"""Prompts on one backbone's device: what they are there, and what must be known of the backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from isogloss.prompts.format.soft_prompt import PromptCard, RunsPrompts


class HostsPrompts(RunsPrompts, Protocol):
    """What a bank needs of a frozen model."""

    @property
    def device(self) -> torch.device:
        """Where prompts must be."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision prompts must have."""

    @property
    def linear_dtype(self) -> torch.dtype:
        """Of its linear layers."""

    def label_rows(self, token_ids: Sequence[int]) -> Tensor:
        """The verbalizer's rows of the LM head: (labels, hidden)."""

    def read_suffixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        """Hidden state at each prompt's last position: (pairs, hidden)."""

    def read_prefixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        """Hidden state at each text's last token, the prompt before it: (pairs, hidden)."""


@dataclass(frozen=True, eq=False)
class ResidentPrompt:
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
    resident: ResidentPrompt

    def reads_along(self, other: ServedPrompt) -> bool:
        """Whether both can be read in one pass and answer with the same labels, in any order.

        A prompt before the text would cost a pass over the text of its own.
        """
        one, two = self.resident, other.resident
        follow = one.card.position == two.card.position == "suffix"
        return follow and set(one.labels) == set(two.labels)


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a prompt cannot run on this backbone.

    Not the exception itself: raised again with every generation, one would hold on to the frames,
    and so to the generations, of all times before.
    """

    reason: str


Residents = Mapping[str, ResidentPrompt | Unfit]
"""By digest; a prompt that does not fit this backbone is kept as the reason why."""
