"""Writing a backbone in the hub's layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.model.tokenizer import Tokenizer

_CLASSES = {"bloom": "BloomForCausalLM", "xglm": "XGLMForCausalLM"}


def save_checkpoint(
    folder: Path,
    state: Mapping[str, Tensor],
    config: Any,
    dtype: torch.dtype,
    tokenizer: Tokenizer | None,
) -> None:
    """Write config.json, model.safetensors and the tokenizer, where there is one."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
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
