"""`isogloss bench engine`: our forward pass against transformers and PEFT on one model's tensors.

Contenders take turns (A B C A B C ...), so that whatever else the machine is doing meets all of
them, and ratios are taken between neighbours in time. Before anything is reported, our answers must
be those of the peers.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deploy.bench.contest import (
    DEFAULT_MODELS,
    ContendersDisagree,
    MakeModel,
    Say,
    full_size_model,
    refuse_below_one,
    spread,
)
from deploy.bench.machine import hardware, peak_of, versions
from deploy.bench.peers import Contender, Isogloss, Peft, Transformers
from deploy.bench.texts import POOL, Batch, Workload, workload
from prompts.backbone import Backbone
from prompts.full_size import full_size_config

# How far two label log-probabilities may be apart: rounding in another order of summation.
TOLERANCES = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
_SHORT = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What is measured, and for how long."""

    models: tuple[str, ...] = DEFAULT_MODELS
    batch_sizes: tuple[int, ...] = (1, 8, 32)
    prompts: int = 8
    prompt_length: int = 10
    repeats: int = 3
    """Rounds of each batch size, at least; in a round every contender scores the same batch."""
    seconds: float = 15.0
    """Small batches are repeated until this much time has passed."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers below one.

        Raises:
            InvalidInput: naming the field.
        """
        refuse_below_one(
            prompts=self.prompts,
            prompt_length=self.prompt_length,
            repeats=self.repeats,
            batch_sizes=min(self.batch_sizes, default=0),
        )

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "models": list(self.models),
            "batch_sizes": list(self.batch_sizes),
            "prompts": self.prompts,
            "prompt_length": self.prompt_length,
            "repeats": self.repeats,
            "seconds": self.seconds,
            "device": self.device.type,
            "dtype": str(self.dtype).removeprefix("torch."),
            "seed": self.seed,
            "weights": "random, the same tensors for all contenders",
            "text_lengths": "SIB-200, English test split",
            "ratios_at_batch_size": max(self.batch_sizes),
        }


def bench_engine(
    settings: EngineSettings, say: Say = lambda line: None, make_model: MakeModel = full_size_model
) -> dict[str, Any]:
    """Measure every model at every batch size; the contract's JSON object.

    Args:
        settings: what to measure.
        say: told what is going on.
        make_model: from a model's name to a transformers causal LM.

    Raises:
        ContendersDisagree: a peer's answers are not ours, beyond rounding.
        NotFound: a model without a full-size configuration.
        Unavailable: PEFT is not installed.
    """
    for name in settings.models:
        full_size_config(name)  # a mistyped name shows before long work, not after
    results: list[dict[str, Any]] = []
    for name in settings.models:
        results += _bench_model(name, settings, say, make_model)
    return {
        "bench": "engine",
        "hardware": hardware(settings.device),
        "versions": versions(),
        "settings": settings.shown(),
        "results": results,
        "ratios": _headline(results, settings),
    }


@torch.inference_mode()
def _bench_model(
    name: str, settings: EngineSettings, say: Say, make_model: MakeModel
) -> list[dict[str, Any]]:
    say(f"{name}: making random weights ...")
    model = make_model(name, settings.seed, settings.device, settings.dtype)
    backbone = Backbone.from_transformers(
        model, None, model_id=name, device=settings.device, dtype=settings.dtype
    )
    work = workload(
        prompts=settings.prompts,
        prompt_length=settings.prompt_length,
        hidden_size=backbone.hidden_size,
        vocab_size=backbone.vocab_size,
        seed=settings.seed,
        pool=max(POOL, *settings.batch_sizes),
    )
    ours = Isogloss(backbone, work)
    contenders = (ours, Transformers(model, work), Peft(model, work))
    return [
        {"model": name, "batch_size": size, **_bench_size(contenders, work, size, settings, say)}
        for size in sorted(settings.batch_sizes)
    ]


