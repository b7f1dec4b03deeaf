"""Tiny random models of every architecture, with transformers' own module as the oracle.

Whoever adds an architecture adds a line to `VARIANTS`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from tests.models import VOCABULARY, Case, case_of, random_model

Settings = dict[str, Any]
POSITIONS, WINDOW = 64, 7
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "original_max_position_embeddings": 16,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 1000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}


def _ropes(pick: random.Random) -> Settings:
    default = {"rope_type": "default", "rope_theta": 1000.0}
    kinds = ("linear", "dynamic")
    scaled = [{"rope_type": kind, "rope_theta": 1000.0, "factor": 2.0} for kind in kinds]
    return {"rope_parameters": pick.choice([default, *scaled, _LLAMA3, _YARN])}


def _biases(pick: random.Random) -> Settings:
    return {"attention_bias": pick.random() < 0.5, "mlp_bias": pick.random() < 0.5}


def _square(pick: random.Random) -> Settings:
    """Heads fill the hidden size, as some architectures have it."""
    return {"head_dim": None, "per_head": pick.choice([8, 12, 16])}


def _gemma3(pick: random.Random) -> Settings:
    return {
        "query_pre_attn_scalar": pick.choice([16, 24]),
        "num_hidden_layers": 7,  # of which the sixth sees all
        "sliding_window": pick.choice([POSITIONS, WINDOW]),
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e4},
        },
    }


def _phi3(pick: random.Random) -> Settings:
    rope = {
        "rope_type": pick.choice(["default", "longrope"]),
        "rope_theta": 1000.0,
        "partial_rotary_factor": 0.5,
    }
    if rope["rope_type"] == "longrope":
        rope |= {"original_max_position_embeddings": POSITIONS}
        rope |= {"short_factor": [1.0, 1.5, 2.0], "long_factor": [3.0] * 3}
    longest = {"original_max_position_embeddings": POSITIONS, "max_position_embeddings": 256}
    return {"head_dim": None, "per_head": 12, "rope_parameters": rope, **longest}


def _neox(pick: random.Random) -> Settings:
    return {
        "head_dim": None,
        "per_head": 16,
        "num_key_value_heads": None,
        "use_parallel_residual": pick.random() < 0.6,
        "rotary_pct": pick.choice([0.25, 0.5, 1.0]),
        "hidden_act": pick.choice(["gelu", "gelu_new", "relu"]),
    }


def _gpt2(pick: random.Random) -> Settings:
    return {
        "head_dim": None,
        "per_head": pick.choice([8, 12]),
        "num_key_value_heads": None,
        "n_positions": POSITIONS,
        "scale_attn_by_inverse_layer_idx": pick.random() < 0.5,
    }


VARIANTS: Mapping[str, Callable[[random.Random], Settings]] = {
    "llama": lambda pick: _ropes(pick) | _biases(pick),
    "mistral": lambda pick: {"sliding_window": pick.choice([None, WINDOW])},
    "qwen2": lambda pick: (
        _square(pick)
        | {"use_sliding_window": True, "sliding_window": WINDOW}
        | {"max_window_layers": 1}
    ),
    "qwen3": lambda pick: _ropes(pick) | {"attention_bias": pick.random() < 0.5},
    "gemma": lambda pick: {"hidden_act": "gelu_pytorch_tanh"},
    "gemma2": lambda pick: {
        "query_pre_attn_scalar": 24,
        "sliding_window": pick.choice([POSITIONS, WINDOW]),
        "attn_logit_softcapping": pick.choice([None, 2.0]),
        "final_logit_softcapping": None,
    },
    "gemma3_text": _gemma3,
    "smollm3": lambda pick: (
        _square(pick)
        | {"num_hidden_layers": 4, "no_rope_layer_interval": 2}
        | {"use_sliding_window": True, "sliding_window": WINDOW}
    ),
    "apertus": lambda pick: {"attention_bias": pick.random() < 0.5},
    "cohere": lambda pick: _square(pick) | {"logit_scale": 0.25},
    "cohere2": lambda pick: (
        _square(pick) | {"logit_scale": 0.25, "sliding_window": WINDOW, "num_hidden_layers": 5}
    ),
    "olmo2": lambda pick: _square(pick) | {"attention_bias": pick.random() < 0.5},
    "phi3": _phi3,
    "gpt2": _gpt2,
    "gpt_neox": _neox,
}


def configuration(architecture: str, seed: int, **changes: Any) -> Any:
    """A random configuration: heads that share keys or not, tied or not, and what is its own."""
    pick = random.Random(f"{architecture}{seed}")
    kv_heads, groups = pick.choice([1, 2]), pick.choice([1, 2, 3])
    asked = {
        "vocab_size": VOCABULARY,
        "num_attention_heads": kv_heads * groups,
        "num_key_value_heads": kv_heads,
        "head_dim": pick.choice([8, 12, 16]),
        "per_head": pick.choice([6, 8, 10]),  # hidden size for each head: another than its own
        "intermediate_size": pick.choice([33, 64]),
        "num_hidden_layers": pick.choice([1, 2, 3]),
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.3,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": pick.random() < 0.5,
    }
    asked |= VARIANTS[architecture](pick)
    asked["hidden_size"] = asked["num_attention_heads"] * asked.pop("per_head")
    dropped = {name for name in ("head_dim", "num_key_value_heads") if asked[name] is None}
    given = {name: value for name, value in asked.items() if name not in dropped} | changes
    return AutoConfig.for_model(architecture, **given)


def random_decoder(architecture: str, seed: int, **changes: Any) -> Any:
    """A model with random weights, large enough that attention and logits are not flat."""
    if architecture not in VARIANTS:
        return random_model(architecture, seed)
    logging.set_verbosity_error()
    config = configuration(architecture, seed, **changes)
    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # transformers starts them at zero, which hides mistakes
            torch.nn.init.normal_(parameter, std=0.3)
        elif parameter.dim() == 1:
            parameter.data += torch.randn_like(parameter) * 0.2
    return model.eval().requires_grad_(False)


@cache
def decoder_case(architecture: str, seed: int, std: float = 0.3) -> Case:
    """A model with a ragged batch: texts beyond the windows, prompts of several lengths."""
    pick = random.Random(seed)
    texts = [pick.randint(1, 56) for _ in range(pick.randint(1, 4))]
    prompts = [[pick.randint(1, 8) for _ in range(pick.randint(0, 3))] for _ in texts]
    prompts[0] = prompts[0] or [3]
    model = random_decoder(architecture, seed, initializer_range=std)
    return case_of(model, architecture, seed, texts, prompts)


@cache
def expected(architecture: str, seed: int, position: str = "suffix") -> torch.Tensor:
    """What transformers answers to the case: (pairs, labels)."""
    return decoder_case(architecture, seed).expected(position)
