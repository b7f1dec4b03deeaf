"""Prompts on one backbone's device: what they are there, and how they get out of the store."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from prompts.soft_prompt import PromptCard, RunsPrompts
from prompts.store import PromptStore

OLDER_VERSIONS_KEPT = 64


class HostsPrompts(RunsPrompts, Protocol):
    """What a bank needs of a frozen model."""

    @property
    def device(self) -> torch.device:
        """Where prompts must be."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision prompts must have."""

    def label_rows(self, token_ids: Sequence[int]) -> Tensor:
        """The verbalizer's rows of the LM head: (labels, hidden)."""


@dataclass(frozen=True, eq=False)
class ResidentPrompt:
    """What one digest stands for, ready to run."""

    card: PromptCard
    vectors: Tensor  # (length, hidden) on the backbone's device, in its dtype
    label_rows: Tensor  # (labels, hidden), shared by prompts with the same verbalizer
    labels: tuple[str, ...]


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


class PromptReader:
    """Takes prompts out of the store and onto one backbone's device."""

    def __init__(self, store: PromptStore, backbone: HostsPrompts) -> None:
        self.backbone = backbone
        self._store = store
        self._label_rows = functools.lru_cache(backbone.label_rows)
        self.recall = functools.lru_cache(OLDER_VERSIONS_KEPT)(self.read)
        """`read` that remembers the last few: for versions that no bank holds."""

    def read(self, digest: str) -> ResidentPrompt:
        """Read one prompt.

        Raises:
            InvalidPrompt: it does not fit this backbone, now or ever.
            StoreError: it cannot be read now.
        """
        prompt = self._store.read(digest)
        prompt.check_fits(self.backbone)
        labels = prompt.card.labels
        return ResidentPrompt(
            card=prompt.card,
            vectors=prompt.vectors.to(self.backbone.device, self.backbone.dtype),
            label_rows=self._label_rows(tuple(label.token_id for label in labels)),
            labels=tuple(label.label for label in labels),
        )
