"""The contenders of `bench train` over one model, and the proof that they do the same work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from isogloss.deploy.bench.comparing import ContendersDisagree
from isogloss.deploy.bench.examples import few_shot, label_tokens, widest_batch
from isogloss.deploy.bench.population_trainer import Isogloss
from isogloss.deploy.bench.settings import RATE_FACTORS
from isogloss.deploy.bench.trainers import (
    Appended,
    AppendedByHand,
    AppendedCompiled,
    Loop,
    Prepended,
)
from isogloss.deploy.load.machine import peak_of
from isogloss.prompts.model.backbone import Backbone, label_log_probs
from isogloss.training.tuning.config import TrainingConfig, configure
from isogloss.training.tuning.initialization import initial_prompt

Trainer = Loop | Isogloss

# How far apart two gradients may be, as a share of their norm, and two mean losses in nats:
# rounding in another order of summation, through all layers and back.
GRADIENT_TOLERANCES = {torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}
LOSS_TOLERANCES = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


class TrainComparison:
    """Ours and the peers, with the paper's settings, on one model's tensors.

    Args:
        model: of transformers.
        model_id: its name.
        population: prompts that ours trains together.
        epochs: that are measured.
        seed: of texts, labels and batches.
        compiled: whether the loop by hand is measured through torch.compile, too.
    """

    def __init__(
        self,
        model: Any,
        model_id: str,
        population: int,
        epochs: int,
        seed: int,
        compiled: bool = False,
    ) -> None:
        weight = model.get_input_embeddings().weight
        self.model_id, self.device, self.dtype = model_id, weight.device, weight.dtype
        self.backbone = backbone = Backbone.from_transformers(
            model, None, model_id=model_id, device=self.device, dtype=self.dtype
        )
        self.config = config = configure(backbone, {"seed": seed, "epochs": epochs})
        self.examples = few_shot(seed, backbone.vocab_size)
        label_ids = label_tokens(seed, backbone.vocab_size)
        self.head = backbone.label_rows(label_ids)
        self.start = initial_prompt(backbone, label_ids, config)().detach()
        self.transformers, self.by_hand, self.peft = (
            Loop(runner, self.start, config, self.examples)
            for runner in (
                Appended(model, label_ids),
                AppendedByHand(model, label_ids),
                Prepended(model, label_ids, config.length),
            )
        )
        self.careful: tuple[Trainer, ...] = (self.by_hand,)
        if compiled:
            runner = AppendedCompiled(model, label_ids)
            self.careful += (Loop(runner, self.start, config, self.examples),)
        self.alone = Isogloss("alone", backbone, label_ids, [config])
        self.population = Isogloss(
            f"population_{population}", backbone, label_ids, grid(config, population)
        )

    @property
    def peers(self) -> tuple[Trainer, ...]:
        """The two usual ways: a plain loop, and PEFT."""
        return self.transformers, self.peft

    @property
    def ours(self) -> tuple[Trainer, ...]:
        """Ours."""
        return self.alone, self.population

    @property
    def contenders(self) -> tuple[Trainer, ...]:
        """The order of a round: ours between the peers."""
        return self.transformers, self.alone, self.peft, self.population, *self.careful

    def prefixed(self) -> tuple[Tensor, float]:
        """Gradient and validation loss that PEFT should find, by our own forward pass."""
        examples, prompt = self.examples, self.start.clone().requires_grad_()
        batch = widest_batch(examples, self.config.seed, self.config.batch_size)
        texts, gold = [examples.train[i] for i in batch], [examples.train_gold[i] for i in batch]
        self._prefixed_loss(texts, gold, prompt).backward()
        assert prompt.grad is not None
        with torch.no_grad():
            return prompt.grad, float(self._prefixed_loss(examples.dev, examples.dev_gold, prompt))

    def _prefixed_loss(
        self, texts: Sequence[Sequence[int]], gold: Sequence[int], prompt: Tensor
    ) -> Tensor:
        states = self.backbone.read_prefixed(texts, [[prompt]] * len(texts))
        return F.nll_loss(
            label_log_probs(states, self.head), torch.tensor(gold, device=self.device)
        )


def grid(config: TrainingConfig, members: int) -> list[TrainingConfig]:
    """Seeds x learning rates; the first member is the prompt that is trained alone."""
    return [
        config.model_copy(
            update={
                "seed": config.seed + index // len(RATE_FACTORS),
                "learning_rate": config.learning_rate * RATE_FACTORS[index % len(RATE_FACTORS)],
            }
        )
        for index in range(members)
    ]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the contenders were found to do alike, and what each holds while doing it."""

    differences: Mapping[str, Mapping[str, float]]
    peaks: Mapping[str, int | None]  # bytes above the weights: preparation, a step, validation


def agree(comparison: TrainComparison) -> Agreement:
    """Let every contender prepare, take the widest batch and validate; compare what they find.

    Raises:
        ContendersDisagree: gradients or losses differ, beyond rounding.
    """
    results: dict[str, tuple[Tensor, float]] = {}
    peaks: dict[str, int | None] = {}
    for each in comparison.contenders:
        results[each.name], peaks[each.name] = peak_of(
            lambda each=each: _try(each),  # type: ignore[misc]
            comparison.device,
        )
        each.release()
    reference = results[comparison.transformers.name]
    suffixed = (*comparison.ours, *comparison.careful)
    pairs = {each.name: (results[each.name], reference) for each in suffixed}
    pairs[comparison.peft.name] = (results[comparison.peft.name], comparison.prefixed())
    differences = {name: _compare(name, *pair, comparison.dtype) for name, pair in pairs.items()}
    return Agreement(differences, peaks)


def _try(trainer: Trainer) -> tuple[Tensor, float]:
    trainer.prepare()
    return trainer.gradient().float().cpu(), trainer.dev_loss()


def _compare(
    name: str, result: tuple[Tensor, float], expected: tuple[Tensor, float], dtype: torch.dtype
) -> dict[str, float]:
    """How far a contender is off, if rounding explains it."""
    gradient = expected[0].float().cpu()
    differences = {
        "gradient": float((result[0] - gradient).norm() / gradient.norm()),
        "validation_loss": abs(result[1] - expected[1]),
    }
    limits = {"gradient": GRADIENT_TOLERANCES[dtype], "validation_loss": LOSS_TOLERANCES[dtype]}
    for what, difference in differences.items():
        if not difference <= limits[what]:
            raise ContendersDisagree(
                f"{name}: its {what.replace('_', ' ')} is off by {difference:.2g}, more than "
                f"{limits[what]:g}; nothing is reported"
            )
    return {what: float(f"{difference:.2g}") for what, difference in differences.items()}
