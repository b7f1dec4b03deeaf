"""Linear layers in eight bits: weights by output channel, activations by row, products in int32.

Every row has its own scale, taken from the row itself, so that no row's answer depends on its
neighbours (LLM.int8(), Dettmers et al. 2022, section 2; without its outlier columns, which models
below 6.7 B hardly have). What comes out of a GELU is sparse, its largest value 12 to 20 standard
deviations, and eight bits of it were most of the error: it takes two bytes and two products. Labels
on SIB-200's test split, pocket models, that are those of float32: 98.6 and 97.8 % with one byte,
99.2 and 99.3 % with two. What comes out of any other activation, or is multiplied by a gate, may be
negative: its high byte is signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.decoder.linear import Affine, Linear

# Passes over activations cost as much as the products: a block of this many rows stays in cache.
_BLOCK_ROWS = 512
_TYPICAL_ROWS = 512
_LARGEST = 127
_LARGEST_BYTE = 255
_BYTE = 256
# The lowest value of GELU is -0.16997 (exact) or -0.17004 (tanh): so shifted, none is negative.
_GELU_SHIFT = 0.1701


@dataclass(frozen=True, slots=True)
class Int8Affine(Linear):
    """A frozen linear layer in eight bits, for inference on a processor; activations float32."""

    weight: Tensor  # oneDNN's layout of (out, in) int8: only its operators read it
    scale: Tensor  # (out,) float32
    zero: Tensor  # (out,) zeros, as the operator wants them
    bias: Tensor  # (out,) float32
    after_gelu: bool  # whether its input is a GELU's output
    two_bytes: bool  # whether its input takes two

    @classmethod
    def pack(cls, plain: Affine, after_gelu: bool = False, two_bytes: bool = False) -> Int8Affine:
        """Quantize a plain layer.

        Args:
            plain: the layer, in any floating precision.
            after_gelu: its inputs are outputs of a GELU, and take two bytes.
            two_bytes: its inputs take two bytes in any case.
        """
        weight = plain.weight.float()
        bias = weight.new_zeros(len(weight)) if plain.bias is None else plain.bias.float()
        scale = (weight.abs().amax(dim=1) / _LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
        rounded = (weight / scale[:, None]).round_()
        if after_gelu:
            bias = bias - _GELU_SHIFT * (rounded.sum(dim=1) * scale)
        ops: Any = torch.ops.onednn
        shape = [_TYPICAL_ROWS, weight.shape[1]]
        packed = ops.qlinear_prepack(rounded.to(torch.int8), shape)
        zero = torch.zeros(weight.shape[0], dtype=torch.int64)
        return cls(packed, scale, zero, bias, after_gelu, two_bytes)

    @property
    def rows_at_once(self) -> int:
        """A block that stays in cache."""
        return _BLOCK_ROWS

    def apply(self, x: Tensor) -> Tensor:
        """(rows, in) -> (rows, out), float32."""
        _refuse_gradients(x)
        y = x.new_empty(x.shape[0], len(self.bias), dtype=torch.float32)
        for rows, block in zip(x.split(_BLOCK_ROWS), y.split(_BLOCK_ROWS), strict=True):
            products, step = self._products(rows)
            torch.add(products.mul_(step), self.bias, out=block)
        return y

    def _products(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(rows, in) -> (rows, out) in steps of each row, and what such a step is worth."""
        if self.after_gelu:
            high, low, step = _two_bytes(x)
            return self._multiply(high).add_(self._multiply(low), alpha=1 / _BYTE), step
        if self.two_bytes:
            high, low, step = _two_signed_bytes(x)
            return self._multiply(high).add_(self._multiply(low), alpha=1 / _BYTE), step
        rounded, step = _one_byte(x)
        return self._multiply(rounded), step

    def _multiply(self, rows: Tensor) -> Tensor:
        """(rows, in) of bytes -> (rows, out), float32, in steps of each row."""
        ops: Any = torch.ops.onednn
        y: Tensor = ops.qlinear_pointwise(
            *(rows, 1.0, 0, self.weight, self.scale, self.zero, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        return y


def _one_byte(x: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, in) -> int8, and what one step of each row is worth: (rows, 1)."""
    step = _steps(x.abs().amax(dim=1, keepdim=True), _LARGEST)
    return (x / step).round_().to(torch.int8), step


def _two_bytes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """GELU's outputs, shifted to be positive: high byte, low byte, and what a high step is worth.

    Both are cut off rather than rounded: the low byte holds what the high one left.
    """
    shifted = x + _GELU_SHIFT
    step = _steps(shifted.amax(dim=1, keepdim=True), _LARGEST_BYTE)
    steps = shifted.div_(step)
    high = steps.to(torch.uint8)
    low = steps.sub_(high).mul_(_BYTE).to(torch.uint8)
    return high, low, step


def _two_signed_bytes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """High byte, signed and rounded down; low byte, what that left; what a high step is worth."""
    step = _steps(x.abs().amax(dim=1, keepdim=True), _LARGEST)
    steps = x / step
    high = steps.floor()
    low = steps.sub_(high).mul_(_BYTE).to(torch.uint8)
    return high.to(torch.int8), low, step


def _steps(largest: Tensor, steps: int) -> Tensor:
    return largest.float().div_(steps).clamp_min_(torch.finfo(torch.float32).tiny)


def _refuse_gradients(x: Tensor) -> None:
    if x.requires_grad and torch.is_grad_enabled():
        raise InvalidInput(
            "weights in eight bits cannot be trained through; load the model in float32"
        )
