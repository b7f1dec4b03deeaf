"""Keys and values of texts: the part of the computation that no prompt can change.

The paper appends the prompt after the text and the model is causal, so these are the same for every
prompt, epoch, seed and prompt length. `encode` takes no prompt, and this type is the proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class KVBucket:
    """Keys and values of texts of similar length, padded on the right to the longest."""

    texts: tuple[int, ...]  # their places in the batch
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

    @property
    def nbytes(self) -> int:
        """Memory held, padding included."""
        return sum(
            2 * sum(k.numel() * k.element_size() for k in bucket.keys) for bucket in self.buckets
        )

    def select(self, indices: Sequence[int]) -> TextKV:
        """The chosen texts, in the given order, as one bucket (copies; an index may repeat).

        Raises:
            IndexError: an index is not that of a text of this batch.
        """
        if out := [i for i in indices if not 0 <= i < len(self)]:
            raise IndexError(f"texts {out} of a batch of {len(self)}")
        parts, order = self._rows_of(indices)
        width = max(self.lengths[i] for i in indices)
        layers = range(len(self.buckets[0].keys))
        bucket = KVBucket(
            tuple(range(len(indices))),
            tuple(self.lengths[i] for i in indices),
            tuple(_gather([(b.keys[n], r) for b, r in parts], order, width) for n in layers),
            tuple(_gather([(b.values[n], r) for b, r in parts], order, width) for n in layers),
        )
        return TextKV((bucket,), bucket.lengths)

    def _rows_of(self, indices: Sequence[int]) -> tuple[list[tuple[KVBucket, Tensor]], Tensor]:
        """Rows to take from each bucket, and the permutation that restores the asked order."""
        device = self.buckets[0].keys[0].device
        parts, places = [], []
        for bucket in self.buckets:
            row_of = {text: row for row, text in enumerate(bucket.texts)}
            hits = [place for place, text in enumerate(indices) if text in row_of]
            if hits:
                rows = torch.tensor([row_of[indices[p]] for p in hits], device=device)
                parts.append((bucket, rows))
                places += hits
        order = torch.tensor(places, device=device).argsort()
        return parts, order


def _gather(parts: Sequence[tuple[Tensor, Tensor]], order: Tensor, width: int) -> Tensor:
    """Rows of several padded tensors, cut or padded to one width, in the asked order."""
    chosen = [rows.index_select(0, index)[:, :, :width] for rows, index in parts]
    padded = [F.pad(rows, (0, 0, 0, width - rows.shape[2])) for rows in chosen]
    return torch.cat(padded).index_select(0, order)
