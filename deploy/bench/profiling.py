"""`isogloss bench profile`: where a forward pass of ours spends its time.

torch's profiler names some forty operators; here they are summed into the kinds that one can do
something about. Profiling itself costs a microsecond or two a call, so small batches look a little
slower, and their share of calls larger, than they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch

from isogloss.deploy.bench.comparing import MakeModel, full_size_model, whole_report
from isogloss.deploy.bench.contenders import make_backbone
from isogloss.deploy.bench.number_formats import SHORT
from isogloss.deploy.bench.options import Say
from isogloss.deploy.bench.peers import Isogloss
from isogloss.deploy.bench.settings import ProfileSettings
from isogloss.deploy.bench.texts import workload
from isogloss.prompts.model.full_size import full_size_config

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
    full_size_config(settings.model)  # a mistyped name shows before long work, not after
    settings = settings.settled()
    device, dtype = torch.device(settings.device), getattr(torch, settings.dtype)
    say(f"{settings.model}: making random weights ...")
    model = make_model(settings.model, settings.seed, device, torch.float32)
    backbone = make_backbone(model, settings.model, dtype, device)
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
    result = {"model": settings.model, "tokens": work.tokens(batch), **spent}
    report = whole_report("profile", settings, [result], {})
    report["settings"]["dtype"] = SHORT[dtype]
    return report


def _spent(score: Callable[[], Any], settings: ProfileSettings) -> dict[str, Any]:
    """Seconds of one batch, by kind of operator."""
    score()  # what is made once is made now
    on_gpu = settings.device == "cuda"
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
