"""A model's own answers against ours, before its module is dropped.

A configuration may ask for what no description has heard of. Then the two differ, and the model is
refused instead of answering wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.decoder.attention import capped
from isogloss.prompts.model.decoder.buckets import read_suffixed
from isogloss.prompts.model.decoder.weights import DecoderWeights, cast

_TEXT, _PROMPT, _LOGITS = 12, 4, 64
_WINDOW = 7  # windows are tried at this size: long texts would take a large model minutes
_ALLOWED = {torch.float32: 1e-3, torch.float64: 1e-3}
_ALLOWED_IN_HALF = 0.05


@torch.no_grad()
def check_equal(model_id: str, model: Any, weights: DecoderWeights) -> None:
    """Compare logits behind random tokens, of the module and of these weights made of it.

    Raises:
        InvalidInput: they differ by more than rounding; names model, architecture and difference.
    """
    table = model.get_input_embeddings().weight
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(len(table), (_TEXT + _PROMPT,), generator=draw).to(table.device)
    labels = torch.randint(len(table), (_LOGITS,), generator=draw)
    with _narrow_windows(model.config):
        theirs = model(tokens[None], use_cache=False).logits[0, -1, labels].float()
    ours = _logits(_narrow(cast(weights, table.device, table.dtype)), model, tokens)[labels]
    off = float((ours - theirs).norm() / theirs.norm())
    allowed = _ALLOWED.get(table.dtype, _ALLOWED_IN_HALF)
    if not off <= allowed:
        raise InvalidInput(
            f"model {model_id!r}: this {model.config.model_type!r} computes something that is not "
            f"computed here: its logits of {_LOGITS} random tokens and ours differ by {off:.2g} of "
            f"their size (up to {float((ours - theirs).abs().max()):.2g}; {allowed:g} is allowed); "
            "take a variant that its architecture's description covers (docs/how-to/models.md)"
        )


def _logits(weights: DecoderWeights, model: Any, tokens: Tensor) -> Tensor:
    """(vocabulary,) float32: of the last of these tokens, the last four as a prompt."""
    text, prompt = tokens[:_TEXT].tolist(), model.get_input_embeddings()(tokens[_TEXT:])
    (state,) = read_suffixed(weights, [text], [[prompt]])
    cap = getattr(model.config, "final_logit_softcapping", None)
    return capped((weights.head @ state).float(), cap)


def _narrow(weights: DecoderWeights) -> DecoderWeights:
    layers = (
        replace(layer, window=None if layer.window is None else _WINDOW) for layer in weights.layers
    )
    return replace(weights, layers=tuple(layers))


@contextmanager
def _narrow_windows(config: Any) -> Iterator[None]:
    """The module makes its masks of the configuration's window at every call."""
    window = getattr(config, "sliding_window", None)
    if window is None:
        yield
        return
    config.sliding_window = _WINDOW
    try:
        yield
    finally:
        config.sliding_window = window
