"""What every contest of this package keeps to: the same weights, answers that agree, spreads."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from isogloss.prompts.errors import InvalidInput, IsoglossError
from isogloss.prompts.model.full_size import full_size_config, random_model

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
    return _rounded(found)


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99, lowest and highest, to four digits: of few values the p99 is the highest."""
    ends = np.quantile(seconds, (0.5, 0.95, 0.99), method="inverted_cdf")
    found = dict(zip(("p50", "p95", "p99"), map(float, ends), strict=True))
    return _rounded({**found, "min": min(seconds), "max": max(seconds)})


def paired(ratios: Sequence[float]) -> dict[str, float]:
    """The spread of ratios between neighbours in time, with the median's 95 % interval.

    By bootstrap (percentiles) over the rounds: of few rounds it is no wider than they are.
    """
    from scipy.stats import bootstrap

    low = high = ratios[0]
    if len(ratios) > 1:
        interval = bootstrap(
            (np.array(ratios),), np.median, method="percentile", n_resamples=2000, rng=0
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return {**spread(ratios), **_rounded({"low": low, "high": high}), "rounds": len(ratios)}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in values.items()}
