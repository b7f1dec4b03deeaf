"""Rows of activations in bytes, and what is computed with them around the products.

Each function makes one pass over memory where `kernels.cpp` is compiled, and several of torch's
where it is not.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from isogloss.prompts.model.decoder.linear import Activation, Affine
from isogloss.prompts.model.packed import native

_LARGEST_BYTE = 255
_BYTE = 256
# Their numbers in `kernels.cpp`.
_NORMS = {"layer": 1, "rms": 2}
_ACTIVATIONS = {"gelu": 1, "gelu_tanh": 2, "silu": 3, "relu": 4, "relu2": 5}


class Norm(NamedTuple):
    """A norm of each row, and which kind."""

    rows: Affine
    kind: Literal["layer", "rms"]
    eps: float


class Quantized(NamedTuple):
    """Rows in steps of their own: x = least + step x (high + low / 256)."""

    high: Tensor  # (rows, width) uint8
    low: Tensor | None  # (rows, width) uint8; None: rounded to `high`
    step: Tensor  # (rows, 1) float32
    least: Tensor  # (rows, 1) float32


class Products(NamedTuple):
    """A layer's products with one byte of quantized rows, and what makes its outputs of them."""

    values: Tensor  # (rows, out) float32, in steps of each row
    sums: Tensor  # (out,) what a least value of one adds
    bias: Tensor  # (out,)


def quantize(x: Tensor, two_bytes: bool) -> Quantized:
    """(rows, width), of any floating dtype -> bytes."""
    if native.library() is None:
        return quantize_by_torch(x.float(), two_bytes)
    return _quantize(x.float().contiguous(), two_bytes, None)


def quantize_normed(x: Tensor, norm: Norm) -> Quantized:
    """(rows, width) float32 -> one byte of each number of the normed rows; needs the kernels."""
    return _quantize(x.contiguous(), False, norm)


def _quantize(x: Tensor, two_bytes: bool, norm: Norm | None) -> Quantized:
    made = _like(x, two_bytes)
    kind, weight, bias, eps = 0, None, None, 0.0
    if norm is not None:
        kind, weight, bias, eps = _NORMS[norm.kind], norm.rows.weight, norm.rows.bias, norm.eps
    native.run("quantize", x, *x.shape, kind, weight, bias, eps, *made)
    return made


def quantize_by_torch(x: Tensor, two_bytes: bool) -> Quantized:
    """(rows, width) float32 -> bytes; the second holds what the first, rounded down, has left."""
    least, most = x.aminmax(dim=1, keepdim=True)
    step = ((most - least) / _LARGEST_BYTE).clamp_min_(torch.finfo(torch.float32).tiny)
    steps = (x - least).div_(step)
    if not two_bytes:
        return Quantized(steps.round_().to(torch.uint8), None, step, least)
    high = steps.to(torch.uint8)
    low = steps.sub_(high).mul_(_BYTE).to(torch.uint8)
    return Quantized(high, low, step, least)


def can_activate(activation: Activation) -> bool:
    """Whether the kernels have it."""
    return isinstance(activation, str) and activation in _ACTIVATIONS


def quantize_activated(
    products: Products, gated: Products | None, x: Quantized, activation: Activation
) -> Quantized:
    """Two bytes of what an MLP's first layers give; needs the kernels.

    Args:
        products: of the layer that is activated; written over.
        gated: of the layer that is multiplied by it.
        x: the rows of both.
        activation: one that `can_activate`.
    """
    assert isinstance(activation, str)
    made = _like(products.values, two_bytes=True)
    other = (None, None, None) if gated is None else gated
    native.run(
        "activate",
        *(products.values, other[0], *products.values.shape, _ACTIVATIONS[activation]),
        *(x.step, x.least, products.sums, products.bias, other[1], other[2], *made),
    )
    return made


def finish_rows(
    high: Products, low: Tensor | None, x: Quantized, residual: Tensor | None, y: Tensor
) -> None:
    """Write a layer's outputs, plus a residual if there is one, to `y`: (rows, out) float32.

    `low` are the products with the low bytes of `x`, if it has any.
    """
    if native.library() is None:
        finish_by_torch(high, low, x, residual, y)
        return
    residual = None if residual is None else residual.float().contiguous()
    values, sums, bias = high
    native.run("add", values, low, *values.shape, x.step, x.least, sums, bias, residual, y)


def finish_by_torch(
    high: Products, low: Tensor | None, x: Quantized, residual: Tensor | None, y: Tensor
) -> None:
    """As `finish_rows`; the products are written over."""
    if low is not None:
        high.values.add_(low, alpha=1 / _BYTE)
    torch.addcmul(high.bias, high.values, x.step, out=y).addcmul_(x.least, high.sums)
    if residual is not None:
        y += residual


def _like(x: Tensor, two_bytes: bool) -> Quantized:
    """Room for the bytes of these rows."""
    high = torch.empty(x.shape, dtype=torch.uint8)
    low = torch.empty(x.shape, dtype=torch.uint8) if two_bytes else None
    return Quantized(high, low, x.new_empty(len(x), 1), x.new_empty(len(x), 1))
