"""Ours in `bench train`: prompts trained over texts that are encoded once, alone or together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from isogloss.deploy.bench.clock import Clock
from isogloss.deploy.bench.contest import ContendersDisagree
from isogloss.deploy.bench.examples import few_shot, widest_batch
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.prompt_trainer import EpochRecord, PromptTrainer
from isogloss.training.tuning.texts import CacheBudget, CachedTexts, EncodedExamples
from isogloss.training.tuning.trainer import Silent, Trainer


class Isogloss:
    """Ours: texts encoded once, and prompts trained over them side by side."""

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
        """How many train."""
        return len(self._configs)

    def prepare(self) -> None:
        """Encode every text once; prompts of one seed share theirs."""
        texts = CachedTexts(self._model, CacheBudget())
        rows = {
            seed: (
                self._rows(texts, own.train, own.train_gold),
                self._rows(texts, own.dev, own.dev_gold),
            )
            for seed, own in self._examples.items()
        }
        prompts = [
            PromptTrainer(self._model, self._label_ids, config, *rows[config.seed])
            for config in self._configs
        ]
        self.trainer = Trainer(self._model, texts, prompts)

    def gradient(self) -> Tensor:
        """One backward pass for all prompts."""
        places = [
            widest_batch(self._examples[config.seed], config.seed, config.batch_size)
            for config in self._configs
        ]
        self.trainer.gradients(self.trainer.prompts, places)
        found = self.trainer.prompts[0].prompt.vectors.grad
        assert found is not None
        return found.clone()

    @torch.no_grad()
    def dev_loss(self) -> float:
        """The first prompt's."""
        first = self.trainer.prompts[0]
        kv = self.trainer.texts.batch(first.dev.rows)
        states = self._model.read(kv, [[first.prompt()]] * len(first.dev))
        return float(first.dev.loss(first.log_probs(states)[0]))

    def train(self, clock: Clock) -> float:
        """Through the very method that `isogloss train` calls."""
        prompts = self.trainer.prompts
        self.trainer.train(_Follower(clock, prompts))
        broken = [prompt.failure for prompt in prompts if prompt.failure]
        if broken:  # a prompt that stopped early would make the others look fast
            raise ContendersDisagree(f"{self.name}: a prompt broke: {broken[0]}")
        return prompts[0].history[-1].dev_loss

    def release(self) -> None:
        """The texts' keys and values."""
        del self.trainer

    def _rows(
        self, texts: CachedTexts, ids: Sequence[Sequence[int]], gold: Sequence[int]
    ) -> EncodedExamples:
        return EncodedExamples(tuple(texts.add(ids)), torch.tensor(gold, device=self._model.device))


class _Follower(Silent):
    """Tells the clock when the last prompt has taken its last step, or was validated."""

    def __init__(self, clock: Clock, prompts: Sequence[PromptTrainer]) -> None:
        self._clock = clock
        self._prompts = len(prompts)
        self._steps_an_epoch = sum(prompt.steps_per_epoch for prompt in prompts)
        self._steps = self._validated = 0

    def step(self, prompt: int, epoch: int, loss: float) -> None:
        """One prompt's batch."""
        self._steps += 1
        if self._steps % self._steps_an_epoch == 0:
            self._clock.steps_done()

    def epoch(self, prompt: int, record: EpochRecord) -> None:
        """One prompt's validation."""
        self._validated += 1
        if self._validated % self._prompts == 0:
            self._clock.validated()
