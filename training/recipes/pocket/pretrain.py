"""Trains one pocket model."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import islice

import torch
from rich.progress import Progress
from torch import nn

from isogloss.training.recipes.pocket.model import Pretraining, embedding
from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.targets import Sampler, batches


@dataclass
class Progressed:
    """How far training has come; with the seed, it says which data comes next."""

    chunk: int = 0
    step: int = 0
    minutes: float = 0.0
    loss: float = 0.0


def _optimizer(pretraining: Pretraining, recipe: Recipe) -> torch.optim.AdamW:
    """The table moves slowly: it has sense in it, and rare tokens must not be left behind."""
    table = embedding(pretraining.model).weight
    body = [p for p in pretraining.model.parameters() if p is not table]
    groups = [
        {"params": body, "rate": recipe.learning_rate, "weight_decay": 0.01},
        {"params": [table], "rate": 0.003 * pretraining.spread, "weight_decay": 0.0},
        {"params": [pretraining.free], "rate": 0.03 * pretraining.spread, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def _rate(recipe: Recipe, done: Progressed) -> float:
    """Warms up, then falls as a cosine."""
    warm = min(1.0, (done.step + 1) / recipe.warmup_steps)
    past = done.step / recipe.steps
    return warm * (0.04 + 0.96 * 0.5 * (1 + math.cos(math.pi * past)))


def pretrain(
    recipe: Recipe, pretraining: Pretraining, sampler: Sampler, device: torch.device
) -> Progressed:
    """Trains for the recipe's steps, in place."""
    pretraining.to(device).train()
    optimizer, done = _optimizer(pretraining, recipe), Progressed()
    with Progress() as progress:
        bar = progress.add_task(recipe.name, total=recipe.steps)
        while done.step < recipe.steps:
            _train_chunk(recipe, pretraining, optimizer, sampler, done)
            progress.update(
                bar, completed=done.step, description=f"{recipe.name} loss {done.loss:.3f}"
            )
    return done


def _train_chunk(
    recipe: Recipe,
    pretraining: Pretraining,
    optimizer: torch.optim.Optimizer,
    sampler: Sampler,
    done: Progressed,
) -> None:
    """A step for each batch of the next chunk, while steps are left; counted in `done`."""
    started = time.monotonic()
    losses = []
    chunk = batches(sampler, recipe, done.chunk, pretraining.free.device)
    for batch in islice(chunk, recipe.steps - done.step):
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * _rate(recipe, done)
        loss = pretraining.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(pretraining.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())
        done.step += 1
    done.chunk += 1
    done.loss = float(torch.stack(losses).mean())
    done.minutes += (time.monotonic() - started) / 60
