"""How long a model's texts and prompts may be, and the refusal of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from isogloss.prompts.errors import InvalidInput

# The share of a model's positions that is kept free for prompts. Fixed, so that the same text is
# cut at the same token whatever prompts are being served.
PROMPT_SHARE = 8
# BLOOM's ALiBi has no end; its models were trained on texts of this many tokens.
BLOOM_POSITIONS = 2048
# Of models that could read more: biases, rotations and activations of a text grow with it.
LONGEST = 8192


def max_positions(config: Any) -> int:
    """Tokens of a text and a prompt together, from transformers' configuration."""
    if config.model_type == "bloom":
        return int(getattr(config, "seq_length", None) or BLOOM_POSITIONS)
    ropes = getattr(config, "rope_parameters", None) or {}
    found = [int(config.max_position_embeddings)]
    if ropes.get("rope_type") == "longrope":  # beyond, all keys would turn by other angles
        found.append(int(config.original_max_position_embeddings))
    return min(LONGEST, *found)


def check_texts(texts: Sequence[Sequence[int]], max_tokens: int) -> None:
    """Refuse texts that are empty or too long.

    Raises:
        InvalidInput: naming the text.
    """
    for index, text in enumerate(texts):
        if not 0 < len(text) <= max_tokens:
            raise InvalidInput(
                f"texts[{index}] has {len(text)} tokens; a text has 1 to {max_tokens}: cut it first"
            )


def check_prompts(
    texts: int, prompts: Sequence[Sequence[Tensor]], hidden_size: int, max_length: int
) -> None:
    """Refuse prompts that do not go with the texts or with the model.

    Raises:
        InvalidInput: another count than the texts', another width than the model's, or too long.
    """
    if len(prompts) != texts:
        raise InvalidInput(f"{texts} texts came with {len(prompts)} lists of prompts")
    for prompt in {id(p): p for row in prompts for p in row}.values():
        if prompt.dim() != 2 or prompt.shape[1] != hidden_size:
            raise InvalidInput(
                f"a prompt of shape {tuple(prompt.shape)}: this model takes (length, {hidden_size})"
            )
        if not 0 < prompt.shape[0] <= max_length:
            raise InvalidInput(
                f"a prompt of length {prompt.shape[0]}: this model takes 1 to {max_length}"
            )
