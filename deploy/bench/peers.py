"""Who is measured in `bench engine`: our forward pass, and the ways in which teams do without it.

Each goes from token ids and prompts to label log-probabilities, a row for each prompt of each text,
on the same tensors of one model. The peers are written as well as their libraries allow: no cache,
only the last position's logits, and of the head only what the library does not insist on.

To add a peer: write a class that is a `Peer`, and name it in `peer_list.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from isogloss.deploy.bench.engine_settings import CurveName
from isogloss.deploy.bench.texts import Batch, Workload
from isogloss.prompts.errors import Unavailable
from isogloss.prompts.model.backbone import Backbone, label_log_probs

Position = Literal["suffix", "prefix"]
ANYWHERE = frozenset(("cpu", "cuda"))


class Peer(Protocol):
    """One way to score a batch of texts, each under its own prompts, with another library."""

    name: ClassVar[str]
    """In reports: `transformers`."""
    needs: ClassVar[tuple[str, ...]]
    """Packages, and the compiler `g++`; where one is missing, the peer is left out and named."""
    devices: ClassVar[frozenset[str]]
    """On which it runs; elsewhere it is left out, too."""
    fixed: ClassVar[torch.dtype | None]
    """The one precision that it makes itself; None: that of the model it is given."""
    position: ClassVar[Position]
    """Where its prompts stand: which of our two forward passes its answers must agree with."""
    curves: ClassVar[frozenset[CurveName]]
    """On which it is measured."""
    model_types: ClassVar[frozenset[str] | None]
    """transformers' names of the architectures that it runs; None: all of them."""
    rounding: ClassVar[torch.dtype | None]
    """A coarser precision that some of its work is in whatever it runs in; None: there is none."""
    dtype: torch.dtype
    """The precision that it runs in."""

    def __init__(self, model: Any, work: Workload) -> None:
        """Make it from a transformers model, and the prompts and labels of a workload."""

    def score(self, batch: Batch) -> Tensor:
        """Label log-probabilities: (prompts of the batch, labels)."""


class Isogloss:
    """Ours: one packed batch of all texts and prompts, in either of the two positions."""

    def __init__(self, backbone: Backbone, work: Workload) -> None:
        self._backbone = backbone
        self._prompts = [p.to(backbone.device, backbone.dtype) for p in work.prompts]
        self._rows = backbone.label_rows(work.label_ids)

    def score(self, batch: Batch) -> Tensor:
        """Prompts after the texts, as the paper has them: (prompts of the batch, labels)."""
        states = self._backbone.read_suffixed(batch.texts, self._by_text(batch))
        return label_log_probs(states, self._rows)

    def score_together(self, batch: Batch) -> Tensor:
        """A text's prompts as one ensemble: (texts, labels)."""
        return together(self.score(batch), batch)

    def score_prefixed(self, batch: Batch) -> Tensor:
        """Prompts before the texts: what PEFT's answers are checked against."""
        states = self._backbone.read_prefixed(batch.texts, self._by_text(batch))
        return label_log_probs(states, self._rows)

    def _by_text(self, batch: Batch) -> list[list[Tensor]]:
        count = batch.prompts_per_text
        chosen = [self._prompts[index] for index in batch.prompts]
        return [chosen[begin : begin + count] for begin in range(0, len(chosen), count)]


class Transformers:
    """transformers, by hand: padded on the left, prompts concatenated to the embeddings.

    With the padding on the left all prompts end in the last column: the model is asked for the
    logits of that position alone (`logits_to_keep=1`). XGLM is told the positions, for it counts
    padding. A batch of equal lengths goes without a mask. A text under several prompts is a row of
    each.
    """

    name: ClassVar[str] = "transformers"
    needs: ClassVar[tuple[str, ...]] = ("transformers",)
    devices: ClassVar[frozenset[str]] = ANYWHERE
    fixed: ClassVar[torch.dtype | None] = None
    position: ClassVar[Position] = "suffix"
    curves: ClassVar[frozenset[CurveName]] = frozenset(
        ("batch_size", "prompts_per_text", "text_length")
    )
    model_types: ClassVar[frozenset[str] | None] = None
    rounding: ClassVar[torch.dtype | None] = None

    def __init__(self, model: Any, work: Workload) -> None:
        embedding = model.get_input_embeddings()
        self.dtype: torch.dtype = embedding.weight.dtype
        self._model = model
        self._prompts = torch.stack(work.prompts).to(embedding.weight)
        self._labels = list(work.label_ids)

    def score(self, batch: Batch) -> Tensor:
        """Prompts after the texts: (prompts of the batch, labels)."""
        texts = [text for text in batch.texts for _ in range(batch.prompts_per_text)]
        inputs = appended(self._model, texts, self._prompts[list(batch.prompts)])
        output = self._model(**inputs, use_cache=False, logits_to_keep=1)
        scores: Tensor = output.logits[:, -1, self._labels].float().log_softmax(dim=-1)
        return scores


