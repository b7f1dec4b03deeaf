"""Between transformers' models and our weights: a checkpoint taken apart, and written again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch

from isogloss.prompts.model.checkpoint_checks import check_values, is_tied
from isogloss.prompts.model.decoder import bloom, xglm
from isogloss.prompts.model.decoder.weights import DecoderWeights
from isogloss.prompts.model.fingerprint import constants, fingerprint
from isogloss.prompts.model.tokenizer import Tokenizer

Architecture = Literal["bloom", "xglm"]

_CONVERTERS = {"bloom": bloom, "xglm": xglm}
_CLASSES = {"bloom": "BloomForCausalLM", "xglm": "XGLMForCausalLM"}


def take_apart(
    model: Any, tokenizer: Tokenizer | None, model_id: str, dtype: torch.dtype
) -> tuple[DecoderWeights, str]:
    """The weights of a `BloomForCausalLM` or `XGLMForCausalLM` as stored, and their fingerprint.

    Raises:
        InvalidInput: a tensor holds NaN or Inf, or would in `dtype`.
    """
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings and is_tied(model):
        state.pop("lm_head.weight", None)
    check_values(model_id, state, dtype)
    weights = _CONVERTERS[model.config.model_type].from_checkpoint(state, model.config)
    return weights, fingerprint(state, constants(model.config), tokenizer)


def save_checkpoint(
    folder: Path,
    weights: DecoderWeights,
    config: Any,
    dtype: torch.dtype,
    tokenizer: Tokenizer | None,
) -> None:
    """Write config.json, model.safetensors and the tokenizer, where there is one."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = _CONVERTERS[config.model_type].to_checkpoint(weights)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    file = folder / "config.json"
    written = json.loads(file.read_text(encoding="utf-8"))
    written["dtype"] = str(dtype).removeprefix("torch.")
    written["architectures"] = [_CLASSES[config.model_type]]
    file.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    if tokenizer is not None:
        tokenizer.save(folder)
