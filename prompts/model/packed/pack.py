"""In which dtype serving runs the linear layers, and bringing them to it.

Embeddings, norms and the residual stream stay in float32 whatever the layers are in: they cost
little, and their rounding would add up from layer to layer.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.cuda.fp8 import E4M3, to_fp8
from isogloss.prompts.model.decoder.linear import Affine, Linear
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights, cast, plain
from isogloss.prompts.model.packed import native
from isogloss.prompts.model.packed.backend import PackedAffine
from isogloss.prompts.model.packed.choice import kept_choice
from isogloss.prompts.model.packed.int8 import Int8Affine

# How much faster bfloat16 must be to be worth its rounding: a processor with matrix units for it
# (AMX) is five to eight times as fast, one that only emulates it is slower than in float32.
_WORTH_ROUNDING = 1.5
_PROBE_ROWS = 256
_PROBE_S = 0.05


def for_serving(
    weights: DecoderWeights, loaded: torch.dtype, wanted: torch.dtype | None
) -> tuple[DecoderWeights, torch.dtype]:
    """The weights with linear layers packed for the device they are on, and these layers' dtype.

    Args:
        weights: as loaded.
        loaded: the dtype of their linear layers.
        wanted: as `Backbone.for_serving` has it.

    Raises:
        InvalidInput: int8 on a GPU, or weights that were packed before.
    """
    if wanted == E4M3:
        return to_fp8(weights), E4M3
    if weights.device.type != "cpu":
        if wanted == torch.int8:
            raise InvalidInput("dtype 'int8' is for processors; on a GPU use bfloat16")
        return weights, loaded
    chosen = wanted or auto_dtype(weights.hidden_size)
    return pack(weights, chosen), chosen


def pack(weights: DecoderWeights, dtype: torch.dtype) -> DecoderWeights:
    """The same backbone with its linear layers packed in a dtype, for inference only.

    Args:
        weights: as loaded, on the CPU.
        dtype: float32, bfloat16, float16 or int8.

    Raises:
        InvalidInput: the weights were packed before.
    """
    if dtype != torch.int8 and not can_pack(dtype):
        return cast(weights, torch.device("cpu"), dtype)
    native.library()  # compiled while a model is loaded, and not under a first request
    return replace(weights, layers=tuple(_pack_layer(each, dtype) for each in weights.layers))


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this processor's oneDNN runs packed layers in a dtype."""
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        PackedAffine.pack(_random_layer(8), dtype).apply(torch.zeros(1, 8))
    except RuntimeError:
        return False
    return True


def auto_dtype(hidden_size: int) -> torch.dtype:
    """What `auto` is on this processor for layers of a width: `fastest_dtype`, once for all."""
    return kept_choice(hidden_size, fastest_dtype)


def fastest_dtype(hidden_size: int) -> torch.dtype:
    """bfloat16 where this processor gains from it on layers of this width, else float32.

    Measured now, in a tenth of a second, since no list of processors stays complete.
    """
    if not can_pack(torch.bfloat16) or not can_pack(torch.float32):
        return torch.float32
    layer, rows = _random_layer(hidden_size), torch.randn(_PROBE_ROWS, hidden_size)
    exact, rounded = (PackedAffine.pack(layer, each) for each in (torch.float32, torch.bfloat16))
    gain = _fastest_s(exact, rows) / _fastest_s(rounded, rows)
    return torch.bfloat16 if gain >= _WORTH_ROUNDING else torch.float32


def _fastest_s(layer: PackedAffine, rows: Tensor) -> float:
    """Seconds of the fastest run: what else the machine does only ever slows it down."""
    fastest_s, until_s = float("inf"), time.perf_counter() + _PROBE_S
    while (begun_s := time.perf_counter()) < until_s:
        layer.apply(rows)
        fastest_s = min(fastest_s, time.perf_counter() - begun_s)
    return fastest_s


def _random_layer(width: int) -> Affine:
    return Affine(torch.randn(width, width), torch.zeros(width))


def _pack_layer(layer: LayerWeights, dtype: torch.dtype) -> LayerWeights:
    def packed(linear: Linear, two_bytes: bool = False) -> Linear:
        if dtype == torch.int8:
            return Int8Affine.pack(plain(linear), two_bytes)
        return PackedAffine.pack(plain(linear), dtype)

    return replace(
        layer,
        qkv=packed(layer.qkv),
        attention_out=packed(layer.attention_out),
        mlp_up=packed(layer.mlp_up),
        mlp_down=packed(layer.mlp_down, two_bytes=True),
        mlp_gate=None if layer.mlp_gate is None else packed(layer.mlp_gate),
    )
