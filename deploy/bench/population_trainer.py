"""Ours in `bench train`: prompts trained over texts that are encoded once, alone or together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from isogloss.deploy.bench.comparing import ContendersDisagree
from isogloss.deploy.bench.examples import few_shot, widest_batch
from isogloss.deploy.bench.trainers import Clock
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.member import EpochRecord, Member
from isogloss.training.tuning.population import Population
from isogloss.training.tuning.texts import CacheBudget, CachedTexts, LabelledRows


class Isogloss:
    """Ours: texts encoded once, and a population of members trained over them."""

    def __init__(
        self,
        name: str,
        model: Backbone,
        label_ids: Sequence[int],
        configs: Sequence[TrainingConfig],
    ) -> None:
        self.name = name
        self._model, self._label_ids, self._configs = model, label_ids, configs
        self._examples = {
            config.seed: few_shot(config.seed, model.vocab_size) for config in configs
        }

    @property
    def prompts(self) -> int:
        """Members."""
        return len(self._configs)

    def prepare(self) -> None:
        """Encode every text once; members of one seed share theirs."""
        texts = CachedTexts(self._model, CacheBudget())
        rows = {
            seed: (
                self._rows(texts, own.train, own.train_gold),
                self._rows(texts, own.dev, own.dev_gold),
            )
            for seed, own in self._examples.items()
        }
        self.members = [
            Member(self._model, self._label_ids, config, *rows[config.seed])
            for config in self._configs
        ]
        self._population = Population(self._model, texts, self.members)

    def gradient(self) -> Tensor:
        """One backward pass for all members."""
        batches = [
            widest_batch(self._examples[config.seed], config.seed, config.batch_size)
            for config in self._configs
        ]
        self._population.gradients(self.members, batches)
        gradient = self.members[0].prompt.vectors.grad
        assert gradient is not None
        return gradient.clone()

    @torch.no_grad()
    def dev_loss(self) -> float:
        """The first member's."""
        first = self.members[0]
        kv = self._population.texts.batch(first.dev.rows)
        states = self._model.read(kv, [[first.prompt()]] * len(first.dev))
        return float(first.dev.loss(first.log_probs(states)[0]))

    def train(self, clock: Clock) -> float:
        """Through the very method that `isogloss train` calls."""
        follower = _Follower(clock, self.members)
        outcomes = self._population.train(follower)
        broken = [outcome.failure for outcome in outcomes if outcome.failure]
        if broken:  # a member that stopped early would make the others look fast
            raise ContendersDisagree(f"{self.name}: a member broke: {broken[0]}")
        return outcomes[0].history[-1].dev_loss

    def release(self) -> None:
        """The texts' keys and values."""
        del self._population, self.members

    def _rows(
        self, texts: CachedTexts, ids: Sequence[Sequence[int]], gold: Sequence[int]
    ) -> LabelledRows:
        return LabelledRows(tuple(texts.add(ids)), torch.tensor(gold, device=self._model.device))


class _Follower:
    """Tells the clock when the last member has taken its last step, or was validated."""

    def __init__(self, clock: Clock, members: Sequence[Member]) -> None:
        self._clock = clock
        self._members = len(members)
        self._steps_an_epoch = sum(member.steps_per_epoch for member in members)
        self._steps = self._validated = 0

    def step(self, member: int, epoch: int, loss: float) -> None:
        """One member's batch."""
        self._steps += 1
        if self._steps % self._steps_an_epoch == 0:
            self._clock.lap("steps")

    def epoch(self, member: int, record: EpochRecord) -> None:
        """One member's validation."""
        self._validated += 1
        if self._validated % self._members == 0:
            self._clock.lap("validation")
