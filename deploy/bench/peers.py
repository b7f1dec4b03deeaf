"""Who is measured: our forward pass, and the two ways in which teams do without it.

Each contender goes from token ids and prompts to label log-probabilities, a row for each prompt of
each text, on the same tensors of one model. The peers are written as well as their libraries allow:
no cache, only the last position's logits, and of the head only what the library does not insist on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from isogloss.deploy.bench.texts import Batch, Workload
from isogloss.prompts.errors import Unavailable
from isogloss.prompts.model.backbone import Backbone, label_log_probs


class Contender(Protocol):
    """One way to score a batch of texts, each under its own prompts."""

    name: str

    def score(self, batch: Batch) -> Tensor:
        """Label log-probabilities: (prompts of the batch, labels)."""
        ...


class Isogloss:
    """Ours: one packed batch of all texts and prompts, in either of the two positions."""

    def __init__(self, backbone: Backbone, work: Workload, name: str = "isogloss") -> None:
        self.name = name
        self._backbone = backbone
        self._prompts = [p.to(backbone.device, backbone.dtype) for p in work.prompts]
        self._rows = backbone.label_rows(work.label_ids)

    def score(self, batch: Batch) -> Tensor:
        """Prompts after the texts, as the paper has them."""
        states = self._backbone.read_suffixed(batch.texts, self._of_texts(batch))
        return label_log_probs(states, self._rows)

    def score_prefixed(self, batch: Batch) -> Tensor:
        """Prompts before the texts: what PEFT's answers are checked against."""
        states = self._backbone.read_prefixed(batch.texts, self._of_texts(batch))
        return label_log_probs(states, self._rows)

    def _of_texts(self, batch: Batch) -> list[list[Tensor]]:
        places, count = batch.prompts, batch.prompts_per_text
        return [
            [self._prompts[place] for place in places[begin : begin + count]]
            for begin in range(0, len(places), count)
        ]


class Transformers:
    """transformers, by hand: padded on the left, prompts concatenated to the embeddings.

    With the padding on the left all prompts end in the last column: the model is asked for the
    logits of that position alone (`logits_to_keep=1`). XGLM is told the positions, for it counts
    padding. A batch of equal lengths goes without a mask. A text under several prompts is a row of
    each.
    """

    name = "transformers"

    def __init__(self, model: Any, work: Workload) -> None:
        embedding = model.get_input_embeddings()
        self._model = model
        self._prompts = torch.stack(work.prompts).to(embedding.weight)
        self._labels = list(work.label_ids)

    def score(self, batch: Batch) -> Tensor:
        """Prompts after the texts."""
        texts = [text for text in batch.texts for _ in range(batch.prompts_per_text)]
        told = appended(self._model, texts, self._prompts[list(batch.prompts)])
        said = self._model(**told, use_cache=False, logits_to_keep=1)
        chosen: Tensor = said.logits[:, -1, self._labels].float().log_softmax(dim=-1)
        return chosen


