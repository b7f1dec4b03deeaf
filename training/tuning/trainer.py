"""Many prompts trained side by side over shared texts, one batched step for all of them.

The model is frozen and a text's keys and values depend on no prompt, so a step runs only prompt
tokens, forward and backward: those of every prompt in the same matrix products, whatever their
lengths and kinds, and prompts that learn from the same text read the same keys and values. Each
prompt keeps its own examples, optimizer and best checkpoint, and ends as it would have alone.

Unfrozen (the paper's baseline), weights change with every step and belong to one prompt: it trains
alone, over texts that are encoded anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain, islice
from typing import Protocol

import torch
from torch import Tensor

from isogloss.prompts.model.backbone import Backbone
from isogloss.training.tuning.config import TrainingConfig
from isogloss.training.tuning.dataset import Dataset
from isogloss.training.tuning.prompt_trainer import EpochRecord, PromptState, PromptTrainer
from isogloss.training.tuning.texts import (
    CacheBudget,
    CachedTexts,
    EncodedExamples,
    EncodedTexts,
    FreshTexts,
    tokenize,
)

_VALIDATION_TEXTS = 32  # of each prompt at a time: bounds what is held without gradients


class Progress(Protocol):
    """Follows a training. Prompts are known by their places in it."""

    def encoded(self, done: int, total: int) -> None:
        """So many of the texts to encode, or of a teacher's sentences to read, are done."""

    def started(self, prompts: Sequence[PromptTrainer]) -> None:
        """These prompts begin together, or go on from where they are."""

    def step(self, prompt: int, epoch: int, loss: float) -> None:
        """A batch was learnt from."""

    def epoch(self, prompt: int, record: EpochRecord) -> None:
        """An epoch ended and was validated."""


class Silent:
    """Follows a training and shows nothing."""

    def encoded(self, done: int, total: int) -> None:
        """Not shown."""

    def started(self, prompts: Sequence[PromptTrainer]) -> None:
        """Not shown."""

    def step(self, prompt: int, epoch: int, loss: float) -> None:
        """Not shown."""

    def epoch(self, prompt: int, record: EpochRecord) -> None:
        """Not shown."""


