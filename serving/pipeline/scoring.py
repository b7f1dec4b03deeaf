"""Label probabilities of a mixed batch: any texts, any prompts, any tasks, one forward pass.

A text read under several prompts is encoded once, for however many tasks; what the prompts of one
task say is mixed by their weights.
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
from isogloss.prompts.model.backbone import label_log_probs, label_scores
from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.batching.isolation import is_out_of_memory
from isogloss.serving.pipeline.planning import Plan, Reading, Share
from isogloss.serving.registry.loaded import LoadedMember, ServedPrompt

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


def score_batch(
    backbone: ServingBackbone, readings: Sequence[Reading]
) -> list[tuple[Scores, ...] | Unscorable]:
    """`score_texts`, and once more without the candidates where it fails with them.

    So nothing that a candidate does to the model costs a text its answer. Where memory is short a
    smaller batch is tried first, with them.
    """
    try:
        return score_texts(backbone, readings)
    except Exception as error:
        no_candidates = all(plan.candidate is None for reading in readings for plan in reading)
        if no_candidates or (is_out_of_memory(error) and len(readings) > 1):
            raise
        spared = [
            tuple(replace(plan, shares=plan.routed) for plan in reading) for reading in readings
        ]
        logger.warning("a batch failed with candidates on trial; trying without", exc_info=error)
        return score_texts(backbone, spared)


def score_plans(backbone: ServingBackbone, plans: Sequence[Plan]) -> list[Scores | Unscorable]:
    """`score_texts` of texts that are asked about one task each."""
    found = score_texts(backbone, [(plan,) for plan in plans])
    return [each if isinstance(each, Unscorable) else each[0] for each in found]


def score_texts(
    backbone: ServingBackbone, readings: Sequence[Reading]
) -> list[tuple[Scores, ...] | Unscorable]:
    """Probabilities of each text's labels, task by task, in the order of its heaviest prompt's.

    A row that overflows fails alone: its neighbours are answered.
    """
    if not readings:  # a store without prompts is warmed up, too
        return []
    with torch.inference_mode():
        each = _answers(
            _read(backbone, readings), [plan for reading in readings for plan in reading]
        )
        return [_whole([next(each) for _ in reading]) for reading in readings]


def _whole(tasks: Sequence[Scores | Unscorable]) -> tuple[Scores, ...] | Unscorable:
    """What a text's tasks say, if all of them say something."""
    scores: list[Scores] = []
    for each in tasks:
        if isinstance(each, Unscorable):
            return each
        scores.append(each)
    return tuple(scores)


_Pass = tuple[str, int, str | None]
"""What is read in one pass: position of the prompts, place of the text, template around it."""


def _read(backbone: ServingBackbone, readings: Sequence[Reading]) -> Tensor:
    """State under every member of every share: (pairs, hidden), plan by plan, share by share."""
    members, texts, pairs = _passes(readings)
    order: list[int] = []
    states: list[Tensor] = []
    for position, read in (
        ("suffix", backbone.read_suffixed),
        ("prefix", backbone.read_prefixed),
    ):
        if chosen := [each for each in pairs if each[0] == position]:
            vectors = [[members[pair].vectors for pair in pairs[each]] for each in chosen]
            states.append(read([texts[each] for each in chosen], vectors))
            order += [pair for each in chosen for pair in pairs[each]]
    together = states[0] if len(states) == 1 else torch.cat(states)
    if order == list(range(len(members))):
        return together
    return together[torch.tensor(order, device=together.device).argsort()]


def _passes(
    readings: Sequence[Reading],
) -> tuple[list[LoadedMember], dict[_Pass, tuple[int, ...]], dict[_Pass, list[int]]]:
    """The member of each pair; and by pass the text's tokens, and its pairs' places in that list.

    A template is part of the text that a prompt reads: prompts of two templates have no keys and
    values in common.
    """
    members: list[LoadedMember] = []
    texts: dict[_Pass, tuple[int, ...]] = {}
    pairs: dict[_Pass, list[int]] = {}
    for row, plan in ((row, plan) for row, reading in enumerate(readings) for plan in reading):
        for member in (each for share in plan.shares for each in share.prompt.loaded.members):
            which = (member.position, row, member.template)
            if which not in texts:
                texts[which] = plan.text_in(member.template).ids
            pairs.setdefault(which, []).append(len(members))
            members.append(member)
    return members, texts, pairs


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
        loaded = chosen[0].prompt.loaded
        scores = label_scores(read, loaded.label_rows, independent=loaded.independent)
        scaled = _scaled(_together(scores, chosen), chosen)  # (places, labels)
        said = _independent(scaled) if loaded.independent else scaled.softmax(-1)
        probabilities.update(zip(places, said.tolist(), strict=True))
    return [
        probabilities[place]
        if all(map(math.isfinite, probabilities[place]))
        else _overflow(share.prompt, states[pairs[place].start : pairs[place].stop])
        for place, share in enumerate(shares)
    ]


def _independent(log_odds: Tensor) -> Tensor:
    """(shares, labels): a probability each. Log odds that overflow are NaN, not a sure answer."""
    return log_odds.sigmoid().masked_fill(~log_odds.isfinite(), math.nan)


def _together(scores: Tensor, shares: Sequence[Share]) -> Tensor:
    """(members, labels) -> (shares, labels): the mean over the members of each share's prompt."""
    if len(scores) == len(shares):
        return scores
    sizes = torch.tensor([len(share.prompt.loaded.members) for share in shares])
    owners = torch.arange(len(shares)).repeat_interleave(sizes).to(scores.device)
    sums = scores.new_zeros(len(shares), scores.shape[1]).index_add_(0, owners, scores)
    return sums / sizes[:, None].to(scores)


def _scaled(scores: Tensor, shares: Sequence[Share]) -> Tensor:
    """(shares, labels): without what each prompt says anyway, divided by the temperature."""
    if any(share.prior for share in shares):
        scores = scores - scores.new_tensor([_prior(share) for share in shares])
    return scores / scores.new_tensor([[share.temperature] for share in shares])


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
