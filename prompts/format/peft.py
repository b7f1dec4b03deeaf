"""PEFT's prompt tuning adapters, in and out.

PEFT puts its prompt *before* the text, so an imported prompt has position `prefix`, and only such a
prompt can be exported. PEFT hands its vectors to the model as input embeddings, behind XGLM's
scaling of token embeddings, exactly where ours go in: the numbers are the same on both sides.
Format: https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import safetensors.numpy
from pydantic import JsonValue, ValidationError

from isogloss.prompts.console.refusals import describe
from isogloss.prompts.errors import InvalidInput, InvalidPrompt, NotFound
from isogloss.prompts.files import durable
from isogloss.prompts.files.texts import decode
from isogloss.prompts.format.adapter_origin import (
    AdapterConfig,
    model_differences,
    stated_differences,
)
from isogloss.prompts.format.card import ModelRef, PromptCard
from isogloss.prompts.format.safetensors_header import (
    Array,
    read_arrays,
    read_file,
    read_header,
)
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.verbalizer import LabelToken

CONFIG_FILE = "adapter_config.json"
TENSOR_FILE = "adapter_model.safetensors"
PICKLE_FILE = "adapter_model.bin"
TENSOR = "prompt_embeddings"

_MAX_CONFIG_BYTES = 2**20


def import_adapter(
    folder: Path,
    *,
    model: ModelRef,
    hidden_size: int,
    architecture: str,
    layers: int,
    task: str,
    labels: Sequence[LabelToken],
    origin_differs: bool = False,
) -> SoftPrompt:
    """Read a prompt tuning adapter as a prompt with position `prefix`.

    Vectors stored in half precision become float32. What the adapter says of its origin goes into
    the card, and with `origin_differs`, what of it does not go with the model.

    Raises:
        NotFound: the folder or one of its two files is missing.
        InvalidPrompt: the adapter is of another kind, pickled, damaged, of another hidden size or,
            unless `origin_differs`, made for another model or task type.
    """
    config = read_config(folder)
    differences = stated_differences(config, model.id)
    differences += model_differences(config, model, architecture, layers)
    _refuse(folder, differences, unless=origin_differs)
    vectors = _read_vectors(folder)
    expected = [config.num_virtual_tokens, config.token_dim or hidden_size]
    if list(vectors.shape) != expected:
        raise InvalidPrompt(
            f"{folder}: tensor {TENSOR!r} has shape {list(vectors.shape)}, its configuration says "
            f"{expected}"
        )
    if vectors.shape[1] != hidden_size:
        raise InvalidPrompt(
            f"{folder}: the adapter's vectors have {vectors.shape[1]} numbers, {model.id} has "
            f"hidden size {hidden_size}; give the model it was trained on "
            f"({config.base_model or 'its configuration does not name it'})"
        )
    card = PromptCard(
        model=model,
        position="prefix",
        kind="plain",
        task=task,
        labels=tuple(labels),
        training=_origin(config, differences),
        created_at=datetime.now(UTC),
    )
    return SoftPrompt(card=card, vectors=vectors)


def check_origin(config: AdapterConfig, folder: Path, model: str, *, origin_differs: bool) -> None:
    """Require, before the model is loaded, what an adapter says of its base model and task type.

    Raises:
        InvalidPrompt: it names others, and that was not asked for.
    """
    _refuse(folder, stated_differences(config, model), unless=origin_differs)


def read_config(folder: Path) -> AdapterConfig:
    """Read and check an adapter's configuration.

    Raises:
        NotFound: there is no adapter in the folder.
        InvalidPrompt: it is not one prompt for one causal language model.
    """
    path = folder / CONFIG_FILE
    try:
        text = decode(durable.read_limited(path, _MAX_CONFIG_BYTES), str(path))
        config = AdapterConfig.model_validate_json(text)
    except FileNotFoundError as error:
        raise NotFound(f"no PEFT adapter in {folder}: {CONFIG_FILE} is missing") from error
    except OSError as error:
        raise InvalidPrompt(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise InvalidPrompt(f"{path} is no adapter configuration: {describe(error)}") from error
    if config.peft_type != "PROMPT_TUNING":
        raise InvalidPrompt(
            f"{path}: peft_type is {config.peft_type!r}, only 'PROMPT_TUNING' can be imported"
        )
    if config.num_transformer_submodules not in (None, 1):
        raise InvalidPrompt(
            f"{path}: num_transformer_submodules is {config.num_transformer_submodules}, a causal "
            "language model has 1"
        )
    return config


def export_adapter(prompt: SoftPrompt, folder: Path) -> None:
    """Write a prompt as an adapter that `peft.PeftModel.from_pretrained` loads.

    The verbalizer has no place in an adapter: the card goes along in the file's metadata.

    Raises:
        InvalidPrompt: the prompt follows the text; PEFT would put it before the text.
        InvalidInput: the folder holds other things, or cannot be written.
    """
    if prompt.card.position != "prefix":
        raise InvalidPrompt(
            f"the prompt has position {prompt.card.position!r}: it was trained to follow the text, "
            "and PEFT would put it before the text; only position 'prefix' can be exported"
        )
    config = json.dumps(_peft_config(prompt), indent=2, sort_keys=True).encode()
    metadata = {"format": "pt", "card": prompt.card.to_json()}
    tensors = safetensors.numpy.save({TENSOR: prompt.arrays["prompt"]}, metadata)
    try:
        durable.create_folder(folder)
        if any(folder.iterdir()):
            raise InvalidInput(f"{folder} is not empty; give a new folder for the adapter")
        durable.write_atomically(folder / TENSOR_FILE, tensors)
        durable.write_atomically(folder / CONFIG_FILE, config)
    except OSError as error:
        raise InvalidInput(
            f"{folder} cannot be written: {error.strerror or error}; give another folder"
        ) from error


def _read_vectors(folder: Path) -> Array:
    path = folder / TENSOR_FILE
    if not path.exists() and (folder / PICKLE_FILE).exists():
        raise InvalidPrompt(
            f"{folder} holds only the pickled {PICKLE_FILE}, which could run code: it is never "
            "opened; save the adapter again with PEFT's save_pretrained(safe_serialization=True)"
        )
    data = read_file(path)
    try:
        names = sorted(read_header(data).tensors)
        if names != [TENSOR]:
            raise InvalidPrompt(f"it holds the tensors {names}, an adapter has only {TENSOR!r}")
        return read_arrays(data)[TENSOR].astype(np.float32)
    except InvalidPrompt as error:
        raise InvalidPrompt(f"{path}: {error}") from None


def _refuse(folder: Path, differences: Sequence[str], *, unless: bool) -> None:
    if differences and not unless:
        raise InvalidPrompt(
            f"{folder / CONFIG_FILE}: {'; '.join(differences)}; give the model that the adapter "
            "was trained for, or --origin-differs if you know that it goes with this one"
        )


def _origin(config: AdapterConfig, differences: Sequence[str]) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {
        "method": "peft prompt tuning",
        "base_model": config.base_model,
        "base_model_revision": config.revision,
        "task_type": config.task_type,
    }
    return {**told, "origin_differs": list(differences)} if differences else told


def _peft_config(prompt: SoftPrompt) -> dict[str, JsonValue]:
    """Return the contents of `adapter_config.json`.

    PEFT fills in the layers from the model, but does not find XGLM's heads and insists on a number.
    Prompt tuning uses neither.
    """
    return {
        "base_model_name_or_path": prompt.card.model.id,
        "inference_mode": True,
        "num_attention_heads": 1,
        "num_layers": None,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": prompt.length,
        "peft_type": "PROMPT_TUNING",
        "prompt_tuning_init": "RANDOM",
        "prompt_tuning_init_text": None,
        "revision": prompt.card.model.revision,
        "task_type": "CAUSAL_LM",
        "token_dim": prompt.hidden_size,
        "tokenizer_name_or_path": None,
    }