class Trainer:
    """Prompts in training over the same encoded texts."""

    def __init__(
        self, model: Backbone, texts: EncodedTexts, prompts: Sequence[PromptTrainer]
    ) -> None:
        self.model, self.texts, self.prompts = model, texts, list(prompts)

    @classmethod
    def prepare(
        cls,
        model: Backbone,
        lessons: Sequence[tuple[TrainingConfig, Dataset]],
        budget: CacheBudget,
        progress: Progress,
    ) -> Trainer:
        """Encode the texts of some runs, have their teachers answer, and start their prompts.

        The texts are encoded for these runs alone and in their order: in their last bits keys and
        values depend on the texts beside them, and a resumed training is to end with the same
        bytes.

        Args:
            model: the frozen backbone; an unfrozen run, which is alone, trains a copy of it.
            lessons: settings and examples of each run.
            budget: for the texts' keys and values.
            progress: told of texts that are encoded and sentences that are read.

        Raises:
            InvalidInput: no space on disk for what exceeds the budget.
        """
        trained, weights = model.trainable_copy() if lessons[0][0].unfrozen else (model, [])
        texts: EncodedTexts = (
            FreshTexts(trained) if weights else CachedTexts(model, budget, progress.encoded)
        )
        token_ids = [
            tokenize(
                model,
                (*data.train, *data.validation),
                config.max_text_tokens,
                *config.text_form,
            )
            for config, data in lessons
        ]
        rows = iter(texts.add([*chain.from_iterable(token_ids)]))
        prompts = []
        for (config, data), ids in zip(lessons, token_ids, strict=True):
            targets = data.targets(model, config.max_text_tokens, progress.encoded)
            examples = EncodedExamples(
                tuple(islice(rows, len(ids))), targets, data.verbalizer.problem
            )
            train, dev = examples.split(len(data.train))
            labels, none = data.verbalizer.token_ids, data.verbalizer.none_id
            prompts.append(PromptTrainer(trained, labels, config, train, dev, weights, none))
        return cls(trained, texts, prompts)

    def states(self) -> list[PromptState]:
        """Where every prompt is, between two steps."""
        return [prompt.state() for prompt in self.prompts]

    def restore(self, states: Sequence[PromptState]) -> None:
        """Go on from there; every prompt then ends with the same bytes as without the pause."""
        for prompt, state in zip(self.prompts, states, strict=True):
            prompt.restore(state)

    def train(
        self,
        progress: Progress,
        keep: Callable[[list[PromptState]], None] = lambda states: None,
    ) -> None:
        """Train every prompt to its last epoch, validating after each.

        `keep` is given every state at which a prompt ended an epoch. Ctrl-C ends the training:
        prompts that it interrupts are not `finished` and hold their best checkpoint so far. A
        prompt whose numbers break says so in its `failure`; the others go on.
        """
        try:
            while active := [prompt for prompt in self.prompts if not prompt.finished]:
                self._step(active, progress)
                if ended := [prompt for prompt in active if prompt.awaits_validation]:
                    self._validate(ended, progress)
                    keep(self.states())
        except KeyboardInterrupt:
            return

    def gradients(
        self, prompts: Sequence[PromptTrainer], batches: Sequence[Sequence[int]]
    ) -> list[float]:
        """Add each prompt's gradients for a batch of its examples; return their mean losses."""
        wanted = [
            [prompt.train.rows[place] for place in batch]
            for prompt, batch in zip(prompts, batches, strict=True)
        ]
        states = self._read(prompts, wanted)
        losses = torch.stack(
            [
                prompt.loss(read, batch)
                for prompt, read, batch in zip(prompts, states, batches, strict=True)
            ]
        )
        losses.sum().backward()
        return [float(loss) for loss in losses.tolist()]

    def _step(self, active: Sequence[PromptTrainer], progress: Progress) -> None:
        batches = [prompt.next_batch() for prompt in active]
        losses = self.gradients(active, batches)
        if len(active) > 1 and not all(map(math.isfinite, losses)):
            losses = self._gradients_one_by_one(active, batches)
        for prompt, batch, loss in zip(active, batches, losses, strict=True):
            epoch = prompt.epoch
            prompt.learn(loss, len(batch))
            progress.step(self.prompts.index(prompt), epoch, loss)

    def _gradients_one_by_one(
        self, prompts: Sequence[PromptTrainer], batches: Sequence[Sequence[int]]
    ) -> list[float]:
        """The same without neighbours: what is not finite in one batch may spread to all of it."""
        for prompt in prompts:
            prompt.optimizer.zero_grad()
        return [
            self.gradients([prompt], [batch])[0]
            for prompt, batch in zip(prompts, batches, strict=True)
        ]

    @torch.no_grad()
    def _validate(self, ended: Sequence[PromptTrainer], progress: Progress) -> None:
        parts: list[list[Tensor]] = [[] for _ in ended]
        longest = max(len(prompt.dev) for prompt in ended)
        for start in range(0, longest, _VALIDATION_TEXTS):
            rows = [prompt.dev.rows[start : start + _VALIDATION_TEXTS] for prompt in ended]
            for part, states in zip(parts, self._read(ended, rows), strict=True):
                part.append(states)
        for prompt, part in zip(ended, parts, strict=True):
            progress.epoch(self.prompts.index(prompt), prompt.validated(torch.cat(part)))

    def _read(
        self, prompts: Sequence[PromptTrainer], wanted: Sequence[Sequence[int]]
    ) -> list[Tensor]:
        """Each prompt's last states over the rows of `texts` that it wants: (rows, hidden).

        Every text is fetched once, and all prompts that want it read the same keys and values.
        """
        readers: dict[int, list[int]] = {}  # row of texts -> places of prompts, in order
        for reader, rows in enumerate(wanted):
            for row in rows:
                at_row = readers.setdefault(row, [])
                if at_row[-1:] != [reader]:  # one text may stand twice among a prompt's examples
                    at_row.append(reader)
        vectors = [prompt.prompt() for prompt in prompts]
        kv = self.texts.batch(list(readers))
        states = self.model.read(kv, [[vectors[r] for r in at_row] for at_row in readers.values()])
        return _deal(states, readers, wanted)


def _deal(
    states: Tensor, readers: dict[int, list[int]], wanted: Sequence[Sequence[int]]
) -> list[Tensor]:
    """Sort states that lie text by text, reader by reader, to the readers as they asked."""
    position: dict[tuple[int, int], int] = {}
    for row, at_row in readers.items():
        for reader in at_row:
            position[row, reader] = len(position)
    order = [position[row, reader] for reader, rows in enumerate(wanted) for row in rows]
    index = torch.tensor(order, device=states.device)
    return list(states.index_select(0, index).split([len(rows) for rows in wanted]))
