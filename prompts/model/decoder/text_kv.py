"""Keys and values of texts: the part of the computation that no prompt can change.

The paper appends the prompt after the text and the model is causal, so these are the same for every
prompt, epoch, seed and prompt length. `encode` takes no prompt, and this type is the proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isogloss.prompts.model.decoder.packing import bucket_by_length

# Prompts over cached texts do little attention and many calls, so buckets are fewer than for
# encoding: a text may be two and a half times as long as the shortest beside it.
SHORTEST_IN_CACHED_BUCKET = 0.4


@dataclass(frozen=True, slots=True)
class KVBucket:
    """Keys and values of texts of similar length, padded on the right to the longest."""

    texts: tuple[int, ...]  # their indices in the batch
    lengths: tuple[int, ...]  # tokens of each
    keys: tuple[Tensor, ...]  # a layer: (texts, heads, width, head_size)
    values: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class TextKV:
    """Keys and values of a batch of texts in every layer. Never modified."""

    buckets: tuple[KVBucket, ...]
    lengths: tuple[int, ...]  # tokens of each text, in the caller's order

    def __len__(self) -> int:
        return len(self.lengths)

    def split(self) -> list[Tensor]:
        """Each text alone, in the caller's order: (layers, 2, heads, tokens, head_size), copies.

        The 2 are keys and values. Nothing is padded, so blocks are what a cache keeps.
        """
        blocks: dict[int, Tensor] = {}
        for bucket in self.buckets:
            for row, (text, tokens) in enumerate(zip(bucket.texts, bucket.lengths, strict=True)):
                halves = (bucket.keys, bucket.values)
                layers = [
                    torch.stack([layer[row, :, :tokens] for layer in half]) for half in halves
                ]
                blocks[text] = torch.stack(layers, dim=1)
        return [blocks[text] for text in range(len(self))]

    @classmethod
    def join(cls, blocks: Sequence[Tensor], device: torch.device | None = None) -> TextKV:
        """A batch of the texts whose blocks `split` gave, from wherever those were kept.

        Texts are padded within buckets of similar length, each text copied once and whole.
        """
        lengths = [block.shape[3] for block in blocks]
        buckets = []
        for texts in bucket_by_length(lengths, SHORTEST_IN_CACHED_BUCKET):
            joined = _pad([blocks[i] for i in texts], device or blocks[0].device)
            keys, values = joined.unbind(1)
            tokens = tuple(lengths[i] for i in texts)
            buckets.append(KVBucket(tuple(texts), tokens, keys.unbind(0), values.unbind(0)))
        return cls(tuple(buckets), tuple(lengths))


def _pad(blocks: Sequence[Tensor], device: torch.device) -> Tensor:
    """(layers, 2, texts, heads, width, head_size): each block, then zeros, which nothing reads."""
    layers, halves, heads, _, size = blocks[0].shape
    width = max(block.shape[3] for block in blocks)
    shape = (layers, halves, len(blocks), heads, width, size)
    joined = torch.empty(shape, dtype=blocks[0].dtype, device=device)
    for text, block in enumerate(blocks):
        tokens = block.shape[3]
        joined[:, :, text, :, :tokens].copy_(block, non_blocking=True)
        joined[:, :, text, :, tokens:].zero_()
    return joined
