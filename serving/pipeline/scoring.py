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
    """What the prompts of one text say."""

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
    if not plans:  # a store without prompts is warmed up, too
        return []
    with torch.inference_mode():
        return list(_answers(_read(backbone, plans), plans))


def _read(backbone: ServingBackbone, plans: Sequence[Plan]) -> Tensor:
    """State under every member of every share: (pairs, hidden), plan by plan, share by share."""
    members = [
        [member for share in plan.shares for member in share.prompt.loaded.members]
        for plan in plans
    ]
    order: list[int] = []
    states: list[Tensor] = []
    for position, read in (
        ("suffix", backbone.read_suffixed),
        ("prefix", backbone.read_prefixed),
    ):
        wanted = [[m.vectors for m in each if m.position == position] for each in members]
        rows = [row for row, vectors in enumerate(wanted) if vectors]
        if rows:
            states.append(read([plans[row].ids for row in rows], [wanted[row] for row in rows]))
            flat = (member.position for each in members for member in each)
            order += [place for place, stands in enumerate(flat) if stands == position]
    if len(states) == 1:
        return states[0]
    together = torch.cat(states)
    return together[torch.tensor(order, device=together.device).argsort()]


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
        if isinstance(candidate, Unscorable):
            candidate = None
        if candidate is None and isinstance(routed, Unscorable):
            yield routed
        else:
            yield Scores(routed, candidate)


def _mix(plan: Plan, said: Sequence[Probabilities | Unscorable]) -> Probabilities | Unscorable:
    """Weigh what each routed share says, label by label, in the order of the heaviest's labels."""
    if len(said) == 1:
        return said[0]
    mixed = dict.fromkeys(plan.heaviest.prompt.loaded.labels, 0.0)
    for share, values in zip(plan.routed, said, strict=True):
        if isinstance(values, Unscorable):
            return values
        for label, value in zip(share.prompt.loaded.labels, values, strict=True):
            mixed[label] += share.weight * value
    return list(mixed.values())


def _probabilities(states: Tensor, shares: Sequence[Share]) -> list[Probabilities | Unscorable]:
    """(pairs, hidden) -> probabilities of each share, verbalizer by verbalizer."""
    pairs: list[range] = []  # of each share: its members' rows
    verbalizers: dict[int, list[int]] = {}
    for place, share in enumerate(shares):
        begin = pairs[-1].stop if pairs else 0
        pairs.append(range(begin, begin + len(share.prompt.loaded.members)))
        verbalizers.setdefault(id(share.prompt.loaded.label_rows), []).append(place)
    probabilities: dict[int, Probabilities] = {}
    for places in verbalizers.values():
        chosen = [shares[place] for place in places]
        rows = [row for place in places for row in pairs[place]]
        read = states if len(rows) == len(states) else states[rows]
        log_probs = label_log_probs(read, chosen[0].prompt.loaded.label_rows)  # (rows, labels)
        scaled = _scaled(_together(log_probs, chosen), chosen).softmax(-1).tolist()
        probabilities.update(zip(places, scaled, strict=True))
    return [
        probabilities[place]
        if all(map(math.isfinite, probabilities[place]))
        else _overflow(share.prompt, states[pairs[place].start : pairs[place].stop])
        for place, share in enumerate(shares)
    ]


def _together(log_probs: Tensor, shares: Sequence[Share]) -> Tensor:
    """(members, labels) -> (shares, labels): the mean over the members of each share's prompt."""
    if len(log_probs) == len(shares):
        return log_probs
    sizes = torch.tensor([len(share.prompt.loaded.members) for share in shares])
    owners = torch.arange(len(shares)).repeat_interleave(sizes).to(log_probs.device)
    sums = log_probs.new_zeros(len(shares), log_probs.shape[1]).index_add_(0, owners, log_probs)
    return sums / sizes[:, None].to(log_probs)


def _scaled(log_probs: Tensor, shares: Sequence[Share]) -> Tensor:
    """(shares, labels): without what each prompt says anyway, divided by the temperature."""
    if any(share.prior for share in shares):
        log_probs = log_probs - log_probs.new_tensor([_prior(share) for share in shares])
    return log_probs / log_probs.new_tensor([[share.temperature] for share in shares])


def _prior(share: Share) -> list[float]:
    """In the order of the prompt's labels; a label that was never measured keeps what it has."""
    return [(share.prior or {}).get(label, 0.0) for label in share.prompt.loaded.labels]


def _overflow(prompt: ServedPrompt, states: Tensor) -> Unscorable:
    """What is wrong, from what its members left of a text: (members, hidden)."""
    whole = label_log_probs(states, prompt.loaded.label_rows).isfinite().all(-1).tolist()
    members = zip(prompt.loaded.members, whole, strict=True)
    wild = [member.reference for member, finite in members if member.reference and not finite]
    which = f" (its member {', '.join(wild)})" if wild else ""
    return Unscorable(
        f"prompt {prompt.name}@{prompt.version}{which} makes the model's numbers overflow on this "
        "text; roll it back, or serve with --dtype float32"
    )
