"""The number formats that a benchmark names, and how far answers in them may be apart."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
import torch.nn.functional as F

# Short names, as in `fp32_vs_transformers`. int8: weights and activations of the linear layers.
SHORT: Mapping[torch.dtype, str] = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int8: "int8",
}
# How far two label log-probabilities may be apart: rounding in another order of summation. Of int8
# the bound only tells a mistake from rounding; how far apart they are is part of the report.
TOLERANCES: Mapping[torch.dtype, float] = {
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
    torch.int8: 1.0,
}
# One linear layer over one batch of SIB-200's texts: rows, inputs, outputs.
_TRIAL = (1024, 1024, 4096)
_TRIALS = 3


def default_precisions(device: torch.device) -> tuple[torch.dtype, ...]:
    """What of ours is measured where nothing is asked for.

    bfloat16 on GPUs. On a CPU float32 and int8, and bfloat16 where this very processor multiplies
    matrices faster in it: many have to emulate it.
    """
    if device.type == "cuda":
        return (torch.bfloat16,)
    if product_seconds(torch.bfloat16) < product_seconds(torch.float32):
        return (torch.float32, torch.bfloat16, torch.int8)
    return (torch.float32, torch.int8)


def product_seconds(dtype: torch.dtype) -> float:
    """The fastest of a few matrix products on the CPU."""
    rows, inputs, outputs = _TRIAL
    x, weight = torch.ones(rows, inputs, dtype=dtype), torch.ones(outputs, inputs, dtype=dtype)
    found = []
    for _ in range(_TRIALS):
        begun = time.perf_counter()
        F.linear(x, weight)
        found.append(time.perf_counter() - begun)
    return min(found)


def base_precision(dtypes: tuple[torch.dtype, ...], device: torch.device) -> torch.dtype:
    """The peers' precision and that of the common weights: the first that transformers can run."""
    for dtype in dtypes:
        if dtype != torch.int8:
            return dtype
    return torch.float32 if device.type == "cpu" else torch.bfloat16
