"""What serving needs of a frozen model: a `prompts.model.backbone.Backbone` has it, and a fake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from isogloss.prompts.format.soft_prompt import RunsPrompts
from isogloss.prompts.languages.pretraining import Pretraining
from isogloss.prompts.model.tokenizer import TokenizedText


class EncodesTexts(Protocol):
    """The model's own tokenizer."""

    def encode(
        self, texts: Sequence[str], max_tokens: int, around: tuple[str, str] = ("", "")
    ) -> list[TokenizedText]:
        """Token ids, at most `max_tokens` each, of texts with these before and behind them."""


class ServingBackbone(RunsPrompts, Protocol):
    """A model, its tokenizer, and what they are."""

    @property
    def revision(self) -> str | None:
        """Commit of the hub's snapshot, where known."""

    @property
    def architecture(self) -> str:
        """transformers' `model_type`."""

    @property
    def pretraining(self) -> Pretraining | None:
        """What it read of each language, where known."""

    @property
    def max_text_tokens(self) -> int:
        """Longer texts are cut here."""

    @property
    def tokenizer(self) -> EncodesTexts:
        """The model's own."""

    @property
    def device(self) -> torch.device:
        """Where prompts must be."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision prompts must have."""

    @property
    def linear_dtype(self) -> torch.dtype:
        """Of its linear layers."""

    def label_rows(self, token_ids: Sequence[int], none_id: int | None = None) -> Tensor:
        """The verbalizer's rows of the LM head, less that of "none of them": (labels, hidden)."""

    def read_suffixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        """Hidden state at each prompt's last position: (pairs, hidden)."""

    def read_prefixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        """Hidden state at each text's last token, the prompt before it: (pairs, hidden)."""
