"""Models at full size with random weights: nothing is downloaded.

For benchmarks and tests, where the weights' values do not matter and their number does: the four of
the paper's Table 2, and two that people start with today. The configurations are those of the
public checkpoints (bigscience/bloom-*, facebook/xglm-*, Qwen/Qwen3-0.6B-Base, google/gemma-3-270m).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.errors import NotFound
from isogloss.prompts.model.decoder.architectures import ARCHITECTURES

_BLOOM = {"model_type": "bloom", "vocab_size": 250_880, "n_layer": 24, "n_head": 16}
_XGLM = {
    "model_type": "xglm",
    "vocab_size": 256_008,
    "num_layers": 24,
    "attention_heads": 16,
    "max_position_embeddings": 2048,
}
FULL_SIZE: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "bloom-560m": {**_BLOOM, "hidden_size": 1024},
        "bloom-1b1": {**_BLOOM, "hidden_size": 1536},
        "xglm-564M": {**_XGLM, "d_model": 1024, "ffn_dim": 4096},
        "xglm-1.7B": {**_XGLM, "d_model": 2048, "ffn_dim": 8192},
        "qwen3-0.6b": {
            "model_type": "qwen3",
            "vocab_size": 151_936,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 32_768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "tie_word_embeddings": True,
        },
        "gemma3-270m": {
            "model_type": "gemma3_text",
            "vocab_size": 262_144,
            "hidden_size": 640,
            "intermediate_size": 2048,
            "num_hidden_layers": 18,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "query_pre_attn_scalar": 256,
            "sliding_window": 512,
            "max_position_embeddings": 32_768,
        },
    }
)

# Uniform over +-HALF_WIDTH has the standard deviation 0.02 that all of them are initialised with.
HALF_WIDTH = 0.02 * 3**0.5
# Values drawn once and repeated: drawing 1.7 billion takes half a minute. A prime, so that rows of
# a matrix, which have lengths with many factors, do not repeat with it.
DRAWN = 4_194_301


def full_size_config(name: str) -> Any:
    """transformers' configuration of one of these models.

    Raises:
        NotFound: another name.
    """
    from transformers import AutoConfig

    if name not in FULL_SIZE:
        raise NotFound(f"model {name!r} has no full-size configuration; one of {list(FULL_SIZE)}")
    return AutoConfig.for_model(**FULL_SIZE[name])


def random_model(
    config: Any,
    seed: int,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Any:
    """A causal language model of transformers with random weights, ready to run.

    Built without transformers' own initialisation, which takes minutes at these sizes.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model = model.to(dtype).to_empty(device="cpu")
    model.tie_weights()
    _restore_constants(model)
    noise = torch.empty(DRAWN).uniform_(
        -HALF_WIDTH, HALF_WIDTH, generator=torch.Generator().manual_seed(seed)
    )
    noise = noise.to(dtype)
    described = ARCHITECTURES.get(config.model_type)
    scale = 1.0 - (described.norm_offset if described else 0.0)  # as stored: Gemma adds one
    with torch.no_grad():
        for index, (name, parameter) in enumerate(model.named_parameters()):
            _fill(parameter, noise, start=index * 65_537 % DRAWN)
            if parameter.dim() == 1 and name.endswith("weight"):
                parameter += scale  # of a norm
    return model.eval().requires_grad_(False).to(device or "cpu")


def _restore_constants(model: Any) -> None:
    """Sinusoids, rotations and scales are no parameters: they are made again after `to_empty`."""
    if hasattr(model.base_model, "rotary_emb"):
        model.base_model.rotary_emb = type(model.base_model.rotary_emb)(config=model.config)
    for module in model.modules():
        if hasattr(module, "scalar_embed_scale"):
            module.embed_scale.fill_(module.scalar_embed_scale)
        if hasattr(module, "make_weights"):
            rows = module.num_positions + module.offset
            module.make_weights(rows, module.embedding_dim, module.padding_idx)


def _fill(parameter: Tensor, noise: Tensor, start: int) -> None:
    """Write the noise into a tensor again and again, beginning somewhere in it."""
    flat = parameter.view(-1)
    done = 0
    while done < flat.numel():
        piece = noise[start : start + flat.numel() - done]
        flat[done : done + piece.numel()] = piece
        done += piece.numel()
        start = 0
