"""Many prompts trained side by side over shared texts, one batched step for all of them.

The model is frozen and a text's keys and values depend on no prompt, so a step runs only prompt
tokens, forward and backward: those of every member in the same matrix products, whatever their
lengths and kinds, and members that learn from the same text read the same keys and values. Each
member keeps its own examples, optimizer and best checkpoint, and ends as it would have alone.

Unfrozen (the paper's baseline), weights change with every step and belong to one member: it is a
population of its own, over texts that are encoded anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from isogloss.prompts.model.backbone import Backbone
from isogloss.training.tuning.member import EpochRecord, Member, MemberState, Outcome
from isogloss.training.tuning.texts import EncodedTexts

_VALIDATION_TEXTS = 32  # of each member at a time: bounds what is held without gradients


class Watcher(Protocol):
    """Someone who follows a population. Members are known by their places."""

    def step(self, member: int, epoch: int, loss: float) -> None:
        """A batch was learnt from."""

    def epoch(self, member: int, record: EpochRecord) -> None:
        """An epoch ended and was validated."""


class Population:
    """Members in training over the same encoded texts."""

    def __init__(self, model: Backbone, texts: EncodedTexts, members: Sequence[Member]) -> None:
        self.model, self.texts, self.members = model, texts, list(members)

    def states(self) -> list[MemberState]:
        """Where every member is, between two steps."""
        return [member.state() for member in self.members]

    def restore(self, states: Sequence[MemberState]) -> None:
        """Go on from there; every member then ends with the same bytes as without the pause."""
        for member, state in zip(self.members, states, strict=True):
            member.restore(state)

    def train(
        self,
        watcher: Watcher,
        keep: Callable[[list[MemberState]], None] = lambda states: None,
    ) -> list[Outcome]:
        """Train every member to its last epoch, validating after each.

        `keep` is given every state at which a member ended an epoch. Ctrl-C ends the population
        with the best so far. A member whose numbers break says so in its outcome; the others go on.
        """
        try:
            while active := [member for member in self.members if not member.finished]:
                self._step(active, watcher)
                if ended := [member for member in active if member.awaits_validation]:
                    self._validate(ended, watcher)
                    keep(self.states())
        except KeyboardInterrupt:
            return [member.outcome(interrupted=True) for member in self.members]
        return [member.outcome() for member in self.members]

    def gradients(self, members: Sequence[Member], places: Sequence[Sequence[int]]) -> list[float]:
        """Add each member's gradients for examples of its own; return their mean losses."""
        wanted = [
            [member.train.rows[i] for i in own] for member, own in zip(members, places, strict=True)
        ]
        states = self._read(members, wanted)
        losses = torch.stack(
            [m.loss(s, own) for m, s, own in zip(members, states, places, strict=True)]
        )
        losses.sum().backward()
        return [float(loss) for loss in losses.tolist()]

    def _step(self, active: Sequence[Member], watcher: Watcher) -> None:
        places = [member.next_batch() for member in active]
        losses = self.gradients(active, places)
        if len(active) > 1 and not all(map(math.isfinite, losses)):
            losses = self._gradients_one_by_one(active, places)
        for member, own, loss in zip(active, places, losses, strict=True):
            epoch = member.epoch
            member.learn(loss, len(own))
            watcher.step(self.members.index(member), epoch, loss)

    def _gradients_one_by_one(
        self, members: Sequence[Member], places: Sequence[Sequence[int]]
    ) -> list[float]:
        """The same without neighbours: what is not finite in one batch may spread to all of it."""
        for member in members:
            member.optimizer.zero_grad()
        return [
            self.gradients([member], [own])[0] for member, own in zip(members, places, strict=True)
        ]

    @torch.no_grad()
    def _validate(self, ended: Sequence[Member], watcher: Watcher) -> None:
        parts: list[list[Tensor]] = [[] for _ in ended]
        longest = max(len(member.dev) for member in ended)
        for start in range(0, longest, _VALIDATION_TEXTS):
            rows = [m.dev.rows[start : start + _VALIDATION_TEXTS] for m in ended]
            for own, states in zip(parts, self._read(ended, rows), strict=True):
                own.append(states)
        for member, own in zip(ended, parts, strict=True):
            watcher.epoch(self.members.index(member), member.validated(torch.cat(own)))

    def _read(self, members: Sequence[Member], wanted: Sequence[Sequence[int]]) -> list[Tensor]:
        """Each member's last states over the rows of `texts` that it wants: (rows, hidden).

        Every text is fetched once, and all members that want it read the same keys and values.
        """
        askers: dict[int, list[int]] = {}  # row of texts -> members, in order
        for asker, rows in enumerate(wanted):
            for row in rows:
                own = askers.setdefault(row, [])
                if own[-1:] != [asker]:  # one text may stand twice among a member's examples
                    own.append(asker)
        vectors = [member.prompt() for member in members]
        kv = self.texts.batch(list(askers))
        states = self.model.read(kv, [[vectors[a] for a in own] for own in askers.values()])
        return _deal(states, askers, wanted)


def _deal(
    states: Tensor, askers: dict[int, list[int]], wanted: Sequence[Sequence[int]]
) -> list[Tensor]:
    """Sort states that lie text by text, asker by asker, to the askers in the order they asked."""
    place: dict[tuple[int, int], int] = {}
    for row, own in askers.items():
        for asker in own:
            place[row, asker] = len(place)
    order = [place[row, asker] for asker, rows in enumerate(wanted) for row in rows]
    index = torch.tensor(order, device=states.device)
    return list(states.index_select(0, index).split([len(rows) for rows in wanted]))
