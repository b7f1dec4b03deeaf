"""What a captured forward pass reads: buffers that stay where they are and are written over."""

from __future__ import annotations

import torch
from torch import Tensor

from isogloss.prompts.model.cuda.attention import Sight
from isogloss.prompts.model.cuda.ladder import Rung
from isogloss.prompts.model.cuda.plan import Ints, Plan
from isogloss.prompts.model.decoder.uploads import host_buffer

ALIGNMENT = 32
"""Every array begins at a multiple of this many int32, 128 bytes: kernels rely on 16."""


class Inputs:
    """The inputs of one rung, the whole numbers in one buffer so that one copy fills them."""

    def __init__(self, rung: Rung, vectors: Tensor) -> None:
        """Rows are views of `vectors` (at least the rung's rows, hidden), which rungs share."""
        self.rung = rung
        self.vectors = vectors[: rung.rows]
        self._plan = Plan.padding(rung)
        self._parts = _parts(self._plan)
        host = self.pack(self._plan, vectors.device)
        self._ints = torch.empty(host.shape, dtype=torch.int32, device=vectors.device)
        self._ints.copy_(host)
        self.positions, first, text_end, prompt_begin, self.last, counts, blocks = self._views(
            self._ints
        )
        self.sight = Sight(first, text_end, prompt_begin, counts, blocks)

    def pack(self, plan: Plan, device: torch.device) -> Tensor:
        """A plan of this rung as one array in host memory, followed by its `source`."""
        parts = _parts(plan)
        starts = _starts(parts)
        host = host_buffer((starts[-1] + plan.rung.rows,), torch.int32, device)
        numbers = host.numpy()
        for start, part in zip(starts, [*parts, plan.source], strict=True):
            numbers[start : start + part.size] = part.ravel()
        return host

    def overwrite(self, packed: Tensor) -> Tensor:
        """Take over what `pack` gave, from the device; returns its `source` (rows,)."""
        self._ints.copy_(packed)
        return self._ints[-self.rung.rows :]

    def _views(self, packed: Tensor) -> list[Tensor]:
        return [
            packed[start : start + part.size].view(part.shape)
            for start, part in zip(_starts(self._parts), self._parts, strict=False)
        ]


def _parts(plan: Plan) -> list[Ints]:
    return [
        plan.positions,
        plan.first,
        plan.text_end,
        plan.prompt_begin,
        plan.last,
        plan.block_counts,
        plan.blocks,
    ]


def _starts(parts: list[Ints]) -> list[int]:
    """Where each part begins, and, last, where all end; multiples of ALIGNMENT."""
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + -(-part.size // ALIGNMENT) * ALIGNMENT)
    return starts
