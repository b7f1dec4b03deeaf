"""From a model's name to its parts: as remembered, or read by transformers and checked in full.

Of a full load nearly all the time goes into importing transformers' modelling code, which serves to
read the files and to compare a model's own answers with ours. What was found out is remembered
(`remembering`): the next load of the very same files needs neither.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import torch

from isogloss.prompts.files.given_paths import unquoted
from isogloss.prompts.languages.pretraining import pretraining_of
from isogloss.prompts.model import memo as memos
from isogloss.prompts.model.checkpoint import load_checkpoint
from isogloss.prompts.model.conversion import state_of, take_apart
from isogloss.prompts.model.memo_key import MemoKey, key_of
from isogloss.prompts.model.names import resolve
from isogloss.prompts.model.parts import Parts
from isogloss.prompts.model.remembering import rebuilt, remember

logger = logging.getLogger(__name__)

FULL_CHECK_VARIABLE = "ISOGLOSS_FULL_CHECK"
"""1: every model is read by transformers and checked, and nothing of it is remembered."""

_OFF = frozenset({"", "0", "false", "no", "off"})


def load_parts(model: str, revision: str | None, dtype: torch.dtype) -> Parts:
    """Take a model apart, to be run in this precision.

    Raises:
        NotFound, InvalidInput, Unavailable: as `Backbone.load`.
    """
    source = resolve(model)
    key = _key(source, revision, dtype)
    recalled = None if key is None else _recalled(key, dtype)
    if recalled is None:
        return _in_full(model, source, revision, dtype, key)
    folder = Path(source) if Path(source).is_dir() else None
    rows = len(recalled.weights.embedding)
    return replace(recalled, pretraining=pretraining_of(folder, recalled.architecture, rows))


def _in_full(
    model: str, source: str, revision: str | None, dtype: torch.dtype, before: MemoKey | None
) -> Parts:
    # Where it runs in float32, its own answers are compared with ours unrounded.
    in_float = dtype == torch.float32
    checkpoint = load_checkpoint(model, revision, torch.float32 if in_float else "auto")
    parts = take_apart(checkpoint.model, checkpoint.tokenizer, model, dtype)
    parts = replace(parts, revision=checkpoint.revision, pretraining=checkpoint.pretraining)
    now = _key(source, revision, dtype)
    if now is not None and before in (None, now):  # None: it was downloaded meanwhile
        try:
            remember(now, parts, state_of(checkpoint.model))
        except Exception as problem:  # a model that can be used is used, remembered or not
            logger.warning("model %r is not remembered: %s", model, problem)
    return parts


def _recalled(key: MemoKey, dtype: torch.dtype) -> Parts | None:
    """A model as it is remembered, if nobody changed its files while they were read."""
    memo = memos.read(key)
    if memo is None:
        return None
    try:
        parts = rebuilt(memo)
        return parts if key == key_of(Path(key.folder), dtype) else None
    except Exception as problem:  # safetensors' and tokenizers' errors share no public base class
        logger.warning("what is remembered of %s is of no use: %s", key.folder, problem)
        return None


def _key(source: str, revision: str | None, dtype: torch.dtype) -> MemoKey | None:
    """The key of the files that a full load would read; None: they are not here, or not asked."""
    if unquoted(os.environ.get(FULL_CHECK_VARIABLE, "")).lower() not in _OFF:
        return None
    folder = Path(source) if Path(source).is_dir() else _snapshot(source, revision)
    try:
        return None if folder is None else key_of(folder, dtype)
    except (OSError, ModuleNotFoundError):
        return None


def _snapshot(source: str, revision: str | None) -> Path | None:
    """The folder of a hub's model, where it was downloaded before.

    The hub is asked whether it has changed, as transformers would, unless it may not be.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    if not isinstance(try_to_load_from_cache(source, "config.json", revision=revision), str):
        return None
    try:
        return Path(hf_hub_download(source, "config.json", revision=revision)).parent
    except Exception:  # transformers meets it again, and says what is wrong
        return None
