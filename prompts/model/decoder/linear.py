"""A linear layer, however its weights are kept: plain here, packed or quantized in
`prompts.model.packed`.

The forward pass asks only for what it needs done, so that a kind that can do two things at once
(the product and its activation, the product and the residual, the product and its gate) does.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Named = Literal["gelu", "gelu_tanh", "silu", "relu", "relu2"]


@dataclass(frozen=True, slots=True)
class Xielu:
    """Apertus's activation (Huang and Schlag 2024, arXiv:2411.13010), learned in every layer."""

    alpha_p: Tensor  # (1,), as all others
    alpha_n: Tensor
    beta: Tensor
    eps: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Any shape -> same, float32 inside: below zero it is a difference of near numbers."""
        x = x.float()
        above = F.softplus(self.alpha_p) * x * x
        below = (torch.expm1(torch.minimum(x, self.eps)) - x) * (
            self.beta + F.softplus(self.alpha_n)
        )
        return torch.where(x > 0, above, below) + self.beta * x


Activation = Named | Xielu


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Any shape -> same, in the same dtype."""
    if isinstance(activation, Xielu):
        return activation.apply(x).to(x.dtype)
    if activation == "silu":
        return F.silu(x)
    if activation.startswith("relu"):
        return F.relu(x) if activation == "relu" else F.relu(x).square()
    return F.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")


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

    def apply_activated(self, x: Tensor, activation: Activation) -> Tensor:
        """(rows, in) -> activation of (rows, out)."""
        return activate(self.apply(x), activation)

    def apply_mul(self, x: Tensor, gate: Tensor) -> Tensor:
        """(rows, in), (rows, out) -> gate x (rows, out)."""
        return self.apply(x) * gate

    def apply_add(self, x: Tensor, residual: Tensor) -> Tensor:
        """(rows, in), (rows, out) -> residual + (rows, out), in the residual's dtype."""
        return residual + self.apply(x)


@dataclass(frozen=True, slots=True)
class Affine(Linear):
    """Weight and bias as they are: a linear layer (out, in), (out,), or a norm's rows (size,).

    The only kind that can be trained, or trained through.
    """

    weight: Tensor
    bias: Tensor | None = None

    def apply(self, x: Tensor) -> Tensor:
        """(rows, in) -> (rows, out)."""
        return F.linear(x, self.weight, self.bias)
