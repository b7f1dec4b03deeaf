"""A linear layer, however its weights are kept: plain here, packed or quantized in
`prompts.model.packed`.

The forward pass asks only for what it needs done, so that a kind that can do two things at once
(the product and its GELU, the product and the residual) does.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Gelu = Literal["tanh", "none"]


class Linear:
    """y = x W^T + b for packed rows x: (rows, in)."""

    __slots__ = ()

    @property
    def rows_at_once(self) -> int:
        """How many rows a caller with intermediate results of its own had best bring at a time."""
        return sys.maxsize

    def apply(self, x: Tensor) -> Tensor:
        """(rows, in) -> (rows, out)."""
        raise NotImplementedError

    def apply_gelu(self, x: Tensor, approximate: Gelu) -> Tensor:
        """(rows, in) -> GELU of (rows, out)."""
        return F.gelu(self.apply(x), approximate=approximate)

    def apply_add(self, x: Tensor, residual: Tensor) -> Tensor:
        """(rows, in), (rows, out) -> residual + (rows, out), in the residual's dtype."""
        return residual + self.apply(x)


@dataclass(frozen=True, slots=True)
class Affine(Linear):
    """Weight and bias as they are: a linear layer (out, in), (out,), or a layer norm's two rows.

    The only kind that can be trained, or trained through.
    """

    weight: Tensor
    bias: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """(rows, in) -> (rows, out)."""
        return F.linear(x, self.weight, self.bias)
