"""The tensors of a prompt's file: what they are called, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.format.card import PromptCard
from isogloss.prompts.format.safetensors_header import Array, TensorSpec

STATE_SHAPES: Mapping[str, tuple[str, ...]] = {
    "state.prompt": ("length", "hidden"),
    "state.w_down": ("bottleneck", "hidden"),
    "state.b_down": ("bottleneck",),
    "state.w_up": ("hidden", "bottleneck"),
    "state.b_up": ("hidden",),
    "state.norm_weight": ("hidden",),
    "state.norm_bias": ("hidden",),
}
"""Training state of a residual prompt, by tensor name: p, W_down, W_up and LayerNorm."""
LABEL_ROWS = "label_rows"
"""The tensor of a prompt whose card's head is `prompt`: (labels, hidden)."""
SERVED = ("prompt", LABEL_ROWS)


def check_tensors(tensors: Mapping[str, TensorSpec]) -> None:
    """Require the prompt and nothing unknown, all float32."""
    for name, spec in tensors.items():
        if name not in SERVED and name not in STATE_SHAPES:
            raise InvalidPrompt(
                f"the prompt file holds an unknown tensor {shown(name, 80)}; allowed are 'prompt', "
                f"{LABEL_ROWS!r} and {', '.join(STATE_SHAPES)}"
            )
        if spec.dtype != "F32":
            raise InvalidPrompt(f"tensor {name!r} has dtype {spec.dtype}, it must be F32")
    if "prompt" not in tensors:
        raise InvalidPrompt("the prompt file has no tensor 'prompt'")


def check_vectors(vectors: Array) -> None:
    """Require (length, hidden size), finite."""
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise InvalidPrompt(
            f"tensor 'prompt' has shape {list(vectors.shape)}, it must be (length, hidden size), "
            "both at least 1"
        )
    _check_finite("prompt", vectors)


def check_rows(rows: Array | None, card: PromptCard, hidden: int) -> None:
    """Require rows where, and only where, the card says that the head is the prompt's own."""
    if (rows is not None) != (card.head == "prompt"):
        there = "no tensor" if rows is None else "a tensor"
        raise InvalidPrompt(
            f"the card's head is {card.head!r}, and the prompt file has {there} {LABEL_ROWS!r}"
        )
    if rows is None:
        return
    if list(rows.shape) != [len(card.labels), hidden]:
        raise InvalidPrompt(
            f"tensor {LABEL_ROWS!r} has shape {list(rows.shape)}, it must be "
            f"{[len(card.labels), hidden]}: a row a label, as wide as the prompt"
        )
    _check_finite(LABEL_ROWS, rows)


def check_state(state: Mapping[str, Array], length: int, hidden: int) -> None:
    """Require training state in the shapes of STATE_SHAPES, finite."""
    sizes = {"length": length, "hidden": hidden, "bottleneck": _bottleneck(state)}
    for name, array in state.items():
        if name not in STATE_SHAPES:
            raise InvalidPrompt(
                f"unknown training state {name!r}; known are {', '.join(STATE_SHAPES)}"
            )
        expected = [sizes[dimension] for dimension in STATE_SHAPES[name]]
        if list(array.shape) != expected:
            raise InvalidPrompt(
                f"tensor {name!r} has shape {list(array.shape)}, it must be {expected}"
            )
        _check_finite(name, array)


def _bottleneck(state: Mapping[str, Array]) -> int:
    """Return the bottleneck's width as W_down states it; the other tensors must agree."""
    down = state.get("state.w_down")
    return down.shape[0] if down is not None and down.ndim > 0 else 0


def _check_finite(name: str, array: Array) -> None:
    wrong = int((~np.isfinite(array)).sum())
    if wrong:
        raise InvalidPrompt(f"tensor {name!r} holds NaN or Inf in {wrong} of {array.size} places")
