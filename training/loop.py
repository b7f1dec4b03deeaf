"""Training one soft prompt (paper, Section 3 and Appendix A.3).

Frozen: the texts are encoded once, and a step runs only the prompt's few tokens over their keys and
values, forward and backward. Unfrozen (the paper's baseline): the weights change with every step,
so texts are encoded anew. The loop is the same.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from prompts.backbone import Backbone, label_log_probs
from prompts.errors import InvalidInput
from prompts.text_kv import TextKV
from training.config import TrainingConfig
from training.reparameterization import PlainPrompt, ResidualPrompt, TrainablePrompt
from training.texts import LabelledTexts

_COMMON_TOKENS = 5000  # Lester et al. (2021); vocabularies list their commonest tokens first
_VALIDATION_BATCH = 32


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch came to. Losses are means over examples, in nats."""

    epoch: int  # from 1
    train_loss: float
    dev_loss: float
    dev_accuracy: float

    def better_than(self, other: EpochRecord | None) -> bool:
        """Higher dev accuracy; on a tie lower dev loss; on a further tie the earlier epoch.

        With k/4 samples a class accuracies tie often, and the loss still tells them apart.
        """
        if other is None:
            return True
        return (self.dev_accuracy, -self.dev_loss) > (other.dev_accuracy, -other.dev_loss)


@dataclass(frozen=True, slots=True)
class Best:
    """The checkpoint to keep: the folded prompt, and the weights where they are trained too."""

    record: EpochRecord
    vectors: Tensor  # (length, hidden)
    weights: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything a run needs to go on after its last whole epoch.

    The order of examples is a function of seed and epoch, so no random state is kept.
    """

    history: tuple[EpochRecord, ...]
    parameters: tuple[Tensor, ...]
    optimizer: dict[str, Tensor]
    best: Best


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `best` is None where it was interrupted within its first epoch."""

    history: tuple[EpochRecord, ...]
    best: Best | None
    interrupted: bool


class Watcher(Protocol):
    """Someone who follows a run."""

    def step(self, epoch: int, loss: float) -> None:
        """A batch was learnt from."""

    def epoch(self, record: EpochRecord) -> None:
        """An epoch ended and was validated."""


