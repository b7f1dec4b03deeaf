"""One prompt in training: its parameters, optimizer, examples, schedule and best checkpoint.

A member knows what to learn from next and what to do with the model's answer. It never runs the
model: the population it belongs to does, for all of its members at once.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isogloss.prompts.model.backbone import Backbone, label_log_probs
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.initialization import initial_prompt
from isogloss.training.tuning.texts import Rows


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch came to. Losses are means over examples, in nats."""

    epoch: int  # from 1
    train_loss: float
    dev_loss: float
    dev_accuracy: float | None  # None: there were no labels
    dev_agreement: float | None = None  # share of texts answered as the teacher does

    def better_than(self, other: EpochRecord | None) -> bool:
        """Higher dev accuracy; on a tie lower dev loss; on a further tie the earlier epoch.

        With k/4 samples a class accuracies tie often, and the loss still tells them apart. Without
        labels the loss alone decides.
        """
        if other is None:
            return True
        own, others = self.dev_accuracy or 0.0, other.dev_accuracy or 0.0
        return (own, -self.dev_loss) > (others, -other.dev_loss)


@dataclass(frozen=True, slots=True)
class Best:
    """The checkpoint to keep: the folded prompt, and the weights where they are trained too."""

    record: EpochRecord
    vectors: Tensor  # (length, hidden)
    weights: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class MemberState:
    """Everything a member needs to go on after a step, in the middle of an epoch too.

    The order of examples is a function of seed and epoch, so no random state is kept.
    """

    steps: int  # taken so far
    loss_sum: float  # over the examples of the epoch under way
    history: tuple[EpochRecord, ...]
    parameters: tuple[Tensor, ...]
    optimizer: dict[str, Tensor]
    best: Best | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a member ended. `best` is None where no epoch was completed.

    `failure` says why it stopped early where its numbers became infinite or NaN.
    """

    history: tuple[EpochRecord, ...]
    best: Best | None
    interrupted: bool = False
    failure: str | None = None


class Member:
    """One prompt in training.

    Args:
        model: the backbone, or the copy whose `weights` are trained too.
        label_ids: tokens of the labels, in the order of the wanted answers.
        config: its settings and seed.
        train: what it learns from.
        dev: what chooses its best epoch.
        weights: the model's parameters where they are trained; they belong to this member alone.
    """

    def __init__(
        self,
        model: Backbone,
        label_ids: Sequence[int],
        config: TrainingConfig,
        train: Rows,
        dev: Rows,
        weights: Sequence[Tensor] = (),
    ) -> None:
        self.model, self.config, self.train, self.dev = model, config, train, dev
        self.weights = tuple(weights)
        self.prompt = initial_prompt(model, label_ids, config)
        self.parameters = [*self.prompt.parameters(), *self.weights]
        self.optimizer = _optimizer(self.parameters, config)
        self.history: list[EpochRecord] = []
        self.best: Best | None = None
        self.failure: str | None = None
        self.steps = 0
        self._loss_sum = 0.0
        self._label_ids = list(label_ids)
        self._read_ids = label_ids if config.loss == "verbalizer" else range(model.vocab_size)
        # A frozen head is looked up once; one that is being trained, at every step.
        self._rows = None if self.weights else model.label_rows(self._read_ids).detach()
        self._order: tuple[int, list[int]] = (0, [])  # an epoch and its order of examples

    @property
    def steps_per_epoch(self) -> int:
        """Batches in which the examples are seen once."""
        return math.ceil(len(self.train) / self.config.batch_size)

    @property
    def epoch(self) -> int:
        """Of the next step, from 1."""
        return self.steps // self.steps_per_epoch + 1

    @property
    def finished(self) -> bool:
        """No step is left, or its numbers broke."""
        return self.failure is not None or len(self.history) == self.config.epochs

    @property
    def awaits_validation(self) -> bool:
        """An epoch's steps are done and it has not been validated."""
        return not self.finished and self.steps // self.steps_per_epoch > len(self.history)

    def next_batch(self) -> list[int]:
        """Places in `train` of the examples of the next step."""
        if self._order[0] != self.epoch:
            places = list(range(len(self.train)))
            random.Random(f"{self.config.seed} order {self.epoch}").shuffle(places)
            self._order = (self.epoch, places)
        start = self.steps % self.steps_per_epoch * self.config.batch_size
        return self._order[1][start : start + self.config.batch_size]

    def log_probs(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """States (texts, hidden) -> (texts, labels) for the loss, and for predicting.

        They differ where the loss is over the whole vocabulary.
        """
        rows = self.model.label_rows(self._read_ids) if self._rows is None else self._rows
        read = label_log_probs(states, rows)  # (texts, labels) or (texts, vocabulary)
        if self.config.loss == "verbalizer":
            return read, read
        labels = read[:, self._label_ids]
        return labels, labels.log_softmax(-1)

    def loss(self, states: Tensor, places: Sequence[int]) -> Tensor:
        """Mean loss over examples of `train`, from their prompt's last states (texts, hidden)."""
        return self.train.loss(self.log_probs(states)[0], places)

    def learn(self, loss: float, examples: int) -> None:
        """Take the step whose gradients are there; `loss` was their mean loss before it."""
        if not math.isfinite(loss):
            return self._fail(f"the loss became {loss}")
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        if self.config.gradient_clip > 0:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        self._loss_sum += loss * examples
        # Numbers that are not finite would spread to the neighbours of the next batch.
        if not bool(self.prompt.vectors.isfinite().all()):
            return self._fail("the prompt's vectors became infinite or NaN")
        return None

    @torch.no_grad()
    def validated(self, states: Tensor) -> EpochRecord:
        """End an epoch with the last states (texts, hidden) of the whole dev set."""
        read, labels = self.log_probs(states)
        loss = self.dev.loss(read).item()
        right = self.dev.right(labels) / len(self.dev)
        accuracy, agreement = (None, right) if self.config.teacher else (right, None)
        mean = self._loss_sum / len(self.train)
        record = EpochRecord(len(self.history) + 1, mean, loss, accuracy, agreement)
        if record.better_than(self.best.record if self.best else None) or self.best is None:
            self.best = self._snapshot(record)
        self.history.append(record)
        self._loss_sum = 0.0
        return record

    def outcome(self, interrupted: bool = False) -> Outcome:
        """How it stands now."""
        cut = interrupted and not self.finished
        return Outcome(tuple(self.history), self.best, cut, self.failure)

    def state(self) -> MemberState:
        """What `restore` needs (shares the live tensors: write it before going on)."""
        state = self.optimizer.state_dict()["state"]
        flat = {f"{i}.{name}": value for i, own in state.items() for name, value in own.items()}
        parameters = tuple(p.detach() for p in self.parameters)
        history = tuple(self.history)
        return MemberState(
            self.steps, self._loss_sum, history, parameters, flat, self.best, self.failure
        )

    @torch.no_grad()
    def restore(self, state: MemberState) -> None:
        """Go back to where a state was taken."""
        for parameter, value in zip(self.parameters, state.parameters, strict=True):
            parameter.copy_(value)
        own: dict[int, dict[str, Tensor]] = {}
        for name, value in state.optimizer.items():
            place, key = name.split(".", 1)
            own.setdefault(int(place), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": own})
        self.steps, self._loss_sum = state.steps, state.loss_sum
        self.history, self.best = list(state.history), state.best
        self.failure = state.failure

    def _fail(self, reason: str) -> None:
        self.failure = f"learning_rate {self.config.learning_rate:g}: {reason}; lower it"
        self.optimizer.zero_grad()

    def _learning_rate(self) -> float:
        """Constant, or falling linearly from the peak at step 0 to zero after the last."""
        if self.config.schedule == "constant":
            return self.config.learning_rate
        steps = self.config.epochs * self.steps_per_epoch
        return self.config.learning_rate * (1 - self.steps / steps)

    @torch.no_grad()
    def _snapshot(self, record: EpochRecord) -> Best:
        """The prompt, folded, and the trained weights as they are now (copies)."""
        vectors = self.prompt().detach().to("cpu", torch.float32, copy=True)
        return Best(record, vectors, tuple(w.detach().to("cpu", copy=True) for w in self.weights))


def _optimizer(parameters: Sequence[Tensor], config: TrainingConfig) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)
