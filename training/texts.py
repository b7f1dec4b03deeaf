"""The texts of a run as keys and values: encoded once where memory allows, else batch by batch.

Nothing computed for a text depends on the prompt that follows it, so every epoch and every seed can
read the same keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from prompts.backbone import Backbone
from prompts.text_kv import TextKV
from training.data import Example

_CHUNK = 32  # texts encoded at a time: bounds the activations held beside the cache
Texts = Sequence[Sequence[int]]


class EncodedTexts(Protocol):
    """Texts whose keys and values can be had a batch at a time."""

    def __len__(self) -> int:
        """Texts."""

    def batch(self, indices: Sequence[int]) -> TextKV:
        """Keys and values of some texts, in the order asked."""


@dataclass(frozen=True, slots=True)
class CachedTexts:
    """Every text's keys and values, in memory."""

    kv: TextKV

    def __len__(self) -> int:
        return len(self.kv)

    def batch(self, indices: Sequence[int]) -> TextKV:
        """Copy the chosen texts out of the cache."""
        return self.kv.select(indices)


@dataclass(frozen=True, slots=True)
class FreshTexts:
    """Encodes each batch when asked: for what exceeds the cache, and for weights that change."""

    model: Backbone
    ids: Texts

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, indices: Sequence[int]) -> TextKV:
        """Encode the chosen texts, with gradients where the weights require them."""
        return self.model.encode([self.ids[i] for i in indices])


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Encoded texts and the index of each one's label."""

    texts: EncodedTexts
    gold: Tensor  # (texts,) int64

    def __len__(self) -> int:
        return len(self.texts)


def tokenize(model: Backbone, examples: Sequence[Example], max_tokens: int | None) -> Texts:
    """Token ids of each text, cut to `max_tokens` and to what the model reads."""
    limit = min(max_tokens or model.max_text_tokens, model.max_text_tokens)
    return [t.ids for t in model.tokenizer.encode([e.text for e in examples], limit)]


def gold_of(examples: Sequence[Example], labels: Sequence[str], device: torch.device) -> Tensor:
    """(examples,) index of each example's label."""
    place = {label: i for i, label in enumerate(labels)}
    return torch.tensor([place[e.label] for e in examples], device=device)


def encode_texts(model: Backbone, ids: Texts, budget_bytes: int) -> CachedTexts | FreshTexts:
    """Encode every text once, or none ahead where they would not fit in `budget_bytes`."""
    chunks: list[TextKV] = []
    total = sum(map(len, ids))
    done = held_bytes = 0
    for start in range(0, len(ids), _CHUNK):
        with torch.no_grad():
            chunks.append(model.encode(ids[start : start + _CHUNK]))
        done += sum(chunks[-1].lengths)
        held_bytes += chunks[-1].nbytes
        if held_bytes / done * total > budget_bytes:
            return FreshTexts(model, ids)
    return CachedTexts(_join(chunks))


def _join(chunks: Sequence[TextKV]) -> TextKV:
    """One batch of texts out of several, sharing their tensors."""
    buckets, shift = [], 0
    for chunk in chunks:
        for bucket in chunk.buckets:
            buckets.append(replace(bucket, texts=tuple(shift + text for text in bucket.texts)))
        shift += len(chunk)
    return TextKV(tuple(buckets), tuple(n for chunk in chunks for n in chunk.lengths))
