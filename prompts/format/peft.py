"""PEFT's adapters that are prompts, in and out.

PEFT puts its prompt *before* the text, so an imported prompt has position `prefix`, and only such a
prompt can be exported. An adapter for classification (SEQ_CLS) brings a head of its own: its rows
stand where the labels' rows of the model's head stand. PEFT hands its vectors to the model as input
embeddings, behind XGLM's scaling of token embeddings, exactly where ours go in: the numbers are the
same on both sides.
Format: https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

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
from isogloss.prompts.format.adapter_tensors import (
    HEAD,
    KINDS,
    TENSOR,
    TENSOR_FILE,
    read_tensors,
    refusal,
)
from isogloss.prompts.format.card import ModelRef, PromptCard, read_card
from isogloss.prompts.format.safetensors_header import Array, read_file, read_header
from isogloss.prompts.format.soft_prompt import LABEL_ROWS, SoftPrompt
from isogloss.prompts.format.verbalizer import LabelToken, check_task

CONFIG_FILE = "adapter_config.json"

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
    of_task: int | None = None,
    template: str | None = None,
) -> SoftPrompt:
    """Read an adapter of any kind that is a prompt, as one with position `prefix`.

    Vectors stored in half precision become float32. What the adapter says of its origin goes into
    the card, and with `origin_differs`, what of it does not go with the model. `of_task` is which
    task of a multitask adapter. `template` is what stood around the texts that it was trained on:
    no file of PEFT's says so.

    Raises:
        NotFound: the folder or one of its two files is missing.
        InvalidPrompt: the adapter is of another kind, damaged, of another hidden size or, unless
            `origin_differs`, made for another model or task type.
        InvalidInput: it has no such task, or one must be named; or its head has another number of
            labels.
    """
    config = read_config(folder)
    differences = stated_differences(config, model.id)
    differences += model_differences(config, model, architecture, layers)
    _refuse(folder, differences, unless=origin_differs)
    vectors, head = read_tensors(folder, config.peft_type, of_task, classifies=config.classifies)
    _check_width(folder, config, vectors, model, hidden_size)
    if head is not None and len(head) != len(labels):
        raise InvalidInput(
            f"--label: {len(labels)} labels are given, and the adapter's head has {len(head)}; "
            "name them all, in the order of its model's id2label"
        )
    card = PromptCard(
        model=model,
        position="prefix",
        kind="plain",
        template=template,
        head="model" if head is None else "prompt",
        task=task,
        labels=tuple(labels) if head is None else row_labels([each.label for each in labels]),
        training=_origin(config, differences, of_task),
        created_at=datetime.now(UTC),
    )
    return SoftPrompt(card=card, vectors=vectors, label_rows=head)


def _check_width(
    folder: Path, config: AdapterConfig, vectors: Array, model: ModelRef, hidden_size: int
) -> None:
    """Require vectors as many and as wide as its configuration, and as the model, says."""
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


def row_labels(labels: Sequence[str]) -> tuple[LabelToken, ...]:
    """Labels of a head of the prompt's own, in the order of its rows: no token stands for them.

    Raises:
        InvalidData: as `check_task`.
    """
    check_task(labels)
    return tuple(
        LabelToken(label=label, word=label, token="", token_id=row)
        for row, label in enumerate(labels)
    )


def check_origin(config: AdapterConfig, folder: Path, model: str, *, origin_differs: bool) -> None:
    """Require, before the model is loaded, what an adapter says of its base model and task type.

    Raises:
        InvalidPrompt: it names others, or another tokenizer, and that was not asked for.
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
    if config.peft_type not in KINDS:
        raise InvalidPrompt(f"{path}: {refusal(config.peft_type)}")
    if config.num_virtual_tokens is None:
        raise InvalidPrompt(f"{path}: num_virtual_tokens is missing; save the adapter with PEFT")
    if config.num_transformer_submodules not in (None, 1):
        raise InvalidPrompt(
            f"{path}: num_transformer_submodules is {config.num_transformer_submodules}, a causal "
            "language model has 1"
        )
    return config


def export_adapter(prompt: SoftPrompt, folder: Path) -> None:
    """Write a prompt as an adapter that `peft.PeftModel.from_pretrained` loads.

    Labels and template have no place in an adapter: the card goes along in the file's metadata, and
    a template is found there when it comes back (`exported_template`).

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
    arrays = {TENSOR: prompt.arrays["prompt"]}
    if prompt.card.head == "prompt":
        arrays[HEAD] = prompt.arrays[LABEL_ROWS]
    tensors = safetensors.numpy.save(arrays, metadata)
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


def exported_template(folder: Path) -> str | None:
    """What stands around the texts of a prompt that `export_adapter` wrote; None: not known."""
    try:
        return read_card(read_header(read_file(folder / TENSOR_FILE)).metadata).template
    except (InvalidPrompt, NotFound):
        return None


def _refuse(folder: Path, differences: Sequence[str], *, unless: bool) -> None:
    if differences and not unless:
        raise InvalidPrompt(
            f"{folder / CONFIG_FILE}: {'; '.join(differences)}; give the model that the adapter "
            "was trained for, or --force if you know that it goes with this one"
        )


def _origin(
    config: AdapterConfig, differences: Sequence[str], of_task: int | None
) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {
        "method": f"peft {config.peft_type.replace('_', ' ').lower()}",
        "base_model": config.base_model,
        "base_model_revision": config.revision,
        "task_type": config.task_type,
    }
    if of_task is not None:
        told["peft_task"] = of_task
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
        "task_type": "CAUSAL_LM" if prompt.card.head == "model" else "SEQ_CLS",
        "token_dim": prompt.hidden_size,
        "tokenizer_name_or_path": None,
    }
