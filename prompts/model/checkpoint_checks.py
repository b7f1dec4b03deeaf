"""What a checkpoint must be, looked at when it is loaded: its parts agree, its numbers are numbers.

transformers fills what does not fit with random numbers, leaves out what it has no place for, and
computes with NaN; a tokenizer's tokens beyond the table are an IndexError with the first such text.
Each refusal names the part, both sides and a remedy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.prompts.model.tokenizer import Tokenizer

_ROLES = ("bos_token_id", "eos_token_id", "pad_token_id")
_LAYER = re.compile(r"(?:^|\.)(?:h|layers)\.(\d+)\.")
_FLOATS = {"F64", "F32", "F16", "BF16"}


def check_configuration(model: str, config: Any) -> None:
    """Require that config.json's special tokens are rows of the table it asks for.

    Raises:
        InvalidInput: one is not.
    """
    for role in _ROLES:
        value = getattr(config, role, None)
        for token in value if isinstance(value, list) else [value]:
            if token is not None and token >= config.vocab_size:
                raise InvalidInput(
                    f"model {model!r}: its config.json has {role} {token} and vocab_size "
                    f"{config.vocab_size}, so the last token is {config.vocab_size - 1}; correct "
                    f"{role} there"
                )


def check_tensors(model: str, config: Any, report: Mapping[str, Any]) -> None:
    """Require that the weights are all there, in the configured shapes, and no layers besides.

    Args:
        model: what the user called it.
        config: transformers' configuration.
        report: transformers' loading report.

    Raises:
        NotFound: a tensor is missing.
        InvalidInput: one has another shape, or there are more layers.
    """
    for name, stored, asked in sorted(report.get("mismatched_keys", ())):
        raise InvalidInput(
            f"model {model!r}: tensor {name!r} has shape {list(stored)}, its config.json asks for "
            f"{list(asked)}; take both from the same checkpoint"
        )
    if lost := sorted(report["missing_keys"]):
        raise NotFound(
            f"model {model!r}: its weights lack {', '.join(lost[:3])}"
            f"{f' and {len(lost) - 3} more' if len(lost) > 3 else ''}; download it again, or "
            "correct its config.json"
        )
    layers = config.num_hidden_layers
    beyond = [name for name in report["unexpected_keys"] if _layer_of(name) >= layers]
    if beyond:
        last = max(map(_layer_of, beyond))
        name = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
        raise InvalidInput(
            f"model {model!r}: its weights have layers up to number {last}, its config.json asks "
            f"for {layers} ({name}), which ends at number {layers - 1}; "
            "correct config.json"
        )


def _layer_of(name: str) -> int:
    number = _LAYER.search(name)
    return int(number.group(1)) if number else -1


def check_stored_types(model: str, names: Iterable[str], folder: Path) -> None:
    """Require that weights are stored as the numbers they are, and not as codes for numbers.

    Args:
        model: what the user called it.
        names: of its tensors; checkpoints may leave out the first part.
        folder: where its files are.

    Raises:
        InvalidInput: a tensor is of integers or in eight bits.
    """
    from safetensors import safe_open

    used = {short for name in names for short in (name, name.partition(".")[2])}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in used.intersection(file.keys()):
                stored = file.get_slice(name).get_dtype()
                if stored not in _FLOATS:
                    raise InvalidInput(
                        f"model {model!r}: tensor {name!r} in {path.name} is stored as {stored}; "
                        "quantized checkpoints are not read: take the one in float16, bfloat16 or "
                        "float32"
                    )


def check_tokenizer(model: str, tokenizer: Tokenizer, rows: int) -> None:
    """Require a row of the embedding table for every token that can come up.

    Special tokens that have no role may lie beyond it: no text becomes one of them.

    Raises:
        InvalidInput: one has no row.
    """
    beyond = {
        number: token for token, number in tokenizer.tokens_in_use().items() if number >= rows
    }
    if not beyond:
        return
    first, last = min(beyond), max(beyond)
    raise InvalidInput(
        f"model {model!r}: its tokenizer's vocabulary has {last + 1} tokens and its embedding "
        f"table {rows} rows; the first token without one is {shown(beyond[first], 80)} "
        f"(id {first}): enlarge the table (resize_token_embeddings({last + 1})) and save the model "
        "again, or take the added tokens out of the tokenizer"
    )


def check_values(model: str, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Require that every weight is a number, also in `dtype`, the precision it is to be run in.

    Raises:
        InvalidInput: a tensor holds NaN or Inf, or would.
    """
    bound = torch.finfo(dtype).max
    for name, low, high in _extremes(state):
        if not (torch.isfinite(low) and torch.isfinite(high)):
            raise InvalidInput(_not_finite(model, name, state))
        largest = max(float(low), float(high), key=abs)
        if abs(largest) > bound:
            raise InvalidInput(
                f"model {model!r}: tensor {name!r} holds {largest:g}, "
                f"{str(dtype).removeprefix('torch.')} ends at {bound:g}; run it in another "
                "precision (--dtype bfloat16 or float32)"
            )


def is_tied(model: Any) -> bool:
    """Whether the table is the head too: transformers keeps one that differs, configured or not."""
    head, table = (m.weight for m in (model.get_output_embeddings(), model.get_input_embeddings()))
    return bool(head.data_ptr() == table.data_ptr())


def _extremes(state: Mapping[str, Tensor]) -> Iterable[tuple[str, Tensor, Tensor]]:
    """Each tensor's least and greatest value: NaN if there is one. One pass, and no copy."""
    for name, tensor in state.items():
        if tensor.numel():
            low, high = tensor.aminmax()
            yield name, low, high


def _not_finite(model: str, name: str, state: Mapping[str, Tensor]) -> str:
    tensor = state[name]
    wrong = int((~tensor.isfinite()).sum())
    others = [
        other
        for other, low, high in _extremes(state)
        if other != name and not (low.isfinite() and high.isfinite())
    ]
    more = f" ({len(others)} more tensors do)" if others else ""
    return (
        f"model {model!r}: tensor {name!r} holds NaN or Inf in {wrong} of {tensor.numel()} "
        f"places{more}; download the checkpoint again, or save one from before its training failed"
    )
