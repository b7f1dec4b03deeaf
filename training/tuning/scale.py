"""How large the numbers are that a model reads: what a prompt's start and steps are measured by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isogloss.prompts.model.backbone import Backbone

_COMMON_TOKENS = 5000  # Lester et al. (2021); vocabularies list their commonest tokens first


def common_tokens(model: Backbone) -> int:
    """How many of the first tokens are taken for the commonest."""
    return min(model.vocab_size, _COMMON_TOKENS)


def embedding_spread(model: Backbone) -> float:
    """Standard deviation of the commonest tokens' embeddings, as the model's first layer has them.

    0.02 for a Llama that was just initialised, some 50 times as much for Gemma, whose embeddings
    are multiplied by the root of the hidden size.
    """
    return model.embed(range(common_tokens(model))).std().item()
