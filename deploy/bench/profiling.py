"""`isogloss bench profile`: where a forward pass of ours spends its time.

torch's profiler names some forty operators; here they are summed into the kinds that one can do
something about. Profiling itself costs a microsecond or two a call, so small batches look a little
slower, and their share of calls larger, than they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from isogloss.deploy.bench.contest import MakeModel, Say, full_size_model
from isogloss.deploy.bench.number_formats import SHORT
from isogloss.deploy.bench.peers import Isogloss
from isogloss.deploy.bench.players import make_backbone
from isogloss.deploy.bench.texts import workload
from isogloss.deploy.load.machine import hardware, versions

# The first kind whose part of a name is in an operator's; the last takes what is left.
_KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "matrix products of linear layers": (
            *("_linear_pointwise", "qlinear", "addmm", "aten::mm", "scaled_mm"),
        ),
        "attention": ("scaled_dot_product", "bmm", "softmax", "flex_attention"),
        "norms": ("layer_norm",),
        "GELU outside the products": ("gelu",),
        "copies and casts": ("copy_", "aten::cat", "index_select", "embedding"),
        "sums and scales": (
            *("aten::add", "aten::mul", "aten::sub", "aten::div", "aten::abs", "aten::amax"),
            *("aten::round", "aten::clamp"),
        ),
        "everything else": ("",),
    }
)


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """One batch of one model."""

    model: str
    dtype: torch.dtype
    device: torch.device
    batch_size: int = 32
    prompts: int = 8
    prompt_length: int = 10
    runs: int = 3
    seed: int = 0

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "model": self.model,
            "dtype": SHORT[self.dtype],
            "device": self.device.type,
            "batch_size": self.batch_size,
            "prompts": self.prompts,
            "prompt_length": self.prompt_length,
            "runs": self.runs,
            "seed": self.seed,
        }


@torch.inference_mode()
def bench_profile(
    settings: ProfileSettings,
    say: Say = lambda line: None,
    make_model: MakeModel = full_size_model,
) -> dict[str, Any]:
    """Profile a batch; one JSON object, shaped as the other benchmarks'.

    Raises:
        NotFound: a model without a full-size configuration.
    """
    say(f"{settings.model}: making random weights ...")
    model = make_model(settings.model, settings.seed, settings.device, torch.float32)
    backbone = make_backbone(model, settings.model, settings.dtype, settings.device)
    del model
    work = workload(
        prompts=settings.prompts,
        prompt_length=settings.prompt_length,
        hidden_size=backbone.hidden_size,
        vocab_size=backbone.vocab_size,
        seed=settings.seed,
        pool=settings.batch_size,
    )
    batch = next(work.batches(settings.batch_size))
    ours = Isogloss(backbone, work)
    say(f"{settings.model}: profiling {settings.runs} batches of {work.tokens(batch)} tokens ...")
    spent = _spent(lambda: ours.score(batch), settings)
    return {
        "bench": "profile",
        "hardware": hardware(settings.device),
        "versions": versions(),
        "settings": settings.shown(),
        "results": [{"model": settings.model, "tokens": work.tokens(batch), **spent}],
        "ratios": {},
    }


def _spent(score: Callable[[], Any], settings: ProfileSettings) -> dict[str, Any]:
    """Seconds of one batch, by kind of operator."""
    score()  # what is made once is made now
    on_gpu = settings.device.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if on_gpu else []
    with torch.profiler.profile(activities=kinds) as profile:
        for _ in range(settings.runs):
            score()
        if on_gpu:
            torch.cuda.synchronize()
    seconds = dict.fromkeys(_KINDS, 0.0)
    for event in profile.key_averages():
        own_us = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        seconds[kind_of(event.key)] += own_us / 1e6 / settings.runs
    total = sum(seconds.values())
    return {
        "seconds": round(total, 5),
        "shares": {kind: round(own / total, 4) for kind, own in seconds.items()},
    }


def kind_of(operator: str) -> str:
    """What a profiled operator belongs to.

    >>> kind_of("aten::native_layer_norm")
    'norms'
    """
    return next(kind for kind, parts in _KINDS.items() if any(part in operator for part in parts))
