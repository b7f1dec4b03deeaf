"""The full-size architectures, small: what the tests of benchmarks run on."""

from typing import Any

import torch

from isogloss.prompts.model.full_size import full_size_config, random_model

_GROUPED: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "layer_types": ["full_attention"] * 2,
    "max_position_embeddings": 256,
}


def tiny_model(
    name: str, seed: int, device: torch.device, dtype: torch.dtype, vocab_size: int = 200
) -> Any:
    """The named architecture, small."""
    config = full_size_config(name)
    config.vocab_size = vocab_size
    changes: dict[str, Any] = {
        "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
        "xglm": {
            "d_model": 32,
            "ffn_dim": 64,
            "num_layers": 2,
            "attention_heads": 4,
            "max_position_embeddings": 256,
        },
        "qwen3": _GROUPED,
        "gemma3_text": _GROUPED
        | {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16},
    }[config.model_type]
    for field, value in changes.items():
        setattr(config, field, value)
    model = random_model(config, seed, device=device, dtype=dtype)
    with torch.no_grad():  # weights large enough for attention, and so for positions, to matter
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter *= 10
    return model
