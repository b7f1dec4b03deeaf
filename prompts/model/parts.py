"""A model taken apart: all that a backbone is made of, before it is moved and rounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isogloss.prompts.languages.pretraining import Pretraining
from isogloss.prompts.model.decoder.folding import Folding
from isogloss.prompts.model.decoder.weights import DecoderWeights
from isogloss.prompts.model.tokenizer import Tokenizer


@dataclass(frozen=True)
class Parts:
    """Of one checkpoint; transformers has no share in them any more."""

    weights: DecoderWeights  # as stored, or in float32
    folding: Folding  # how they were made of the checkpoint's tensors
    fingerprint: str
    architecture: str  # transformers' `model_type`
    max_positions: int
    config: Mapping[str, Any]  # what config.json says where the model is saved
    tokenizer: Tokenizer | None
    revision: str | None = None  # commit of the hub's snapshot, where known
    pretraining: Pretraining | None = None
