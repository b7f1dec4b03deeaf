"""What is to be known of a model that was loaded: whose it is, its sizes and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.languages.pretraining import Pretraining
from isogloss.prompts.model.conversion import save_checkpoint
from isogloss.prompts.model.decoder.folding import Folding
from isogloss.prompts.model.decoder.weights import DecoderWeights
from isogloss.prompts.model.limits import PROMPT_SHARE
from isogloss.prompts.model.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """The weights of a model, and the facts that prompts and their stores ask for."""

    model_id: str  # what the user asked for: hub id, folder or pocket name
    revision: str | None  # commit of the hub's snapshot, where known
    architecture: str  # transformers' `model_type`
    fingerprint: str
    max_positions: int
    weights: DecoderWeights
    folding: Folding  # how the weights were made of the checkpoint's tensors
    config: Mapping[str, Any]  # what config.json says
    optional_tokenizer: Tokenizer | None
    linear_dtype: torch.dtype  # of the linear layers; `dtype` is that of all else
    pretraining: Pretraining | None = None  # what it read before it was frozen, where known

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        if self.optional_tokenizer is None:
            raise InvalidInput(f"model {self.model_id!r} came without a tokenizer")
        return self.optional_tokenizer

    @property
    def hidden_size(self) -> int:
        """Width of a prompt's vectors."""
        return self.weights.hidden_size

    @property
    def layers(self) -> int:
        """Decoder layers."""
        return len(self.weights.layers)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table."""
        return self.weights.embedding.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the layers are, and prompts and states."""
        return self.weights.device

    @property
    def dtype(self) -> torch.dtype:
        """Of prompts, embeddings and the residual stream."""
        return self.weights.embedding.dtype

    @property
    def max_prompt_length(self) -> int:
        """Tokens of the longest prompt."""
        return self.max_positions // PROMPT_SHARE

    @property
    def max_text_tokens(self) -> int:
        """Tokens of the longest text; longer ones are to be cut."""
        return self.max_positions - self.max_prompt_length

    def save_pretrained(self, folder: Path) -> None:
        """Write config.json, model.safetensors and the tokenizer in the hub's layout."""
        save_checkpoint(folder, self.weights, self.folding, self.config, self.optional_tokenizer)
