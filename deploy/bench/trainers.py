"""Who is measured in `bench train` beside ours: the two usual ways to tune a prompt.

All contenders start from the same vectors, take the same batches, minimise the same loss
(cross-entropy over the label tokens) with the same optimizer, schedule and clipping, and validate
after every epoch.

`transformers` and `peft` call their causal language models, which compute the logits of every
position unless told otherwise; the weights are frozen, so no gradient is computed for them.
`transformers_by_hand` is the fastest loop we could write around transformers: the library's bare
decoder runs without the head, and a product of the last states with the labels' rows of it replaces
the 250,000 logits that nobody reads. PEFT over a bare decoder was as fast as that, and a loop with
`logits_to_keep=1`, which neither contender uses, lies between the two: single steps on 2 cores took
5.1, 3.4 and 2.9 s for BLOOM-560M, and 5.2, 3.3 and 2.6 s for XGLM-564M (all logits, the last
position's, the labels'). Right and left padding were equally fast. Validation runs
without gradients, in batches of similar length. Batches for training are in random order: sorting
them by length would be faster for the peers, but another training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.benchmark import timer

from isogloss.deploy.bench.compiled_peers import masked
from isogloss.deploy.bench.examples import Examples, batches, widest_batch
from isogloss.deploy.bench.peers import appended, padded, prompt_tuned
from isogloss.training.tuning.config import TrainingConfig

Texts = Sequence[Sequence[int]]


class Clock:
    """Sums the seconds of a run's parts: what is done once, steps, validation.

    On a GPU every reading waits for what was launched, which is once an epoch and part: within
    one, a contender may run ahead of the GPU as it likes.
    """

    def __init__(self, now: Callable[[], float] = timer) -> None:
        self._now, self._since_s = now, now()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def lap(self, part: str) -> None:
        """What was done since the last reading was this part."""
        before_s, self._since_s = self._since_s, self._now()
        self.seconds[part] += self._since_s - before_s


class Appended:
    """A plain loop around transformers; padded on the left, every prompt ends in the last column.

    XGLM is told the positions, for it counts padding.
    """

    name = "transformers"
    _joined = staticmethod(appended)

    def __init__(self, model: Any, label_ids: Sequence[int]) -> None:
        self._model, self._label_ids = model, list(label_ids)

    def begin(self, vectors: Tensor) -> nn.Parameter:
        """A free-standing parameter of these values (length, hidden), float32, to be trained."""
        self.prompt = nn.Parameter(vectors.clone())
        return self.prompt

    def logits(self, texts: Texts) -> Tensor:
        """Of the labels, in the last column: (texts, labels); the prompt follows the texts."""
        read = self._model(**self._inputs(texts), use_cache=False)
        last: Tensor = read.logits[:, -1, self._label_ids].float()
        return last

    def _inputs(self, texts: Texts) -> dict[str, Tensor]:
        prompts = self.prompt.to(self._model.dtype).expand(len(texts), -1, -1)
        return self._joined(self._model, texts, prompts)


class AppendedByHand(Appended):
    """The same over the bare decoder, with the labels' rows of the head alone."""

    name = "transformers_by_hand"

    def __init__(self, model: Any, label_ids: Sequence[int]) -> None:
        super().__init__(model, label_ids)
        self._decoder = model.base_model
        self._head: Tensor = model.get_output_embeddings().weight[self._label_ids]

    def logits(self, texts: Texts) -> Tensor:
        """Of the labels, from the last column's state."""
        read = self._decoder(**self._inputs(texts), use_cache=False)
        last: Tensor = read.last_hidden_state[:, -1]
        return last.float() @ self._head.float().T


class AppendedCompiled(AppendedByHand):
    """The same by hand, the decoder compiled by torch with dynamic shapes, forward and backward."""

    name = "torch_compile"
    _joined = staticmethod(masked)

    def __init__(self, model: Any, label_ids: Sequence[int]) -> None:
        super().__init__(model, label_ids)
        self._decoder = torch.compile(model.base_model, dynamic=True)


