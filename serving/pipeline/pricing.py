"""What a text costs in the scoring queue, how much one batch may cost, and how long it may wait.

With a cost table (see `costs`) prices are predicted microseconds, so that a long text counts
its attention too, and a batch is as large as pays on this machine. Without one, or where the
settings name a budget, prices are tokens.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from isogloss.prompts.model.processor import processor
from isogloss.serving.batching.costs import LONG_PART, CostTable
from isogloss.serving.batching.kept_costs import CostKey, cost_folder, keep, recall
from isogloss.serving.batching.measure_costs import measure_costs, seems_slow
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.scoring import Part, Reading, ServingBackbone, score_readings
from isogloss.serving.registry.bank import PromptBank
from isogloss.serving.registry.residents import ServedPrompt

logger = logging.getLogger(__name__)

UNMEASURED_BUDGET_TOKENS = 4096
"""Of a batch, before anything was measured."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """The prices of one model's scoring queue; `budget` is in their unit."""

    budget: int
    table: CostTable | None = None

    @classmethod
    def of(cls, settings: ServingSettings, table: CostTable | None = None) -> Pricing:
        """Price by the table, unless the settings name a budget in tokens."""
        if settings.budget_tokens is not None or table is None:
            return cls(settings.budget_tokens or UNMEASURED_BUDGET_TOKENS)
        return cls(table.budget(settings.batch_goal_s), table)

    def price(self, reading: Reading) -> int:
        """A reading's share of the budget."""
        return reading.tokens if self.table is None else self.table.price(reading.tokens)

    def flow(self, reading: Reading) -> str:
        """The line of its client in which a reading waits.

        Each prompt's is its own, and long texts wait apart: short ones are not stuck behind a row
        of them, for the lines take turns by what their texts cost.
        """
        long = "long " if self.price(reading) * LONG_PART > self.budget else ""
        return f"{long}{reading.prompt.name}"

    @property
    def patience_s(self) -> Callable[[int, int, int], float] | None:
        """How long it pays to wait for company, as `BatchQueue` asks; None: not known."""
        return None if self.table is None else self.table.patience_s

    def predicted_s(self, readings: Sequence[Reading]) -> float | None:
        """Seconds that a batch should take; None: not known."""
        if self.table is None:
            return None
        return self.table.batch_s(reading.tokens for reading in readings)


def find_costs(
    backbone: ServingBackbone,
    bank: PromptBank,
    limit_s: float,
    folder: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> CostTable | None:
    """The cost table of this model on this machine: kept from an earlier start, or measured now.

    One that was measured while something else took the cores is measured again.

    None where the store has no prompt to measure with.
    """
    prompts = [each for each in bank.answering if _follows(each)]
    if not prompts:
        return None
    folder, key = folder or cost_folder(), cost_key(backbone)
    run = partial(_score, backbone, prompts[0])
    sizes = {
        "vocab_size": backbone.vocab_size,
        "max_text_tokens": backbone.max_text_tokens,
        "prompt_length": prompts[0].resident.vectors.shape[0],
    }
    kept = recall(folder, key)
    if kept is not None and not seems_slow(kept, run, **sizes, clock=clock):
        return kept
    started_s = clock()
    table = measure_costs(run, **sizes, limit_s=limit_s, clock=clock)
    logger.info("measured what batches cost in %.1f s: %s", clock() - started_s, table)
    keep(folder, key, table)
    return table


def cost_key(backbone: ServingBackbone) -> CostKey:
    """All that the seconds of a model's batches depend on in this process."""
    on_gpu = backbone.device.type == "cuda"
    try:
        own = version("isogloss")
    except PackageNotFoundError:  # run from a checkout
        own = ""
    return CostKey(
        fingerprint=backbone.fingerprint,
        device=torch.cuda.get_device_name(backbone.device) if on_gpu else processor(),
        dtype=f"{backbone.dtype}, layers {backbone.linear_dtype}",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        isogloss=own,
    )


def _score(
    backbone: ServingBackbone, prompt: ServedPrompt, texts: Sequence[Sequence[int]]
) -> object:
    """What serving does with a batch, answers brought to the host included."""
    return score_readings(backbone, [Reading(tuple(ids), (Part(prompt),)) for ids in texts])


def _follows(prompt: ServedPrompt) -> bool:
    return prompt.resident.card.position == "suffix"