class Peft:
    """PEFT's prompt tuning: prompts before the texts, one forward for each prompt of the batch.

    PEFT can neither mix prompts in a batch nor leave out rows of the head. Called as its
    documentation does, each group computes all of the vocabulary's logits at every position; who
    knows that the wrapped model takes `logits_to_keep` computes them at the last position alone
    (`last_logits`). Texts are padded on the left; but PEFT drops `position_ids`, without which XGLM
    would misplace texts behind padding, so for XGLM they are padded on the right and the logits are
    taken where texts end.
    """

    name = "peft"

    def __init__(self, model: Any, work: Workload) -> None:
        peft = require_peft()
        config = peft.PromptTuningConfig(
            task_type=peft.TaskType.CAUSAL_LM,
            num_virtual_tokens=work.prompt_length,
            num_layers=model.config.num_hidden_layers,
            num_attention_heads=model.config.num_attention_heads,
            token_dim=model.config.hidden_size,
            inference_mode=True,
        )
        self._device = model.get_input_embeddings().weight.device
        self._on_the_right = model.config.model_type == "xglm"
        self._labels = list(work.label_ids)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT's, about transformers
            self._model: Any = peft.get_peft_model(model, config, adapter_name="0").eval()
            for place in range(1, len(work.prompts)):
                self._model.add_adapter(str(place), config)
        _set_prompts(self._model, work.prompts)

    def score(self, batch: Batch) -> Tensor:
        """Prompts before the texts, as PEFT is documented."""
        return self._score(batch, self._of_all_positions)

    def score_last(self, batch: Batch) -> Tensor:
        """The same, without the logits that nobody reads."""
        return self._score(batch, self._of_last_positions)

    def _score(self, batch: Batch, logits_of: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        scores = torch.empty(len(batch.texts), len(self._labels), device=self._device)
        side: Literal["left", "right"] = "right" if self._on_the_right else "left"
        for prompt in sorted(set(batch.prompts)):
            rows = [i for i, own in enumerate(batch.prompts) if own == prompt]
            self._model.set_adapter(str(prompt))
            logits = logits_of(*padded([batch.texts[i] for i in rows], self._device, side))
            scores[rows] = logits[:, self._labels].float().log_softmax(dim=-1)
        return scores

    def _of_all_positions(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits = self._forward(ids, mask, logits_to_keep=0)  # 0: all of them
        if not self._on_the_right:
            return logits[:, -1]
        prompt_length = self._model.active_peft_config.num_virtual_tokens
        ends = mask.sum(dim=1) - 1 + prompt_length
        return logits[torch.arange(len(ids), device=self._device), ends]

    def _of_last_positions(self, ids: Tensor, mask: Tensor) -> Tensor:
        if not self._on_the_right:
            return self._forward(ids, mask, logits_to_keep=1)[:, 0]
        columns, column = (mask.sum(dim=1) - 1).unique(return_inverse=True)
        prompt_length = self._model.active_peft_config.num_virtual_tokens
        logits = self._forward(ids, mask, logits_to_keep=columns + prompt_length)
        return logits[torch.arange(len(ids), device=self._device), column]

    def _forward(self, ids: Tensor, mask: Tensor, logits_to_keep: int | Tensor) -> Tensor:
        answer = self._model(
            input_ids=ids,
            attention_mask=None if mask.all() else mask,
            use_cache=False,
            logits_to_keep=logits_to_keep,
        )
        logits: Tensor = answer.logits
        return logits


class PeftLastLogits:
    """PEFT's model, called without the logits that nobody reads."""

    name = "peft_last_logits"

    def __init__(self, peft: Peft) -> None:
        self.score = peft.score_last


def _set_prompts(tuned: Any, prompts: Sequence[Tensor]) -> None:
    """Give PEFT's prompts, named "0", "1", ..., our values."""
    with torch.no_grad():
        for place, prompt in enumerate(prompts):
            tuned.prompt_encoder[str(place)].embedding.weight.copy_(prompt)


def require_peft() -> Any:
    """The library.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise Unavailable(
            "peft, a peer of this benchmark, is not installed; pip install 'isogloss[bench]'"
        ) from error
    return peft


def appended(model: Any, texts: Sequence[Sequence[int]], prompts: Tensor) -> dict[str, Tensor]:
    """What a transformers model is told of texts, each followed by a prompt.

    Args:
        model: the transformers model.
        texts: token ids; padded on the left.
        prompts: (texts, length, hidden), in the model's precision.
    """
    ids, mask = padded(texts, prompts.device, "left")
    mask = torch.cat([mask, mask.new_ones(prompts.shape[:2])], dim=1)
    told = {"inputs_embeds": torch.cat([model.get_input_embeddings()(ids), prompts], dim=1)}
    if not mask.all():
        told["attention_mask"] = mask
        if model.config.model_type == "xglm":
            told["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    return told


def padded(
    texts: Sequence[Sequence[int]], device: torch.device, side: Literal["left", "right"]
) -> tuple[Tensor, Tensor]:
    """Token ids and mask (1: a token, 0: padding), both (texts, longest)."""
    rows = [torch.tensor(text) for text in texts]
    ids = pad_sequence(rows, batch_first=True, padding_side=side)
    marks = [torch.ones_like(row) for row in rows]
    mask = pad_sequence(marks, batch_first=True, padding_side=side)
    return ids.to(device), mask.to(device)
