"""One frozen causal decoder, and the prompt-aware forward pass over it.

    kv = backbone.encode(texts)                   # takes no prompt: shared by all of them
    backbone.score(kv, prompts, backbone.label_rows(token_ids))

The paper's prompts follow the text (position `suffix`). PEFT's precede it (`prefix`): there the
text's keys and values depend on the prompt, so `read_prefixed` never takes a `TextKV`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from isogloss.prompts.languages.pretraining import Pretraining
from isogloss.prompts.model.checkpoint import Device, Dtype, choose_device, choose_dtype
from isogloss.prompts.model.conversion import take_apart
from isogloss.prompts.model.cuda.fp8 import E4M3
from isogloss.prompts.model.cuda.graphed import GraphedDecoder
from isogloss.prompts.model.decoder import buckets
from isogloss.prompts.model.decoder.decoder import decode, embed_tokens, look_up
from isogloss.prompts.model.decoder.text_kv import TextKV
from isogloss.prompts.model.decoder.uploads import on_device
from isogloss.prompts.model.decoder.weights import cast, tensors_of, trainable
from isogloss.prompts.model.limits import check_prompts, check_texts
from isogloss.prompts.model.loaded import LoadedModel
from isogloss.prompts.model.loading import load_parts
from isogloss.prompts.model.packed import forward
from isogloss.prompts.model.packed.pack import for_serving
from isogloss.prompts.model.parts import Parts
from isogloss.prompts.model.tokenizer import Tokenizer

__all__ = ["Backbone", "Device", "Dtype", "TextKV", "label_log_probs", "label_scores"]

_STORED_AS = {torch.int8: torch.float32, E4M3: torch.bfloat16}
"""What linear layers in eight bits are made of, and what all else is in beside them."""


@dataclass(frozen=True, eq=False)
class Backbone(LoadedModel):
    """A frozen model: texts in, label log-probabilities under any number of soft prompts out."""

    @classmethod
    def load(
        cls,
        model: str,
        *,
        device: Device = "auto",
        dtype: Dtype = "auto",
        revision: str | None = None,
        tables_on_device: bool = False,
    ) -> Self:
        """Load a hub id, a folder in the hub's layout, or a pocket model.

        On a GPU the embedding table and the head, half of a small model, stay in host memory: of a
        text's tokens and a verbalizer's labels only the rows travel, 2 KB a token against the 25
        MFLOP a layer that follow. `tables_on_device` keeps them beside the layers.

        Raises:
            NotFound: no such model or unreadable files.
            InvalidInput: another architecture, a checkpoint whose parts do not go together or
                whose numbers are none, or a device that is not there.
            Unavailable: the hub cannot be reached.
        """
        where = choose_device(device)
        chosen = choose_dtype(dtype, where)
        parts = load_parts(model, revision, _STORED_AS.get(chosen, chosen))
        return cls._of(parts, model, where, chosen, tables_on_device)

    @classmethod
    def load_for_serving(
        cls, model: str, *, device: Device = "auto", dtype: Dtype = "auto"
    ) -> Self:
        """`load`, then `for_serving`: `auto` also takes bfloat16 where a processor gains from it.

        Raises:
            NotFound, InvalidInput, Unavailable: as `load`.
        """
        where = choose_device(device)
        if where.type != "cpu":
            return cls.load(model, device=device, dtype=dtype)
        frozen = cls.load(model, device="cpu", dtype="float32")
        return frozen.for_serving(None if dtype == "auto" else choose_dtype(dtype, where))

    @classmethod
    def from_transformers(
        cls,
        model: Any,
        tokenizer: Tokenizer | None,
        *,
        model_id: str,
        revision: str | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        tables_on_device: bool = False,
        pretraining: Pretraining | None = None,
    ) -> Self:
        """Take over the tensors of a transformers causal language model.

        Without a tokenizer (random weights in benchmarks) everything but `tokenizer` works. With
        int8 or fp8 they are packed `for_serving`.

        Raises:
            InvalidInput: a tensor holds NaN or Inf, or would in this precision; or it is a model
                that is not computed here.
        """
        taken = take_apart(model, tokenizer, model_id, _STORED_AS.get(dtype, dtype))
        parts = replace(taken, revision=revision, pretraining=pretraining)
        return cls._of(parts, model_id, device or torch.device("cpu"), dtype, tables_on_device)

    @classmethod
    def _of(
        cls,
        parts: Parts,
        model_id: str,
        device: torch.device,
        dtype: torch.dtype,
        tables_on_device: bool,
    ) -> Self:
        stored = _STORED_AS.get(dtype, dtype)
        tables = device if tables_on_device else torch.device("cpu")
        loaded = cls(
            model_id=model_id,
            revision=parts.revision,
            architecture=parts.architecture,
            fingerprint=parts.fingerprint,
            max_positions=parts.max_positions,
            weights=cast(parts.weights, device, stored, tables),
            folding=parts.folding,
            config=parts.config,
            optional_tokenizer=parts.tokenizer,
            linear_dtype=stored,
            pretraining=parts.pretraining,
        )
        return loaded if stored == dtype else loaded.for_serving(dtype)

    @cached_property
    def graphed(self) -> GraphedDecoder:
        """CUDA graphs that `read_suffixed` runs through; none until `warm_up`."""
        return GraphedDecoder(self.weights)

    def warm_up(self, max_rows: int) -> None:
        """On a GPU, compile and capture `read_suffixed` for batches of up to `max_rows` tokens.

        Prompts' tokens count too; larger batches are cut. Elsewhere there is nothing to do.
        """
        if self.device.type == "cuda":
            self.graphed.warm_up(max_rows)

    def encode(self, texts: Sequence[Sequence[int]]) -> TextKV:
        """Keys and values of texts given as token ids.

        Raises:
            InvalidInput: an empty text, or one longer than `max_text_tokens`.
        """
        check_texts(texts, self.max_text_tokens)
        if not texts:
            return TextKV((), ())
        _, kv = decode(self.weights, buckets.text_rows(self.weights, texts), None, keep_kv=True)
        assert kv is not None
        return kv

    def read(self, kv: TextKV, prompts: Sequence[Sequence[Tensor]]) -> Tensor:
        """Final hidden state at each prompt's last position: (pairs, hidden).

        Args:
            kv: texts, from `encode`.
            prompts: for each text, the prompts to append to it, each (length, hidden): any number,
                any mix of lengths. Differentiable in them.

        Returns:
            One row a (text, prompt) pair, text by text.

        Raises:
            InvalidInput: wrong shapes or counts, or a prompt longer than `max_prompt_length`.
        """
        check_prompts(len(kv), prompts, self.hidden_size, self.max_prompt_length)
        if not any(prompts):
            return self._no_states()
        behind = buckets.prompt_rows(self.weights, kv, prompts)
        states, _ = decode(self.weights, None, behind, kv=kv)
        assert states is not None
        return states

    def read_suffixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        """`read(encode(texts), prompts)` in one pass over the weights, keeping nothing.

        Text and prompt tokens share every matrix product: the way to score texts once, in serving.
        """
        if self._nothing_to_read(texts, prompts):
            return self._no_states()
        if not torch.is_grad_enabled() and (read := self.graphed.read(texts, prompts)) is not None:
            return read
        if self.device.type == "cpu":
            return forward.read_suffixed(self.weights, texts, prompts)
        return buckets.read_suffixed(self.weights, texts, prompts)

    def read_prefixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        """Prompts *before* the text, as PEFT puts them: state at the text's last token.

        Arguments, result and errors are those of `read_suffixed`; nothing can be shared.
        """
        if self._nothing_to_read(texts, prompts):
            return self._no_states()
        return forward.read_prefixed(self.weights, texts, prompts)

    def score(self, kv: TextKV, prompts: Sequence[Sequence[Tensor]], label_rows: Tensor) -> Tensor:
        """Label log-probabilities of each (text, prompt) pair: (pairs, labels), float32.

        A softmax over the label tokens only; only their rows of the head are computed.
        """
        return label_log_probs(self.read(kv, prompts), label_rows)

    def label_rows(self, token_ids: Sequence[int], none_id: int | None = None) -> Tensor:
        """The verbalizer's rows of the LM head: (labels, hidden).

        With a token for "none of them" they are less its row, float32: a state's products with them
        are each label's log odds (`Verbalizer`).
        """
        rows = look_up(self.weights.head, self._ids(token_ids), self.device)
        if none_id is None:
            return rows
        return rows.float() - look_up(self.weights.head, self._ids([none_id]), self.device).float()

    def embed(self, token_ids: Sequence[int]) -> Tensor:
        """Embeddings as the model receives them (Gemma: scaled): (tokens, hidden), float32."""
        return embed_tokens(self.weights, self._ids(token_ids)).detach().float()

    def for_serving(self, dtype: torch.dtype | None = None) -> Self:
        """The same model with its linear layers packed for this processor: faster, inference only.

        Embeddings, norms and the residual stream stay as they are. On a GPU only fp8 changes them.

        Args:
            dtype: of the linear layers: float32, bfloat16, float16 or int8, on a GPU fp8;
                bfloat16 or float32, whichever this processor is the faster in, if None.

        Raises:
            InvalidInput: int8 on a GPU, or a model that was packed before.
        """
        weights, linear_dtype = for_serving(self.weights, self.linear_dtype, dtype)
        return replace(self, weights=weights, linear_dtype=linear_dtype)

    def trainable_copy(self) -> tuple[Self, list[Tensor]]:
        """An unfrozen float32 copy and its parameters: the paper's setting without model freezing.

        Its fingerprint still names the weights it began with; `save_pretrained` and load again for
        the fingerprint of what it became.
        """
        weights = trainable(self.weights)
        return replace(self, weights=weights), tensors_of(weights)

    def _ids(self, tokens: Sequence[int]) -> Tensor:
        """Where the tables are, for that is where they are looked up."""
        return on_device(tokens, self.weights.embedding.device)

    def _nothing_to_read(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> bool:
        """Whether no text has a prompt; raises InvalidInput as `encode` and `read` do."""
        check_texts(texts, self.max_text_tokens)
        check_prompts(len(texts), prompts, self.hidden_size, self.max_prompt_length)
        return not any(prompts)

    def _no_states(self) -> Tensor:
        return torch.empty(0, self.hidden_size, dtype=self.dtype, device=self.device)


def label_log_probs(states: Tensor, label_rows: Tensor) -> Tensor:
    """(pairs, hidden), (labels, hidden) -> (pairs, labels): log-softmax over labels, float32."""
    return label_logits(states, label_rows).log_softmax(dim=-1)


def label_logits(states: Tensor, label_rows: Tensor) -> Tensor:
    """(pairs, hidden), (labels, hidden) -> (pairs, labels), float32.

    Over rows that are less that of "none of them" (`Backbone.label_rows`) these are log odds.
    """
    return states.float() @ label_rows.float().T


def label_scores(states: Tensor, label_rows: Tensor, *, independent: bool) -> Tensor:
    """What a prompt says of each label: (pairs, labels), float32.

    Log odds where labels are independent, log-probabilities where one is right. Either may be
    averaged over prompts and divided by a temperature before it becomes a probability.
    """
    return (label_logits if independent else label_log_probs)(states, label_rows)
