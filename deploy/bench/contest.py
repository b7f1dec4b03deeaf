"""What every contest of this package keeps to: the same weights, answers that agree, spreads."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch

from prompts.errors import InvalidInput, IsoglossError
from prompts.full_size import full_size_config, random_model

Say = Callable[[str], None]
MakeModel = Callable[[str, int, torch.device, torch.dtype], Any]

DEFAULT_MODELS = ("bloom-560m", "xglm-564M")


class ContendersDisagree(IsoglossError):
    """Two contenders gave different answers: their speeds cannot be compared."""


def full_size_model(name: str, seed: int, device: torch.device, dtype: torch.dtype) -> Any:
    """A model of Table 2 with random weights."""
    return random_model(full_size_config(name), seed, device=device, dtype=dtype)


def refuse_below_one(**numbers: int) -> None:
    """Check settings that count something.

    Raises:
        InvalidInput: naming the first one that is below one.
    """
    if wrong := [name for name, number in numbers.items() if number < 1]:
        raise InvalidInput(f"{wrong[0]}: must be at least 1, not {numbers[wrong[0]]}")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest, to four digits."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.4g}") for name, value in found.items()}