class Prepended:
    """PEFT's prompt tuning of a causal language model.

    PEFT drops `position_ids`, without which XGLM would misplace texts behind padding; so texts are
    padded on the right, and the logits are taken where they end.
    """

    name = "peft"

    def __init__(self, model: Any, label_ids: Sequence[int], length: int) -> None:
        self._model: Any = prompt_tuned(model, length, ["default"], inference=False)
        self._length = length
        self._label_ids = torch.tensor(list(label_ids), device=self._model.device)

    def begin(self, vectors: Tensor) -> nn.Parameter:
        """PEFT's own parameter, given our values."""
        prompt: nn.Parameter = self._model.prompt_encoder["default"].embedding.weight
        prompt.grad = None
        with torch.no_grad():
            prompt.copy_(vectors)
        return prompt

    def logits(self, texts: Texts) -> Tensor:
        """The prompt precedes the texts, as in PEFT."""
        ids, mask = padded(texts, self._model.device, "right")
        read = self._model(input_ids=ids, attention_mask=mask, use_cache=False)
        ends = mask.sum(dim=1) - 1 + self._length
        last: Tensor = read.logits[torch.arange(len(ids), device=ids.device), ends]
        return last.index_select(1, self._label_ids).float()


class Loop:
    """A plain training loop: what one writes around a library, once for both peers.

    Its methods are those of ours, `population_trainer.Isogloss`.
    """

    prompts = 1

    def __init__(
        self,
        runner: Appended | Prepended,
        start: Tensor,
        config: TrainingConfig,
        examples: Examples,
    ) -> None:
        self.name = runner.name
        self._runner, self._start, self._config, self._examples = runner, start, config, examples
        self._train_gold = torch.tensor(examples.train_gold, device=start.device)
        order = sorted(range(len(examples.dev)), key=lambda i: len(examples.dev[i]))
        self._dev = [examples.dev[i] for i in order]
        self._dev_gold = torch.tensor([examples.dev_gold[i] for i in order], device=start.device)

    def prepare(self) -> None:
        """Everything that is done once a run: a prompt and its optimizer."""
        config = self._config
        self.prompt = self._runner.begin(self._start)
        self._optimizer = torch.optim.AdamW(
            [self.prompt], config.learning_rate, weight_decay=config.weight_decay
        )
        self._steps_left = config.epochs * len(batches(config.seed, 1, config.batch_size))
        self._schedule = torch.optim.lr_scheduler.LinearLR(
            self._optimizer, 1.0, 0.0, total_iters=self._steps_left
        )

    def gradient(self) -> Tensor:
        """Of the prompt at its first values, over the widest batch: (length, hidden).

        To be asked once, after `prepare`.
        """
        config = self._config
        self._backward(widest_batch(self._examples, config.seed, config.batch_size))
        assert self.prompt.grad is not None
        return self.prompt.grad.clone()

    @torch.no_grad()
    def dev_loss(self) -> float:
        """Mean over the validation set; texts of similar length share a batch."""
        total = torch.zeros((), device=self._start.device)
        size = self._config.batch_size
        for start in range(0, len(self._dev), size):
            gold = self._dev_gold[start : start + size]
            logits = self._runner.logits(self._dev[start : start + size])
            total += F.cross_entropy(logits, gold, reduction="sum")
        return float(total) / len(self._dev)

    def train(self, clock: Clock) -> float:
        """Run all epochs, telling the clock what is done; the last validation loss.

        Keeps the vectors that do best on the validation set, as every such loop does.
        """
        best, loss = float("inf"), float("inf")
        for epoch in range(1, self._config.epochs + 1):
            for batch in batches(self._config.seed, epoch, self._config.batch_size):
                self._step(batch)
            clock.lap("steps")
            loss = self.dev_loss()
            if loss < best:
                best, self.best = loss, self.prompt.detach().clone()
            clock.lap("validation")
        return loss

    def release(self) -> None:
        """Drop what `prepare` made, so that it does not weigh on the others."""
        del self.prompt, self._optimizer, self._schedule

    def _step(self, batch: Sequence[int]) -> None:
        self._optimizer.zero_grad()
        self._backward(batch)
        torch.nn.utils.clip_grad_norm_([self.prompt], self._config.gradient_clip)
        self._optimizer.step()
        self._schedule.step()

    def _backward(self, batch: Sequence[int]) -> None:
        logits = self._runner.logits([self._examples.train[i] for i in batch])
        F.cross_entropy(logits, self._train_gold[list(batch)]).backward()
