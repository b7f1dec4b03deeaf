"""Attention of packed sequences by the kernel of `kernels.cpp`, all of them in one call.

torch's attention has one length a call, and texts have thirty: a call for each of them costs more
than what it computes. Here a head of a sequence is one piece of work, small enough for a core's
own cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from isogloss.prompts.model.decoder.weights import DecoderWeights
from isogloss.prompts.model.packed import native
from isogloss.prompts.model.packed.sequences import Group


def can_attend(qkv: Tensor) -> bool:
    """Whether the kernel takes this projection."""
    return (
        qkv.dtype in (torch.float32, torch.bfloat16)
        and qkv.device.type == "cpu"
        and not (qkv.requires_grad and torch.is_grad_enabled())
        and native.library() is not None
    )


def spans_of(groups: Sequence[Group]) -> Tensor:
    """(spans, 4) int64: a trunk's first row, how many rows of it are seen, and whose rows see them.

    Of a trunk these are its own, of a prompt behind it those of the prompt: (first, count).
    """
    spans: list[tuple[int, int, int, int]] = []
    for group in groups:
        for start in range(group.start, group.rows.stop, group.length):
            spans.append((start, 0, start, group.trunk))
            spans += [
                (start, group.trunk, start + run.start + each * run.length, run.length)
                for run in group.runs
                for each in range(run.count)
            ]
    return torch.tensor(spans, dtype=torch.int64)


def attend(
    weights: DecoderWeights, qkv: Tensor, spans: Tensor, window: int | None, mixed: Tensor
) -> None:
    """(rows, projection) -> (rows, heads x size), written to `mixed`."""
    native.run(
        "attend",
        *(qkv.contiguous(), int(qkv.dtype == torch.bfloat16), spans, len(spans)),
        *(weights.heads, weights.kv_heads, weights.head_size),
        *(weights.slopes, window or 0, mixed),
    )