def _bench_size(
    contenders: tuple[Isogloss, Transformers, Peft],
    work: Workload,
    size: int,
    settings: EngineSettings,
    say: Say,
) -> dict[str, Any]:
    ours, transformers, peft = contenders
    batches = work.batches(size)
    batch = next(batches)
    say(f"batch {size}: warming up, comparing answers, measuring memory ...")
    peaks: dict[str, int | None] = {}
    answers: dict[str, Tensor] = {}
    for each in contenders:
        answers[each.name], peaks[each.name] = peak_of(
            lambda each=each: each.score(batch).cpu(),  # type: ignore[misc]
            settings.device,
        )
    prefixed = ours.score_prefixed(batch).cpu()
    differences = {
        peer.name: _agree(own, answers[peer.name], peer.name, settings.dtype)
        for peer, own in ((transformers, answers[ours.name]), (peft, prefixed))
    }
    rounds: list[Mapping[str, float]] = []
    read: list[Batch] = []
    begun = time.perf_counter()
    while len(rounds) < settings.repeats or time.perf_counter() - begun < settings.seconds:
        read.append(batch)
        rounds.append({each.name: _seconds(each, batch) for each in contenders})
        say(f"batch {size}: round {len(rounds)}, {_so_far(rounds, ours.name)}")
        batch = next(batches)
    return _size_result(work, read, rounds, peaks, differences)


def _seconds(contender: Contender, batch: Batch) -> float:
    begun = time.perf_counter()
    contender.score(batch).cpu()  # on a GPU the copy waits for the answer, as a caller would
    return time.perf_counter() - begun


def _agree(ours: Tensor, theirs: Tensor, peer: str, dtype: torch.dtype) -> float:
    """The largest difference of two label log-probabilities, if rounding explains it."""
    difference = float((ours - theirs.float()).abs().max())
    if not difference <= TOLERANCES[dtype]:
        raise ContendersDisagree(
            f"{peer}: its label log-probabilities differ from ours by {difference:.2g}, more than "
            f"{TOLERANCES[dtype]:g}; nothing is reported"
        )
    return difference


def _size_result(
    work: Workload,
    read: Sequence[Batch],
    rounds: Sequence[Mapping[str, float]],
    peaks: Mapping[str, int | None],
    differences: Mapping[str, float],
) -> dict[str, Any]:
    texts, tokens = [len(b.texts) for b in read], [work.tokens(b) for b in read]
    ours = next(iter(peaks))
    return {
        "rounds": len(rounds),
        "tokens_per_text": round(sum(tokens) / sum(texts), 1),
        "contenders": {
            name: {
                "seconds": spread([r[name] for r in rounds]),
                "texts_per_s": spread([n / r[name] for n, r in zip(texts, rounds, strict=True)]),
                "tokens_per_s": spread([n / r[name] for n, r in zip(tokens, rounds, strict=True)]),
                "peak_memory_bytes": peak,
            }
            for name, peak in peaks.items()
        },
        "ratios": {
            peer: spread([r[peer] / r[ours] for r in rounds]) for peer in peaks if peer != ours
        },
        "largest_differences": dict(differences),
    }


def _so_far(rounds: Sequence[Mapping[str, float]], ours: str) -> str:
    return ", ".join(
        f"{statistics.median(r[peer] / r[ours] for r in rounds):.2f} x {peer}"
        for peer in rounds[0]
        if peer != ours
    )


def _headline(
    results: Sequence[Mapping[str, Any]], settings: EngineSettings
) -> dict[str, dict[str, float]]:
    """Each model's ratios at the largest batch: above 1 ours is faster."""
    kind, size = _SHORT[settings.dtype], max(settings.batch_sizes)
    return {
        own["model"]: {
            f"{kind}_vs_{peer}": ratio["median"] for peer, ratio in own["ratios"].items()
        }
        for own in results
        if own["batch_size"] == size
    }
