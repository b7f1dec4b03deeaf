"""Linear layers in eight bits: weights by output channel, activations by row, products in int32.

Every row has its own scale, taken from the row itself, so that no row's answer depends on its
neighbours (LLM.int8(), Dettmers et al. 2022, section 2; without its outlier columns, which models
below 6.7 B hardly have). A row's bytes count steps up from its least value, so they are never
negative: oneDNN multiplies unsigned by signed bytes on every processor, signed by signed ones only
with matrix units, and elsewhere in a plain loop that takes hundreds of times as long.

What comes out of an activation is sparse, its largest value 12 to 20 standard deviations, and eight
bits of it were most of the error: it takes two bytes and two products. Labels on SIB-200's test
split, pocket models, that are those of float32: 98.6 and 97.8 % with one byte, 99.2 and 99.3 % with
two.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.decoder.linear import Affine, Linear
from isogloss.prompts.model.packed.byte_rows import Products, Quantized, finish_rows, quantize

# Passes over activations cost as much as the products: a block of this many rows stays in cache.
_BLOCK_ROWS = 512
_TYPICAL_ROWS = 512
_LARGEST = 127
_LARGEST_OF_HALF = 63


@dataclass(frozen=True, slots=True)
class Int8Affine(Linear):
    """A frozen linear layer in eight bits, for inference on a processor; activations float32."""

    weight: Tensor  # oneDNN's layout of (out, in) int8: only its operators read it
    scale: Tensor  # (out,) float32
    zero: Tensor  # (out,) zeros, as the operator wants them
    sums: Tensor  # (out,) float32: of each output's quantized weights, what a row's least adds
    bias: Tensor  # (out,) float32
    two_bytes: bool  # whether its input takes two

    @classmethod
    def pack(cls, plain: Affine, two_bytes: bool = False) -> Int8Affine:
        """Quantize a plain layer, in any floating precision, for inputs of one byte or two."""
        weight = plain.weight.float()
        bias = weight.new_zeros(len(weight)) if plain.bias is None else plain.bias.float()
        most = weight.abs().amax(dim=1)
        scale = (most / _weight_steps()).clamp_min(torch.finfo(torch.float32).tiny)
        rounded = (weight / scale[:, None]).round_()
        zero = torch.zeros(weight.shape[0], dtype=torch.int64)
        return cls(_packed(rounded), scale, zero, rounded.sum(dim=1) * scale, bias, two_bytes)

    @property
    def rows_at_once(self) -> int:
        """A block that stays in cache."""
        return _BLOCK_ROWS

    def apply(self, x: Tensor) -> Tensor:
        """(rows, in) -> (rows, out), float32."""
        return self._run(x, None)

    def apply_add(self, x: Tensor, residual: Tensor) -> Tensor:
        """(rows, in), (rows, out) -> residual + (rows, out), float32."""
        return self._run(x, residual)

    def _run(self, x: Tensor, residual: Tensor | None) -> Tensor:
        refuse_gradients(x)
        y = x.new_empty(x.shape[0], len(self.bias), dtype=torch.float32)
        for begin in range(0, len(x), _BLOCK_ROWS):
            rows = slice(begin, begin + _BLOCK_ROWS)
            block = quantize(x[rows], self.two_bytes)
            self.write(block, None if residual is None else residual[rows], y[rows])
        return y

    def write(self, x: Quantized, residual: Tensor | None, y: Tensor) -> None:
        """Rows, (rows, out) -> residual + (rows, out), float32, written to `y`."""
        low = None if x.low is None else self._multiply(x.low)
        finish_rows(self.products(x), low, x, residual, y)

    def products(self, x: Quantized) -> Products:
        """With the high bytes of (rows, in)."""
        return Products(self._multiply(x.high), self.sums, self.bias)

    def _multiply(self, rows: Tensor) -> Tensor:
        """(rows, in) of uint8 -> (rows, out), float32, in steps of each row."""
        return _multiplied(rows, self.weight, self.scale, self.zero)


def _packed(weight: Tensor) -> Tensor:
    """(out, in) of whole numbers within a signed byte -> oneDNN's layout."""
    ops: Any = torch.ops.onednn
    y: Tensor = ops.qlinear_prepack(weight.to(torch.int8), [_TYPICAL_ROWS, weight.shape[1]])
    return y


def _multiplied(rows: Tensor, weight: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    ops: Any = torch.ops.onednn
    y: Tensor = ops.qlinear_pointwise(
        *(rows, 1.0, 0, weight, scale, zero, None), *(1.0, 0, torch.float32, "none", [], "")
    )
    return y


@functools.cache
def _weight_steps() -> int:
    """A weight's largest value in steps: 127, or as much as this processor adds without overflow.

    Those without VNNI add two products in 16 bits, which is tried now.
    """
    width = 64
    rows = torch.full((1, width), 255, dtype=torch.uint8)
    weight = _packed(torch.full((width, width), _LARGEST))
    sums = _multiplied(rows, weight, torch.ones(width), torch.zeros(width, dtype=torch.int64))
    return _LARGEST if bool((sums == width * 255 * _LARGEST).all()) else _LARGEST_OF_HALF


def refuse_gradients(x: Tensor) -> None:
    """Raises InvalidInput if gradients of these rows are asked for."""
    if x.requires_grad and torch.is_grad_enabled():
        raise InvalidInput(
            "weights in eight bits cannot be trained through; load the model in float32"
        )
