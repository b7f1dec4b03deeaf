"""`isogloss bench train`: what one prompt costs with ours, with transformers and with PEFT.

Contenders alternate (A B C D A B C D ...), so that whatever else the machine is doing meets all of
them, and ratios are taken within a round. In each, a contender does
everything that a run does once, then whole epochs of steps and validation; the rest of the paper's
20 epochs is projected from those. Before anything is reported, gradients and validation losses must
agree: ours with transformers', PEFT's (whose prompt precedes the text) with our own forward pass in
that position.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from isogloss.deploy.bench.comparing import MakeModel, full_size_model, spread, whole_report
from isogloss.deploy.bench.examples import DEV, SHOTS, TRAIN
from isogloss.deploy.bench.options import Say
from isogloss.deploy.bench.settings import PAPER_EPOCHS, TrainSettings
from isogloss.deploy.bench.train_comparison import Agreement, TrainComparison, Trainer, agree
from isogloss.deploy.bench.trainers import Clock
from isogloss.prompts.model.full_size import full_size_config


def bench_train(
    settings: TrainSettings, say: Say = lambda line: None, make_model: MakeModel = full_size_model
) -> dict[str, Any]:
    """Measure every model; the contract's JSON object.

    Args:
        settings: what to measure.
        say: told what is going on.
        make_model: from a model's name to a transformers causal LM.

    Raises:
        ContendersDisagree: gradients or losses differ, beyond rounding.
        NotFound: a model without a full-size configuration.
        Unavailable: PEFT is not installed.
    """
    for name in settings.models:
        full_size_config(name)  # a mistyped name shows before long work, not after
    settings = settings.settled()
    results = [_bench_model(name, settings, say, make_model) for name in settings.models]
    report = whole_report(
        "train", settings, results, {result["model"]: _ratios(result) for result in results}
    )
    report["settings"] |= {"shots": SHOTS, "train_texts": TRAIN, "validation_texts": DEV}
    return report


def _ratios(result: Mapping[str, Any]) -> dict[str, float]:
    by_peer = result["ratios_by_peer"]
    return {
        **{f"{name}_vs_best_peer": ratio["median"] for name, ratio in result["ratios"].items()},
        **{
            f"{name}_vs_{careful}": ratio[careful]["median"]
            for careful in ("transformers_by_hand", "torch_compile")
            for name, ratio in by_peer.items()
            if careful in ratio
        },
    }


@dataclass(frozen=True, slots=True)
class Taken:
    """What one contender took for everything that is done once and for the measured epochs."""

    once_s: float
    epoch_steps_s: float  # a mean epoch's, of all prompts at once
    validation_s: float
    dev_loss: float  # of the first prompt after the last measured epoch

    def per_prompt_s(self, prompts: int) -> float:
        """A whole run's, projected."""
        return (self.once_s + PAPER_EPOCHS * (self.epoch_steps_s + self.validation_s)) / prompts


def _bench_model(
    name: str, settings: TrainSettings, say: Say, make_model: MakeModel
) -> dict[str, Any]:
    say(f"{name}: making random weights ...")
    device, dtype = torch.device(settings.device), getattr(torch, settings.dtype)
    model = make_model(name, settings.seed, device, dtype)
    comparison = TrainComparison(
        model, name, settings.population, settings.epochs, settings.seed, settings.compiled
    )
    say(f"{name}: warming up, comparing gradients and losses, measuring memory ...")
    agreed = agree(comparison)
    rounds: list[dict[str, Taken]] = []
    for number in range(1, settings.rounds + 1):
        round_: dict[str, Taken] = {}
        for trainer in comparison.contenders:
            say(f"{name}: round {number} of {settings.rounds}, {trainer.name} ...")
            round_[trainer.name] = taken = _train(trainer, settings.epochs)
            say(f"{name}: {trainer.name} took {taken.per_prompt_s(trainer.prompts):.4g} s a prompt")
        rounds.append(round_)
    return _result(comparison, rounds, agreed)


def _train(trainer: Trainer, epochs: int) -> Taken:
    gc.collect()
    clock = Clock()
    trainer.prepare()
    clock.lap("once")
    loss = trainer.train(clock)
    trainer.release()
    took_s = clock.seconds
    return Taken(took_s["once"], took_s["steps"] / epochs, took_s["validation"] / epochs, loss)


def _result(
    comparison: TrainComparison, rounds: Sequence[Mapping[str, Taken]], agreed: Agreement
) -> dict[str, Any]:
    config = comparison.config
    steps = math.ceil(TRAIN / config.batch_size)
    seconds = {
        each.name: [taken[each.name].per_prompt_s(each.prompts) for taken in rounds]
        for each in comparison.contenders
    }
    best = min(comparison.peers, key=lambda peer: statistics.median(seconds[peer.name])).name
    by_peer = {
        ours.name: {
            peer.name: spread(
                [a / b for a, b in zip(seconds[peer.name], seconds[ours.name], strict=True)]
            )
            for peer in (*comparison.peers, *comparison.careful)
        }
        for ours in comparison.ours
    }
    return {
        "model": comparison.model_id,
        "prompt_length": config.length,
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        "steps_per_epoch": steps,
        "contenders": {
            each.name: {
                "prompts": each.prompts,
                "seconds_per_prompt": spread(seconds[each.name]),
                **_parts([taken[each.name] for taken in rounds], steps),
                "peak_memory_bytes": agreed.peaks[each.name],
            }
            for each in comparison.contenders
        },
        "best_peer": best,
        "ratios": {ours.name: by_peer[ours.name][best] for ours in comparison.ours},
        "ratios_by_peer": by_peer,
        "differences": dict(agreed.differences),
    }


def _parts(taken: Sequence[Taken], steps: int) -> dict[str, dict[str, float]]:
    return {
        "once_s": spread([each.once_s for each in taken]),
        "step_s": spread([each.epoch_steps_s / steps for each in taken]),
        "validation_s": spread([each.validation_s for each in taken]),
        "dev_loss_after_measured_epochs": spread([each.dev_loss for each in taken]),
    }
