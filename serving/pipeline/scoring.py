"""Label probabilities of a mixed batch: any texts, any prompts, any tasks, one forward pass.

A text read under several prompts is encoded once; what its prompts say is mixed by their weights.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from isogloss.prompts.errors import IsoglossError
from isogloss.prompts.model.backbone import label_log_probs
from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.batching.isolation import is_out_of_memory
from isogloss.serving.pipeline.planning import Plan, Share
from isogloss.serving.registry.loaded import ServedPrompt

logger = logging.getLogger(__name__)


class Unscorable(IsoglossError):
    """The model's answer to one text is not a number."""


Probabilities = list[float]
"""One for each label."""


class Scores(NamedTuple):
    """What was found for one text."""

    routed: Probabilities | Unscorable
    """Of its routed shares, mixed, in the order of the heaviest one's labels; Unscorable only
    beside a candidate that is not."""
    candidate: Probabilities | None = None
    """In the order of its own labels; None where there is none or it failed."""


def score_batch(backbone: ServingBackbone, plans: Sequence[Plan]) -> list[Scores | Unscorable]:
    """`score_plans`, and once more without the candidates where it fails with them.

    So nothing that a candidate does to the model costs a text its answer. Where memory is short a
    smaller batch is tried first, with them.
    """
    try:
        return score_plans(backbone, plans)
    except Exception as error:
        no_candidates = all(plan.candidate is None for plan in plans)
        if no_candidates or (is_out_of_memory(error) and len(plans) > 1):
            raise
        spared = [replace(plan, shares=plan.routed) for plan in plans]
        logger.warning("a batch failed with candidates on trial; trying without", exc_info=error)
        return score_plans(backbone, spared)


def score_plans(backbone: ServingBackbone, plans: Sequence[Plan]) -> list[Scores | Unscorable]:
    """Probabilities of each text's labels, in the order of its heaviest prompt's.

    A row that overflows fails alone: its neighbours are answered.
    """
    scores: dict[int, Scores | Unscorable] = {}
    with torch.inference_mode():
        for position, read in (
            ("suffix", backbone.read_suffixed),
            ("prefix", backbone.read_prefixed),
        ):
            rows = [row for row, plan in enumerate(plans) if _position(plan) == position]
            if rows:
                chosen = [plans[row] for row in rows]
                states = read(  # (pairs, hidden)
                    [plan.ids for plan in chosen],
                    [[share.prompt.loaded.vectors for share in plan.shares] for plan in chosen],
                )
                scores.update(zip(rows, _answers(states, chosen), strict=True))
    return [scores[row] for row in range(len(plans))]


def _position(plan: Plan) -> str:
    """Whether the prompts stand after the text or before it: all shares' alike."""
    return plan.heaviest.prompt.loaded.card.position


def free_memory(device: torch.device) -> None:
    """Give memory back that is kept for later and not in use, so that a smaller batch finds some.

    On the host there is nothing to do: what a failed batch held is freed already.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _answers(states: Tensor, plans: Sequence[Plan]) -> Iterator[Scores | Unscorable]:
    """(pairs, hidden), plan by plan -> the scores of each text."""
    said = iter(_probabilities(states, [share for plan in plans for share in plan.shares]))
    for plan in plans:
        routed = _mix(plan, [next(said) for _ in plan.routed])
        candidate = None if plan.candidate is None else next(said)
        if candidate is not None and not _finite(candidate):
            candidate = None
        if candidate is None and isinstance(routed, Unscorable):
            yield routed
        else:
            yield Scores(routed, candidate)


def _finite(values: Probabilities) -> bool:
    return all(map(math.isfinite, values))


def _mix(plan: Plan, said: Sequence[Probabilities]) -> Probabilities | Unscorable:
    """Weigh what each routed share says, label by label, in the order of the heaviest's labels."""
    for share, values in zip(plan.routed, said, strict=True):
        if not _finite(values):
            return _overflow(share.prompt)
    if len(said) == 1:
        return said[0]
    mixed = dict.fromkeys(plan.heaviest.prompt.loaded.labels, 0.0)
    for share, values in zip(plan.routed, said, strict=True):
        for label, value in zip(share.prompt.loaded.labels, values, strict=True):
            mixed[label] += share.weight * value
    return list(mixed.values())


def _probabilities(states: Tensor, shares: Sequence[Share]) -> list[Probabilities]:
    """(pairs, hidden) -> probabilities of each pair, verbalizer by verbalizer."""
    verbalizers: dict[int, list[int]] = {}
    for row, share in enumerate(shares):
        verbalizers.setdefault(id(share.prompt.loaded.label_rows), []).append(row)
    probabilities: dict[int, Probabilities] = {}
    for rows in verbalizers.values():
        label_rows = shares[rows[0]].prompt.loaded.label_rows
        chosen = states if len(rows) == len(shares) else states[rows]
        log_probs = label_log_probs(chosen, label_rows)  # (rows, labels): logits but for a constant
        temperatures = log_probs.new_tensor([[shares[row].temperature] for row in rows])
        scaled = (log_probs / temperatures).softmax(-1).tolist()
        probabilities.update(zip(rows, scaled, strict=True))
    return [probabilities[row] for row in range(len(shares))]


def _overflow(prompt: ServedPrompt) -> Unscorable:
    return Unscorable(
        f"prompt {prompt.name}@{prompt.version} makes the model's numbers overflow on this text; "
        "roll it back, or serve with --dtype float32"
    )
