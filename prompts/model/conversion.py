"""Between transformers' models and our weights: a checkpoint taken apart, and written again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.checkpoint_checks import check_values, is_tied
from isogloss.prompts.model.decoder.architectures import ARCHITECTURES, Architecture
from isogloss.prompts.model.decoder.folding import Folding, sinusoids
from isogloss.prompts.model.decoder.sizes import Sizes, rotation_tables
from isogloss.prompts.model.decoder.weights import DecoderWeights
from isogloss.prompts.model.fingerprint import constants, fingerprint
from isogloss.prompts.model.limits import max_positions
from isogloss.prompts.model.load_check import check_equal
from isogloss.prompts.model.parts import Parts
from isogloss.prompts.model.tokenizer import Tokenizer


def architecture_of(model_id: str, model_type: str | None) -> Architecture:
    """The row of a model's architecture.

    Raises:
        InvalidInput: there is none; names those there are.
    """
    found = ARCHITECTURES.get(model_type or "")
    if found is None:
        raise InvalidInput(
            f"model {model_id!r} is a {model_type!r}; supported are "
            f"{', '.join(ARCHITECTURES)}; an architecture is added by describing it "
            "(docs/how-to/models.md)"
        )
    return found


def state_of(model: Any) -> dict[str, Tensor]:
    """The state dict of a transformers model, without a head that is the table."""
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings and is_tied(model):
        state.pop("lm_head.weight", None)
    return state


def take_apart(model: Any, tokenizer: Tokenizer | None, model_id: str, dtype: torch.dtype) -> Parts:
    """A transformers model as stored: its weights, how they were made, and their fingerprint.

    Raises:
        InvalidInput: a tensor holds NaN or Inf, or would in `dtype`; or the model is none that is
            computed here.
    """
    own, config = architecture_of(model_id, model.config.model_type), model.config
    state = state_of(model)
    check_values(model_id, state, dtype)
    try:
        weights, folding = _fold(own, model, state)
    except InvalidInput as error:
        raise InvalidInput(f"model {model_id!r}, a {config.model_type!r}: {error}") from error
    check_equal(model_id, model, weights)
    digest = fingerprint(state, constants(config, folding.sizes), tokenizer)
    said = json.loads(config.to_json_string())
    said.pop("transformers_weights", None)  # a file's name, for who loads it
    return Parts(
        weights, folding, digest, config.model_type, max_positions(config), said, tokenizer
    )


def _fold(
    architecture: Architecture, model: Any, state: dict[str, Tensor]
) -> tuple[DecoderWeights, Folding]:
    sizes = Sizes.of(architecture, model)
    tables, step = rotation_tables(model, max_positions(model.config))
    folding = Folding(architecture, sizes, 2 * tables[0].shape[1] if tables else 0, step)
    positions = None
    if architecture.sinusoids:
        positions = sinusoids(model.config).to(state[f"{architecture.embedding}.weight"])
    rotations = tuple(folding.still(table) for table in tables)
    return folding.read(state, rotations=rotations, sinusoids=positions), folding


def save_checkpoint(
    folder: Path,
    weights: DecoderWeights,
    folding: Folding,
    config: Mapping[str, Any],
    tokenizer: Tokenizer | None,
) -> None:
    """Write config.json, model.safetensors and the tokenizer, where there is one."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = folding.write(weights)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    dtype = str(weights.embedding.dtype).removeprefix("torch.")
    written = {**config, "dtype": dtype, "architectures": [folding.architecture.model_class]}
    text = json.dumps(written, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    if tokenizer is not None:
        tokenizer.save(folder)
