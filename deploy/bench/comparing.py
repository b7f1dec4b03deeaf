"""What every benchmark keeps to: the same weights, answers that agree, spreads, one report."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from isogloss.deploy.bench.settings import Settings
from isogloss.deploy.load.machine import hardware, versions
from isogloss.prompts.errors import IsoglossError
from isogloss.prompts.model.full_size import full_size_config, random_model

MakeModel = Callable[[str, int, torch.device, torch.dtype], Any]


class ContendersDisagree(IsoglossError):
    """Two contenders gave different answers: their speeds cannot be compared."""


def full_size_model(name: str, seed: int, device: torch.device, dtype: torch.dtype) -> Any:
    """A model of Table 2 with random weights."""
    return random_model(full_size_config(name), seed, device=device, dtype=dtype)


def whole_report(
    bench: str,
    settings: Settings,
    results: Sequence[Mapping[str, Any]],
    ratios: Mapping[str, Any],
    *more_packages: str,
) -> dict[str, Any]:
    """The contract's JSON object.

    Args:
        bench: the benchmark's name.
        settings: as they were settled on this machine.
        results: what was measured.
        ratios: model -> name -> ratio.
        more_packages: that only this benchmark depends on.
    """
    return {
        "bench": bench,
        "hardware": hardware(torch.device(settings.device)),
        "versions": versions(*more_packages),
        "settings": settings.shown(),
        "results": list(results),
        "ratios": dict(ratios),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest, to four digits."""
    return _rounded(median=statistics.median(values), min=min(values), max=max(values))


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99, lowest and highest, to four digits: of few values the p99 is the highest."""
    p50, p95, p99 = np.quantile(values, (0.5, 0.95, 0.99), method="inverted_cdf")
    return _rounded(p50=p50, p95=p95, p99=p99, min=min(values), max=max(values))


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
        low, high = interval.low, interval.high
    return {**spread(ratios), **_rounded(low=low, high=high), "rounds": len(ratios)}


def _rounded(**values: float) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in values.items()}
