"""How fast this machine multiplies a model's matrices, and how many products an answer needs.

The rate is what `F.linear` (int8: `torch._int_mm`, fp8: `torch._scaled_mm`) reaches over all linear
layers of the model, each with weights of its own so that no cache holds more than in the model,
with as many rows as the batch has tokens: no padding, no attention, norms or activations. A
contender's share of the rate is (the operations that its answers need) / (its seconds) / rate: what
it computes beyond need, such as padding or logits that nobody reads, does not count for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isogloss.deploy.bench.texts import Batch, Workload

_SHARING = re.compile(r"\.(?:[qkv]|gate|up)_proj$")
_PER_LAYER = 4  # queries, keys and values as one product; attention's output; MLP up; MLP down


def linear_weights(model: Any) -> list[Tensor]:
    """The weight of every linear layer but the head, each (outputs, inputs), four a decoder layer.

    Projections of the same rows (queries, keys and values; an MLP's gate and what it gates) become
    the one product that they can be.
    """
    head = model.get_output_embeddings()
    weights: dict[str, list[Tensor]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not head:
            weights.setdefault(_SHARING.sub(".shared", name), []).append(module.weight)
    return [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in weights.values()]


def needed_operations(weights: Sequence[Tensor], work: Workload, batch: Batch) -> int:
    """Multiplications and additions in the linear layers that a batch's answers need.

    Text and prompt tokens go through every layer but the last; there all of them need keys and
    values, and only the rows that are read (one a prompt) need the rest.
    """
    rows, read = work.tokens(batch), len(batch.prompts)
    *below, qkv, out, up, down = (weight.numel() for weight in weights)
    queries = out  # as many numbers; keys and values may be of fewer heads
    keys_and_values = qkv - queries
    last = rows * keys_and_values + read * (queries + out + up + down)
    return 2 * (rows * sum(below) + last)


class MatrixProducts:
    """Every linear layer of a model once, in one precision, over any number of rows."""

    def __init__(self, weights: Sequence[Tensor], dtype: torch.dtype) -> None:
        if len(weights) % _PER_LAYER:
            raise ValueError(f"{len(weights)} linear layers are not {_PER_LAYER} for each layer")
        self._dtype = dtype
        self._weights = [self._cast(weight) for weight in weights]
        self._one = torch.ones((), device=self._weights[0].device)  # fp8 wants a scale of each side

    def operations(self, rows: int) -> int:
        """Multiplications and additions of one `run`."""
        return 2 * rows * sum(weight.numel() for weight in self._weights)

    def inputs(self, rows: int) -> dict[int, Tensor]:
        """Made outside the measured time: one matrix for each width that the layers read."""
        device = self._weights[0].device
        widths = {weight.shape[1] for weight in self._weights}
        return {w: self._cast(torch.randn(rows, w, device=device)) for w in widths}

    def run(self, inputs: dict[int, Tensor]) -> None:
        """All products; the results are dropped."""
        for weight in self._weights:
            x = inputs[weight.shape[1]]
            if self._dtype == torch.int8:
                torch._int_mm(x, weight.T)
            elif self._dtype == torch.float8_e4m3fn:
                torch._scaled_mm(x, weight.T, self._one, self._one, out_dtype=torch.bfloat16)
            else:
                F.linear(x, weight)

    def _cast(self, tensor: Tensor) -> Tensor:
        if self._dtype != torch.int8:
            return tensor.to(self._dtype)
        return (tensor.float() * (127 / tensor.abs().max().float())).round().to(torch.int8)
