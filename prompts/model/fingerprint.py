"""Which backbone is this? A digest of its weights and tokenizer.

A soft prompt means something to one set of weights only. The fingerprint is the same for the same
values whatever they are stored as (safetensors or .bin, sharded or not, fp16 or the same numbers in
fp32) and differs when a single weight, the vocabulary or the way text is split differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.model.decoder.sizes import Sizes
from isogloss.prompts.model.tokenizer import Tokenizer

SAMPLES = 4096  # values of each tensor that enter the digest themselves
CHUNK = 1 << 18  # values summed at a time: small enough to stay in the cache

# Splitting these exercises spaces, scripts, digits and specials of any tokenizer.
PROBES = ("An isogloss is a line.", "Où  va-t-on ?", "你好 123", "நன்றி", " \t\n", "")


def fingerprint(
    state: Mapping[str, Tensor], constants: Mapping[str, Any], tokenizer: Tokenizer | None
) -> str:
    """ "sha256:<hex>" of tensors, constants of the arithmetic, and tokenizer.

    Every tensor contributes its name, shape, some of its values, and the sum of the bit patterns
    of all of them, which changes when any one value does and does not depend on summation order.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps(dict(constants), sort_keys=True).encode())
    for name in sorted(state):
        tensor = state[name].detach().reshape(-1)
        head = [name, list(state[name].shape), _sum_of_bits(tensor)]
        digest.update(json.dumps(head).encode())
        stride = max(1, tensor.numel() // SAMPLES)
        digest.update(tensor[::stride].float().cpu().numpy().tobytes())
    if tokenizer is not None:
        vocabulary = sorted(tokenizer.vocabulary().items())
        splits = [text.ids for text in tokenizer.encode(PROBES, 1000)]
        digest.update(json.dumps([vocabulary, splits]).encode())
    return f"sha256:{digest.hexdigest()}"


def _sum_of_bits(flat: Tensor) -> int:
    chunks = (flat[i : i + CHUNK].float().view(torch.int32) for i in range(0, len(flat), CHUNK))
    return sum(int(chunk.sum(dtype=torch.int64)) for chunk in chunks)


def constants(config: Any, sizes: Sizes) -> dict[str, Any]:
    """What the arithmetic depends on besides the tensors.

    Of BLOOM and XGLM what it was when they were the only ones: prompts name the fingerprint.
    """
    names = {
        "bloom": ("n_head", "layer_norm_epsilon", "apply_residual_connection_post_layernorm"),
        "xglm": ("attention_heads", "scale_embedding", "activation_function", "pad_token_id"),
    }.get(config.model_type)
    said = sizes.constants(config) if names is None else {n: getattr(config, n) for n in names}
    return {"model_type": config.model_type} | said
