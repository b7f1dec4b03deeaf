"""Trains one pocket model: a loop that can stop anywhere and go on."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from torch import nn

from isogloss.training.recipes.pocket.batches import batches
from isogloss.training.recipes.pocket.checkpoint import Progressed, load_checkpoint, save_checkpoint
from isogloss.training.recipes.pocket.model import Pretraining, embedding
from isogloss.training.recipes.pocket.recipe import Recipe
from isogloss.training.recipes.pocket.targets import Sampler


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
    recipe: Recipe,
    pretraining: Pretraining,
    sampler: Sampler,
    work: Path,
    device: torch.device,
    *,
    resume: bool,
) -> Progressed:
    """Trains for the recipe's steps, in place; checkpoints go to `work`.

    Checkpoints fall between chunks of data, so a resumed run sees what an uninterrupted one does.
    """
    pretraining.to(device).train()
    optimizer = _optimizer(pretraining, recipe)
    done = load_checkpoint(work, pretraining, optimizer) if resume else Progressed()
    work.mkdir(parents=True, exist_ok=True)
    saved, log = done.minutes, (work / "log.jsonl").open("a", encoding="utf-8")
    with Progress(console=Console(stderr=True)) as progress, log:
        bar = progress.add_task(recipe.name, total=recipe.steps, completed=done.step)
        while done.step < recipe.steps:
            _train_chunk(recipe, pretraining, optimizer, sampler, done)
            progress.update(
                bar, completed=done.step, description=f"{recipe.name} loss {done.loss:.3f}"
            )
            log.write(json.dumps(asdict(done)) + "\n")
            log.flush()
            if done.minutes - saved > recipe.minutes_between_checkpoints:
                save_checkpoint(work, pretraining, optimizer, done)
                saved = done.minutes
    save_checkpoint(work, pretraining, optimizer, done)
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
