"""Linear layers in 8-bit floating point, for GPUs that multiply it: twice the rate of bf16.

Weights are e4m3 with a scale for each output, made once; activations are e4m3 with a scale for each
row, made on the way in. Products are summed in float32 and leave in bf16. Norms, attention, biases
and what is added up from layer to layer stay bf16. e4m3 keeps 3 bits of mantissa: a rounding error
of up to 1/16 in each factor, independent from one to the next, so that a sum of 1,024 products is
off by two or three per cent of its own spread. Whether labels stay the same is to be measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.decoder.linear import Affine, Linear
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights, plain

E4M3 = torch.float8_e4m3fn
LARGEST = torch.finfo(E4M3).max  # 448
OLDEST_CAPABILITY = (8, 9)
MULTIPLE = 16
"""What the sizes of a layer must be divisible by."""


@dataclass(frozen=True, slots=True)
class Fp8Linear(Linear):
    """A linear layer with weights in fp8."""

    rows: Tensor  # (out, in), e4m3
    scales: Tensor  # (out,), float32
    bias: Tensor | None  # (out,), bf16

    @classmethod
    def of(cls, layer: Affine) -> Fp8Linear:
        """Round a layer's weights."""
        rows, scales = quantize(layer.weight)
        return cls(rows, scales[:, 0].contiguous(), layer.bias)

    def apply(self, x: Tensor) -> Tensor:
        """(rows, in) bf16 -> (rows, out) bf16."""
        rows, scales = quantize(x)
        # The second factor is to lie column by column, which is what a transposed weight does.
        # Sums are kept in float32 throughout: the quicker way of Hopper drops bits on long sums.
        return torch._scaled_mm(
            rows,
            self.rows.t(),
            scale_a=scales,
            scale_b=self.scales[None, :],
            bias=self.bias,
            out_dtype=x.dtype,
            use_fast_accum=False,
        )


def quantize(x: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, in) -> e4m3 of the same shape and scales (rows, 1) float32: x is their product.

    Each row's largest value becomes e4m3's largest. A row of zeros stays one.
    """
    largest = x.abs().amax(dim=-1, keepdim=True).float()
    scales = largest.clamp(min=torch.finfo(torch.float32).tiny * LARGEST) / LARGEST
    return (x.float() / scales).clamp(-LARGEST, LARGEST).to(E4M3), scales


def to_fp8(weights: DecoderWeights) -> DecoderWeights:
    """The same weights with every linear layer in fp8; they can no longer be trained or saved.

    Raises:
        InvalidInput: sizes that the GPU's instructions do not take, or weights packed before.
    """
    return replace(weights, layers=tuple(_layer(layer) for layer in weights.layers))


def _layer(layer: LayerWeights) -> LayerWeights:
    return replace(
        layer,
        qkv=_rounded(layer.qkv),
        attention_out=_rounded(layer.attention_out),
        mlp_up=_rounded(layer.mlp_up),
        mlp_down=_rounded(layer.mlp_down),
        mlp_gate=None if layer.mlp_gate is None else _rounded(layer.mlp_gate),
    )


def _rounded(layer: Linear) -> Fp8Linear:
    shape = tuple(plain(layer).weight.shape)
    if any(size % MULTIPLE for size in shape):
        raise InvalidInput(
            f"dtype 'fp8': a linear layer of shape {shape}; sizes must be multiples of {MULTIPLE}: "
            "use bfloat16"
        )
    return Fp8Linear.of(plain(layer))


def check_fp8(device: torch.device) -> None:
    """Refuse fp8 where there are no instructions for it.

    Raises:
        InvalidInput: no GPU, or one older than Ada and Hopper.
    """
    if device.type != "cuda":
        raise InvalidInput("dtype 'fp8' needs a GPU; on the CPU use float32, bfloat16 or int8")
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST_CAPABILITY:
        raise InvalidInput(
            f"dtype 'fp8': this GPU has compute capability {capability[0]}.{capability[1]}, fp8 "
            f"needs {OLDEST_CAPABILITY[0]}.{OLDEST_CAPABILITY[1]} (Ada, Hopper or later): use "
            "bfloat16"
        )
