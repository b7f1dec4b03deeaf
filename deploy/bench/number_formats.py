"""The number formats that a benchmark names, and how far answers in them may be apart."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from isogloss.prompts.model.packed.pack import fastest_dtype

# Short names, as in `fp32_vs_transformers`. int8, fp8: weights and activations of linear layers.
SHORT: Mapping[torch.dtype, str] = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int8: "int8",
    torch.float8_e4m3fn: "fp8",
}
# How far two label log-probabilities may be apart: rounding in another order of summation. Of int8
# and fp8 the bound only tells a mistake from rounding; how far they are apart is in the report.
TOLERANCES: Mapping[torch.dtype, float] = {
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
    torch.int8: 1.0,
    torch.float8_e4m3fn: 1.0,
}
_WIDTH = 1024  # of the models that are measured by default


def default_precisions(device: torch.device) -> tuple[torch.dtype, ...]:
    """What of ours is measured where nothing is asked for.

    bfloat16 on GPUs. On a CPU float32 and int8, and bfloat16 where serving would choose it: where
    this very processor, which is asked now, multiplies matrices so much faster in it.
    """
    if device.type == "cuda":
        return (torch.bfloat16,)
    if fastest_dtype(_WIDTH) == torch.bfloat16:
        return (torch.float32, torch.bfloat16, torch.int8)
    return (torch.float32, torch.int8)


def base_precision(dtypes: tuple[torch.dtype, ...], device: torch.device) -> torch.dtype:
    """The peers' precision and that of the common weights: the first that transformers can run."""
    for dtype in dtypes:
        if dtype.itemsize > 1:
            return dtype
    return torch.float32 if device.type == "cpu" else torch.bfloat16