class PromptTraining:
    """One prompt in training: parameters, optimizer, and the forward pass under them."""

    def __init__(
        self,
        model: Backbone,
        label_ids: Sequence[int],
        config: TrainingConfig,
        weights: Sequence[Tensor] = (),
    ) -> None:
        self.model = model
        self.config = config
        self.weights = tuple(weights)
        self.prompt = initial_prompt(model, label_ids, config)
        self.parameters = [*self.prompt.parameters(), *self.weights]
        self.optimizer = _optimizer(self.parameters, config)
        self._label_ids = list(label_ids)
        self._read_ids = label_ids if config.loss == "verbalizer" else range(model.vocab_size)
        # A frozen head is looked up once; one that is being trained, at every step.
        self._rows = None if self.weights else model.label_rows(self._read_ids).detach()

    def log_probs(self, kv: TextKV) -> tuple[Tensor, Tensor]:
        """(texts, labels) for the loss and for predicting; they differ for the vocabulary loss."""
        states = self.model.read(kv, [[self.prompt()]] * len(kv))
        rows = self.model.label_rows(self._read_ids) if self._rows is None else self._rows
        read = label_log_probs(states, rows)  # (texts, labels) or (texts, vocabulary)
        if self.config.loss == "verbalizer":
            return read, read
        labels = read[:, self._label_ids]
        return labels, labels.log_softmax(-1)

    def learn(self, kv: TextKV, gold: Tensor, learning_rate: float) -> float:
        """Take one step; return the mean loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        loss = F.nll_loss(self.log_probs(kv)[0], gold)
        if not math.isfinite(value := loss.item()):
            raise InvalidInput(
                f"learning_rate {self.config.learning_rate:g}: the loss became {value}; lower it"
            )
        self.optimizer.zero_grad()
        loss.backward()
        if self.config.gradient_clip > 0:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        self.optimizer.step()
        return value

    @torch.no_grad()
    def validate(self, dev: LabelledTexts) -> tuple[float, float]:
        """Mean loss and accuracy over a validation set."""
        loss = correct = 0.0
        for indices in _batches(range(len(dev)), _VALIDATION_BATCH):
            read, labels = self.log_probs(dev.texts.batch(indices))
            gold = dev.gold[indices]
            loss += F.nll_loss(read, gold, reduction="sum").item()
            correct += (labels.argmax(-1) == gold).sum().item()
        return loss / len(dev), correct / len(dev)

    @torch.no_grad()
    def snapshot(self, record: EpochRecord) -> Best:
        """The prompt, folded, and the trained weights as they are now (copies)."""
        vectors = self.prompt().detach().to("cpu", torch.float32, copy=True)
        return Best(record, vectors, tuple(w.detach().to("cpu", copy=True) for w in self.weights))

    def checkpoint(self, history: Sequence[EpochRecord], best: Best) -> Checkpoint:
        """What `restore` needs (shares the live tensors: write it before going on)."""
        state = self.optimizer.state_dict()["state"]
        flat = {f"{i}.{name}": value for i, own in state.items() for name, value in own.items()}
        return Checkpoint(tuple(history), tuple(p.detach() for p in self.parameters), flat, best)

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Put parameters and optimizer back to where a checkpoint was taken."""
        for parameter, value in zip(self.parameters, checkpoint.parameters, strict=True):
            parameter.copy_(value)
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in checkpoint.optimizer.items():
            place, key = name.split(".", 1)
            state.setdefault(int(place), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def train_prompt(
    training: PromptTraining,
    train: LabelledTexts,
    dev: LabelledTexts,
    watcher: Watcher,
    *,
    start: Checkpoint | None = None,
    keep: Callable[[Checkpoint], None] = lambda checkpoint: None,
) -> Outcome:
    """Train for the configured epochs, validating after each, and return the best checkpoint.

    Ctrl-C ends the run with the best so far. `keep` is given every epoch's checkpoint, and `start`
    is one to go on from; the prompt then ends with the same bytes as without the pause.

    Raises:
        InvalidInput: the loss became infinite or NaN.
    """
    history = list(start.history) if start else []
    best = start.best if start else None
    if start:
        training.restore(start)
    try:
        for epoch in range(len(history) + 1, training.config.epochs + 1):
            loss = _run_epoch(training, train, epoch, watcher)
            record = EpochRecord(epoch, loss, *training.validate(dev))
            if record.better_than(best.record if best else None) or best is None:
                best = training.snapshot(record)
            history.append(record)
            watcher.epoch(record)
            keep(training.checkpoint(history, best))
    except KeyboardInterrupt:
        return Outcome(tuple(history), best, interrupted=True)
    return Outcome(tuple(history), best, interrupted=False)


def _run_epoch(
    training: PromptTraining, train: LabelledTexts, epoch: int, watcher: Watcher
) -> float:
    config = training.config
    order = list(range(len(train)))
    random.Random(f"{config.seed} order {epoch}").shuffle(order)
    steps = math.ceil(len(train) / config.batch_size)
    total = 0.0
    for step, indices in enumerate(_batches(order, config.batch_size)):
        rate = _learning_rate(config, (epoch - 1) * steps + step, config.epochs * steps)
        loss = training.learn(train.texts.batch(indices), train.gold[indices], rate)
        total += loss * len(indices)
        watcher.step(epoch, loss)
    return total / len(train)


def _learning_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """Constant, or falling linearly from the peak at step 0 to zero after the last."""
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * (1 - step / steps)


def _optimizer(parameters: Sequence[Tensor], config: TrainingConfig) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)


def _batches(indices: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), size):
        yield list(indices[start : start + size])


def initial_prompt(
    model: Backbone, label_ids: Sequence[int], config: TrainingConfig
) -> TrainablePrompt:
    """A prompt before its first step, drawn with the run's seed.

    `vocabulary`: embeddings of tokens sampled from the commonest. `label`: the labels' tokens in
    turn. `normal`: noise with the standard deviation of the commonest tokens' embeddings. All go
    through the model's embedding module, since XGLM scales what its first layer receives.
    """
    generator = torch.Generator().manual_seed(config.seed)
    common = min(model.vocab_size, _COMMON_TOKENS)
    if config.init == "label":
        ids = [label_ids[i % len(label_ids)] for i in range(config.length)]
    else:
        ids = torch.randint(common, (config.length,), generator=generator).tolist()
    vectors = model.embed(ids).detach().float()
    if config.init == "normal":
        spread = model.embed(range(common)).detach().float().std()
        noise = torch.randn(vectors.shape, generator=generator)
        vectors = noise.to(vectors) * spread
    if config.bottleneck is None:
        return PlainPrompt(vectors)
    return ResidualPrompt(vectors, config.bottleneck, config.norm_gain, generator)
