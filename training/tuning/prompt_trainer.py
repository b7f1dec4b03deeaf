"""One prompt in training: its parameters, optimizer, examples, schedule and best checkpoint.

A prompt's trainer knows what to learn from next and what to do with the model's answer. It never
runs the model: the `Trainer` that it belongs to does, for all of its prompts at once.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isogloss.prompts.model.backbone import Backbone, label_scores
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.initialization import initial_prompt
from isogloss.training.tuning.texts import EncodedExamples


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch came to. Losses are means over examples, in nats.

    `dev_` is of what validates, held out of train or of the dev split: the files' name of old.
    Accuracy is how right answers are, `score_answer`, in the mean.
    """

    epoch: int  # from 1
    train_loss: float
    dev_loss: float
    dev_accuracy: float | None  # None: there were no labels
    dev_agreement: float | None = None  # share of texts answered as the teacher does

    def better_than(
        self, other: EpochRecord | None, by: Literal["accuracy", "loss"] = "accuracy"
    ) -> bool:
        """Higher accuracy; on a tie lower loss; on a further tie the earlier epoch.

        With k/4 samples a class accuracies tie often, and the loss still tells them apart. Without
        labels, or `by` loss, the loss alone decides.
        """
        return other is None or self._rank(by) > other._rank(by)

    def _rank(self, by: Literal["accuracy", "loss"]) -> tuple[float, float]:
        return ((self.dev_accuracy or 0.0) if by == "accuracy" else 0.0, -self.dev_loss)


@dataclass(frozen=True, slots=True)
class Best:
    """The checkpoint to keep: the folded prompt, and the weights where they are trained too."""

    record: EpochRecord
    vectors: Tensor  # (length, hidden)
    weights: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptState:
    """Everything a prompt's training needs to go on after a step, in the middle of an epoch too.

    The order of examples is a function of seed and epoch, so no random state is kept. Tensors are
    named `parameters.<i>`, `optimizer.<i>.<name>`, `best.vectors` and `best.weights.<i>`.
    """

    steps: int  # taken so far
    loss_sum: float  # over the examples of the epoch under way
    history: tuple[EpochRecord, ...]
    best: EpochRecord | None
    failure: str | None
    tensors: dict[str, Tensor]


class PromptTrainer:
    """One prompt in training.

    Args:
        model: the backbone, or the copy whose `weights` are trained too.
        label_ids: tokens of the labels, in the order of the wanted answers.
        config: its settings and seed.
        train: what it learns from.
        dev: what chooses its best epoch.
        weights: the model's parameters where they are trained; they belong to this prompt alone.
        none_id: token of "none of them"; makes the labels independent, and answers log odds.
    """

    def __init__(
        self,
        model: Backbone,
        label_ids: Sequence[int],
        config: TrainingConfig,
        train: EncodedExamples,
        dev: EncodedExamples,
        weights: Sequence[Tensor] = (),
        none_id: int | None = None,
    ) -> None:
        self.model, self.config, self.train, self.dev = model, config, train, dev
        self.weights = tuple(weights)
        self.prompt = initial_prompt(model, label_ids, config)
        self.parameters = [*self.prompt.parameters(), *self.weights]
        self.optimizer = _optimizer(self.parameters, config)
        self.history: list[EpochRecord] = []
        self.best: Best | None = None
        self.failure: str | None = None  # why it stopped early, where its numbers broke
        self.steps = 0
        self._loss_sum = 0.0
        self._label_ids, self._none_id = list(label_ids), none_id
        # A frozen head is looked up once; one that is being trained, at every step.
        self._rows = None if self.weights else self._look_up().detach()
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

        They differ where the loss is over the whole vocabulary. Of independent labels both are the
        labels' log odds.
        """
        rows = self._look_up() if self._rows is None else self._rows
        # (texts, labels) or (texts, vocabulary)
        read = label_scores(states, rows, independent=self._none_id is not None)
        if self.config.loss == "verbalizer":
            return read, read
        labels = read[:, self._label_ids]
        return labels, labels.log_softmax(-1)

    def _look_up(self) -> Tensor:
        """Rows of the head that are read: (labels, hidden), or the whole vocabulary's."""
        if self.config.loss == "verbalizer":
            return self.model.label_rows(self._label_ids, self._none_id)
        return self.model.label_rows(range(self.model.vocab_size))

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
        right = self.dev.rightness(labels) / len(self.dev)
        accuracy, agreement = (None, right) if self.config.teacher else (right, None)
        mean = self._loss_sum / len(self.train)
        record = EpochRecord(len(self.history) + 1, mean, loss, accuracy, agreement)
        best = None if self.best is None else self.best.record
        if record.better_than(best, self.config.checkpoint):
            self.best = self._checkpoint(record)
        self.history.append(record)
        self._loss_sum = 0.0
        return record

    def state(self) -> PromptState:
        """What `restore` needs (shares the live tensors: write it before going on)."""
        best = self.best
        moments = self.optimizer.state_dict()["state"]
        tensors = {f"parameters.{i}": value.detach() for i, value in enumerate(self.parameters)}
        for i, named in moments.items():
            tensors |= {f"optimizer.{i}.{name}": value for name, value in named.items()}
        if best is not None:
            tensors["best.vectors"] = best.vectors
            tensors |= {f"best.weights.{i}": value for i, value in enumerate(best.weights)}
        return PromptState(
            steps=self.steps,
            loss_sum=self._loss_sum,
            history=tuple(self.history),
            best=best.record if best else None,
            failure=self.failure,
            tensors=tensors,
        )

    @torch.no_grad()
    def restore(self, state: PromptState) -> None:
        """Go back to where a state was taken."""
        tensors = state.tensors
        for i, parameter in enumerate(self.parameters):
            parameter.copy_(tensors[f"parameters.{i}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, place, moment = name.split(".", 2)
                moments.setdefault(int(place), {})[moment] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.steps, self._loss_sum = state.steps, state.loss_sum
        self.history, self.failure = list(state.history), state.failure
        if state.best is not None:
            weights = tuple(tensors[f"best.weights.{i}"] for i in range(len(self.weights)))
            self.best = Best(state.best, tensors["best.vectors"], weights)

    def _fail(self, reason: str) -> None:
        self.failure = f"learning_rate {self.config.learning_rate:g}: {reason}; lower it"
        self.optimizer.zero_grad()

    def _learning_rate(self) -> float:
        """Linear from zero over the warm-up; then constant, or linear to zero after the last step.

        Without a warm-up step 0 is at the peak.
        """
        peak, steps = self.config.learning_rate, self.config.epochs * self.steps_per_epoch
        rising = math.ceil(steps * self.config.warmup)
        if self.steps < rising:
            return peak * (self.steps / rising)
        if self.config.schedule == "constant":
            return peak
        return peak * (1 - (self.steps - rising) / (steps - rising))

    @torch.no_grad()
    def _checkpoint(self, record: EpochRecord) -> Best:
        """The prompt, folded, and the trained weights as they are now (copies)."""
        vectors = self.prompt().detach().to("cpu", torch.float32, copy=True)
        return Best(record, vectors, tuple(w.detach().to("cpu", copy=True) for w in self.weights))


def _optimizer(parameters: Sequence[Tensor], config: TrainingConfig) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)
