"""`isogloss bench train`: what one prompt costs with ours, with transformers and with PEFT.

Contenders take turns (A B C D A B C D ...), so that whatever else the machine is doing meets all of
them, and ratios are taken within a round. A turn is everything that a run does once, then whole
epochs of steps and validation; the rest of the paper's 20 epochs is projected from those. Before
anything is reported, gradients and validation losses must agree: ours with transformers', PEFT's
(whose prompt precedes the text) with our own forward pass in that position.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from isogloss.deploy.bench.clock import Clock
from isogloss.deploy.bench.contest import (
    DEFAULT_MODELS,
    MakeModel,
    Say,
    full_size_model,
    refuse_below_one,
    spread,
)
from isogloss.deploy.bench.examples import DEV, SHOTS, TRAIN
from isogloss.deploy.bench.train_contest import RATE_FACTORS, Agreement, TrainContest, agree
from isogloss.deploy.bench.trainers import Trainer
from isogloss.deploy.load.machine import hardware, versions
from isogloss.prompts.model.full_size import full_size_config

PAPER_EPOCHS = 20  # Appendix A.3


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What is measured, and for how long."""

    models: tuple[str, ...] = DEFAULT_MODELS
    population: int = 16
    epochs: int = 1
    """Measured in each turn, of the paper's 20; the others are taken to cost the same."""
    rounds: int = 3
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers below one.

        Raises:
            InvalidInput: naming the field.
        """
        refuse_below_one(population=self.population, epochs=self.epochs, rounds=self.rounds)

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "models": list(self.models),
            "population": self.population,
            "population_is": f"seeds x {len(RATE_FACTORS)} learning rates, "
            f"{', '.join(f'{factor:g}' for factor in RATE_FACTORS)} times the model's own; each "
            "seed has texts of its own",
            "shots": SHOTS,
            "train_texts": TRAIN,
            "validation_texts": DEV,
            "epochs": PAPER_EPOCHS,
            "epochs_measured": self.epochs,
            "projection": f"seconds per prompt = (what is done once + {PAPER_EPOCHS} x (steps + "
            "validation of a measured epoch)) / prompts trained at once",
            "rounds": self.rounds,
            "device": self.device.type,
            "dtype": str(self.dtype).removeprefix("torch."),
            "seed": self.seed,
            "weights": "random, the same tensors for all contenders",
            "text_lengths": "SIB-200, English test split",
            "batches": "in random order, the same for all contenders",
            "peers": "transformers and peft compute every position's logits, as their causal "
            "language models do unless told otherwise; transformers_by_hand runs the bare decoder "
            "and reads the labels' rows of the head alone",
        }


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
    results = [_bench_model(name, settings, say, make_model) for name in settings.models]
    return {
        "bench": "train",
        "hardware": hardware(settings.device),
        "versions": versions(),
        "settings": settings.shown(),
        "results": results,
        "ratios": {
            result["model"]: {
                **{f"{name}_vs_best_peer": own["median"] for name, own in result["ratios"].items()},
                **{
                    f"{name}_vs_transformers_by_hand": own["transformers_by_hand"]["median"]
                    for name, own in result["ratios_by_peer"].items()
                },
            }
            for result in results
        },
    }


@dataclass(frozen=True, slots=True)
class Turn:
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
    model = make_model(name, settings.seed, settings.device, settings.dtype)
    contest = TrainContest(model, name, settings.population, settings.epochs, settings.seed)
    say(f"{name}: warming up, comparing gradients and losses, measuring memory ...")
    agreed = agree(contest)
    rounds: list[dict[str, Turn]] = []
    for number in range(1, settings.rounds + 1):
        taken: dict[str, Turn] = {}
        for trainer in contest.turns:
            say(f"{name}: round {number} of {settings.rounds}, {trainer.name} ...")
            taken[trainer.name] = turn = _turn(trainer, settings)
            say(f"{name}: {trainer.name} took {turn.per_prompt_s(trainer.prompts):.4g} s a prompt")
        rounds.append(taken)
    return _result(contest, rounds, agreed)


def _turn(trainer: Trainer, settings: TrainSettings) -> Turn:
    gc.collect()
    clock = Clock(settings.device)
    trainer.prepare()
    clock.prepared()
    loss = trainer.train(clock)
    trainer.release()
    epochs = settings.epochs
    return Turn(clock.once_s, clock.steps_s / epochs, clock.validations_s / epochs, loss)


def _result(
    contest: TrainContest, rounds: Sequence[Mapping[str, Turn]], agreed: Agreement
) -> dict[str, Any]:
    config = contest.config
    steps = math.ceil(TRAIN / config.batch_size)
    seconds = {
        each.name: [turns[each.name].per_prompt_s(each.prompts) for turns in rounds]
        for each in contest.turns
    }
    best = min(contest.peers, key=lambda peer: statistics.median(seconds[peer.name])).name
    by_peer = {
        ours.name: {
            peer.name: spread(
                [a / b for a, b in zip(seconds[peer.name], seconds[ours.name], strict=True)]
            )
            for peer in (*contest.peers, contest.by_hand)
        }
        for ours in contest.ours
    }
    return {
        "model": contest.model_id,
        "prompt_length": config.length,
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        "steps_per_epoch": steps,
        "contenders": {
            each.name: {
                "prompts": each.prompts,
                "seconds_per_prompt": spread(seconds[each.name]),
                "once_s": spread([turns[each.name].once_s for turns in rounds]),
                "step_s": spread([turns[each.name].epoch_steps_s / steps for turns in rounds]),
                "validation_s": spread([turns[each.name].validation_s for turns in rounds]),
                "peak_memory_bytes": agreed.peaks[each.name],
                "dev_loss_after_measured_epochs": spread([t[each.name].dev_loss for t in rounds]),
            }
            for each in contest.turns
        },
        "best_peer": best,
        "ratios": {ours.name: by_peer[ours.name][best] for ours in contest.ours},
        "ratios_by_peer": by_peer,
        "differences": dict(agreed.differences),
    }
