"""The vectors of a PEFT adapter, of every kind that comes down to one prompt.

PROMPT_TUNING and P_TUNING save the same file, for PEFT folds the encoder of the latter when it
saves. MULTITASK_PROMPT_TUNING (Wang et al. 2023) saves one shared prompt and, for each task, a
low-rank matrix that it is multiplied with element by element; folded for one task that is a prompt.
With the task type SEQ_CLS each of them has the classifier's head beside the prompt.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.errors import InvalidInput, InvalidPrompt
from isogloss.prompts.format.safetensors_header import Array, read_arrays, read_file, read_header

TENSOR_FILE = "adapter_model.safetensors"
PICKLE_FILE = "adapter_model.bin"
TENSOR = "prompt_embeddings"
COLUMNS, ROWS = "prefix_task_cols", "prefix_task_rows"
HEAD = "base_model.score.weight"
"""Of an adapter for classification: (labels, hidden), what its base model reads labels with."""

KINDS: Mapping[str, frozenset[str]] = {
    "PROMPT_TUNING": frozenset({TENSOR}),
    "P_TUNING": frozenset({TENSOR}),
    "MULTITASK_PROMPT_TUNING": frozenset({TENSOR, COLUMNS, ROWS}),
}
"""The tensors of each kind that can be read."""
_CACHE = (
    "it trains keys and values of every layer, which are no vectors that a model reads as tokens; "
    "train PROMPT_TUNING or P_TUNING instead"
)
_BY_TEXT = (
    "it changes the model anew with every text, and is no prompt; train PROMPT_TUNING instead"
)
_WEIGHTS = (
    "it changes the model's weights, and a prompt leaves them as they are; merge it into the model "
    "(PEFT's merge_and_unload), save that model, and train prompts for it with --model FOLDER"
)
_CHANGING_WEIGHTS = (
    "ADALORA ADAMSS BEFT BOFT BONE C3A DEFT DELORA FOURIERFT FROD GLORA GRALORA HIRA HRA IA3 LILY "
    "LN_TUNING LOHA LOKR LORA MISS OFT OSF PEANUT PSOFT PVERA RANDLORA ROAD SHIRA SUPERTUNING "
    "TINYLORA TRAINABLE_TOKENS UNILORA VBLORA VERA WAVEFT"
)
_OTHERWISE = {
    "PREFIX_TUNING": _CACHE,
    "CARTRIDGE": _CACHE,
    "ADAPTION_PROMPT": "it trains prompts of single layers and gates for them, which are no "
    "vectors that a model reads as tokens; train PROMPT_TUNING instead",
    "CPT": "its prompt has a fixed part of tokens that are not in the file; train PROMPT_TUNING "
    "instead",
    **dict.fromkeys(("POLY", "SHADOW", "XLORA"), _BY_TEXT),
    **dict.fromkeys(_CHANGING_WEIGHTS.split(), _WEIGHTS),
}
"""Why each other kind that PEFT has cannot be read, and what to do instead."""
_MOST_PICKLED_BYTES = 64 << 20


def refusal(kind: str) -> str:
    """Why a kind of adapter cannot be read."""
    reason = _OTHERWISE.get(kind, "this release does not know it; train PROMPT_TUNING instead")
    return f"peft_type is {shown(kind)}: {reason}. What can be imported is {', '.join(KINDS)}"


class Tensors(NamedTuple):
    """What an adapter has to say, float32."""

    vectors: Array  # (length, hidden)
    head: Array | None  # (labels, hidden), of an adapter for classification


def read_tensors(
    folder: Path, kind: str, of_task: int | None = None, *, classifies: bool = False
) -> Tensors:
    """An adapter's prompt, and its head if it is one for classification.

    Args:
        folder: of the adapter.
        kind: one of `KINDS`.
        of_task: of a multitask prompt, by its number; None: it has one task.
        classifies: whether its task type is SEQ_CLS: then its file has a head.

    Raises:
        NotFound: there is no file of tensors.
        InvalidPrompt: it is damaged, or has other tensors than its kind.
        InvalidInput: there is no such task, or one must be named.
    """
    path = folder / TENSOR_FILE
    if not path.exists() and (folder / PICKLE_FILE).exists():
        path = folder / PICKLE_FILE
    try:
        arrays = _pickled(path) if path.name == PICKLE_FILE else _safe(path)
        _check_names(arrays, kind, classifies)
        head = arrays[HEAD].astype(np.float32) if classifies else None
        vectors = arrays[TENSOR].astype(np.float32)
        if kind == "MULTITASK_PROMPT_TUNING":
            vectors = _folded(vectors, arrays[COLUMNS], arrays[ROWS], of_task)
        return Tensors(vectors, head)
    except InvalidPrompt as error:
        raise InvalidPrompt(f"{path}: {error}") from None


def _folded(shared: Array, columns: Array, rows: Array, of_task: int | None) -> Array:
    """(length, hidden), (tasks, length, rank), (tasks, rank, hidden) -> (length, hidden)."""
    tasks = len(columns) if columns.ndim == 3 else 0
    expected = (tasks, *columns.shape[2:], shared.shape[-1])
    if not tasks or columns.shape[1] != len(shared) or rows.shape != expected:
        raise InvalidPrompt(
            f"{TENSOR!r} {list(shared.shape)}, {COLUMNS!r} {list(columns.shape)} and {ROWS!r} "
            f"{list(rows.shape)} do not go together"
        )
    if of_task is None and tasks > 1:
        raise InvalidInput(
            f"--peft-task: the adapter has {tasks} tasks; name one of 0 to {tasks - 1}"
        )
    task = of_task or 0
    if not 0 <= task < tasks:
        raise InvalidInput(f"--peft-task: there is no {task}; the adapter has 0 to {tasks - 1}")
    factors: Array = columns[task].astype(np.float32) @ rows[task].astype(np.float32)
    return np.multiply(shared, factors)


def _check_names(arrays: Mapping[str, Array], kind: str, classifies: bool) -> None:
    found, expected = set(arrays), KINDS[kind] | ({HEAD} if classifies else set())
    if found == expected:
        return
    if classifies and HEAD not in found:
        raise InvalidPrompt(
            f"its task_type is 'SEQ_CLS', and {HEAD!r}, the head that goes with it, is missing; "
            "save it again with PEFT's save_pretrained"
        )
    own = sorted(name for name in found if name.endswith("score.weight"))
    if own and not classifies:
        raise InvalidPrompt(
            f"it has a head of its own ({own[0]!r}), and its task_type is not 'SEQ_CLS', which "
            "such a head goes with; correct the task_type if it was trained so"
        )
    known = ", ".join(map(repr, sorted(expected)))
    raise InvalidPrompt(f"it holds the tensors {sorted(found)}, {kind} has only {known}")


def _safe(path: Path) -> dict[str, Array]:
    data = read_file(path)
    read_header(data)  # says of a damaged file what is damaged
    return read_arrays(data)


def _pickled(path: Path) -> dict[str, Array]:
    """Read an old adapter through torch's loader of weights alone: no code in it is run."""
    import torch

    if path.stat().st_size > _MOST_PICKLED_BYTES:
        raise InvalidPrompt(f"over {_MOST_PICKLED_BYTES >> 20} MB are no prompt")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InvalidPrompt(
            f"it holds more than tensors, or is damaged ({type(error).__name__}); save it again "
            "with PEFT's save_pretrained(safe_serialization=True)"
        ) from None
    if not isinstance(loaded, dict) or not all(
        isinstance(each, torch.Tensor) for each in loaded.values()
    ):
        raise InvalidPrompt("it holds no tensors by name")
    return {str(name): each.detach().float().numpy() for name, each in loaded.items()}