class Peft:
    """PEFT's prompt tuning: prompts before the texts, one forward for each prompt of the batch.

    PEFT can neither mix prompts in a batch nor leave out rows of the head. Called as its
    documentation does, each group computes all of the vocabulary's logits at every position. Texts
    are padded on the left for BLOOM. PEFT drops `position_ids`, without which other models count
    the padding between prompt and text, so theirs are padded on the right and the logits are taken
    where texts end.
    """

    name: ClassVar[str] = "peft"
    needs: ClassVar[tuple[str, ...]] = ("peft",)
    devices: ClassVar[frozenset[str]] = ANYWHERE
    fixed: ClassVar[torch.dtype | None] = None
    position: ClassVar[Position] = "prefix"
    curves: ClassVar[frozenset[CurveName]] = frozenset(("batch_size",))
    model_types: ClassVar[frozenset[str] | None] = None
    rounding: ClassVar[torch.dtype | None] = None

    def __init__(self, model: Any, work: Workload) -> None:
        weight = model.get_input_embeddings().weight
        self.dtype: torch.dtype = weight.dtype
        self._device: torch.device = weight.device
        self._on_the_right = model.config.model_type != "bloom"
        self._labels = list(work.label_ids)
        self._length = work.prompt_length
        names = [str(index) for index in range(len(work.prompts))]
        self._model: Any = prompt_tuned(model, work.prompt_length, names, inference=True)
        with torch.no_grad():
            for name, prompt in zip(names, work.prompts, strict=True):
                self._model.prompt_encoder[name].embedding.weight.copy_(prompt)

    def score(self, batch: Batch) -> Tensor:
        """Prompts before the texts: (texts, labels)."""
        scores = torch.empty(len(batch.texts), len(self._labels), device=self._device)
        side: Literal["left", "right"] = "right" if self._on_the_right else "left"
        for prompt in sorted(set(batch.prompts)):
            rows = [row for row, own in enumerate(batch.prompts) if own == prompt]
            self._model.set_adapter(str(prompt))
            logits = self._logits(*padded([batch.texts[row] for row in rows], self._device, side))
            scores[rows] = logits[:, self._labels].float().log_softmax(dim=-1)
        return scores

    def _logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Where each text ends, of all that the model computes at every position."""
        logits = self._forward(ids, mask, logits_to_keep=0)  # 0: all of them
        if not self._on_the_right:
            return logits[:, -1]
        ends = mask.sum(dim=1) - 1 + self._length
        return logits[torch.arange(len(ids), device=self._device), ends]

    def _forward(self, ids: Tensor, mask: Tensor, logits_to_keep: int | Tensor) -> Tensor:
        answer = self._model(
            input_ids=ids,
            attention_mask=None if mask.all() else mask,
            use_cache=False,
            logits_to_keep=logits_to_keep,
        )
        logits: Tensor = answer.logits
        return logits


class PeftLastLogits(Peft):
    """PEFT's model, called by who knows that the wrapped model takes `logits_to_keep`."""

    name: ClassVar[str] = "peft_last_logits"

    def _logits(self, ids: Tensor, mask: Tensor) -> Tensor:
        if not self._on_the_right:
            return self._forward(ids, mask, logits_to_keep=1)[:, 0]
        columns, column = (mask.sum(dim=1) - 1).unique(return_inverse=True)
        logits = self._forward(ids, mask, logits_to_keep=columns + self._length)
        return logits[torch.arange(len(ids), device=self._device), column]


def together(log_probs: Tensor, batch: Batch) -> Tensor:
    """(prompts of the batch, labels) -> (texts, labels), as the prompts of each text answer."""
    by_text: Tensor = log_probs.unflatten(0, (len(batch.texts), batch.prompts_per_text))
    return by_text.mean(dim=1).log_softmax(dim=-1)


def prompt_tuned(model: Any, length: int, names: Sequence[str], *, inference: bool) -> Any:
    """A transformers model wrapped by PEFT, with a prompt of so many tokens for each name.

    Raises:
        Unavailable: PEFT is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise Unavailable(
            "peft, a peer of this benchmark, is not installed; pip install 'isogloss[bench]'"
        ) from error
    config = peft.PromptTuningConfig(
        task_type=peft.TaskType.CAUSAL_LM,
        num_virtual_tokens=length,
        num_layers=model.config.num_hidden_layers,
        num_attention_heads=model.config.num_attention_heads,
        token_dim=model.config.hidden_size,
        inference_mode=inference,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about transformers, and that a model is wrapped again
        tuned: Any = peft.get_peft_model(model, config, adapter_name=names[0]).eval()
        for name in names[1:]:
            tuned.add_adapter(name, config)
    return tuned


def appended(model: Any, texts: Sequence[Sequence[int]], prompts: Tensor) -> dict[str, Tensor]:
    """What a transformers model is given for texts, each followed by a prompt.

    Args:
        model: the transformers model.
        texts: token ids; padded on the left.
        prompts: (texts, length, hidden), in the model's precision.
    """
    ids, mask = padded(texts, prompts.device, "left")
    mask = torch.cat([mask, mask.new_ones(prompts.shape[:2])], dim=1)
    inputs = {"inputs_embeds": torch.cat([model.get_input_embeddings()(ids), prompts], dim=1)}
    if not mask.all():
        inputs["attention_mask"] = mask
        if model.config.model_type == "xglm":
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    return inputs


def padded(
    texts: Sequence[Sequence[int]], device: torch.device, side: Literal["left", "right"]
) -> tuple[Tensor, Tensor]:
    """Token ids and mask (1: a token, 0: padding), both (texts, longest)."""
    rows = [torch.tensor(text) for text in texts]
    ids = pad_sequence(rows, batch_first=True, padding_side=side)
    marks = [torch.ones_like(row) for row in rows]
    mask = pad_sequence(marks, batch_first=True, padding_side=side)
    return ids.to(device), mask.to(device)
