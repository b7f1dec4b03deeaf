"""Which precision `auto` serves in: decided once for a processor, and kept.

A measurement near the threshold decides otherwise at the next start, and answers would change with
it by a rounding. A folder that cannot be written costs every start its measuring, and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import torch

from isogloss.prompts.files import durable
from isogloss.prompts.files.given_paths import cache_folder
from isogloss.prompts.model.packed.native import processor_features

logger = logging.getLogger(__name__)

_CHOICES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_MAX_BYTES = 64


def kept_choice(hidden_size: int, measure: Callable[[int], torch.dtype]) -> torch.dtype:
    """float32 or bfloat16, as it was chosen before on this processor, else as it is measured now.

    Args:
        hidden_size: width of the model's layers.
        measure: chooses one for a width.
    """
    path = _path(hidden_size)
    try:
        if (kept := _CHOICES.get(durable.read_limited(path, _MAX_BYTES).decode())) is not None:
            return kept
    except (OSError, UnicodeDecodeError) as problem:
        if not isinstance(problem, FileNotFoundError):
            logger.warning("the precision kept in %s cannot be read: %s", path, problem)
    chosen = measure(hidden_size)
    try:
        durable.create_folder(path.parent)
        durable.write_atomically(path, str(chosen).removeprefix("torch.").encode())
    except OSError as problem:
        logger.warning("the precision is not kept in %s: %s", path, problem.strerror or problem)
    return chosen


def _path(hidden_size: int) -> Path:
    """Of all that the measurement depends on."""
    about = (processor_features(), torch.get_num_threads(), torch.__version__, hidden_size)
    digest = hashlib.sha256(repr(about).encode()).hexdigest()
    return cache_folder() / "precision" / f"{digest[:32]}.txt"
