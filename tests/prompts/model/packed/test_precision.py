"""Packed and quantized linear layers against transformers, and against the same in float32."""

import os
import platform
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone, label_log_probs
from isogloss.prompts.model.decoder.linear import Affine, Linear
from isogloss.prompts.model.packed import native
from isogloss.prompts.model.packed import pack as pack_module
from isogloss.prompts.model.packed.backend import PackedAffine
from isogloss.prompts.model.packed.int8 import Int8Affine
from tests.models import ARCHITECTURES, Case, random_case

# Of label log-probabilities against transformers in float32. These models are hard on rounding:
# their weights are fifteen times as large as trained ones' so that attention is not flat.
# float32 differs by the order of sums; bfloat16 keeps 8 bits of each product's factors; int8 keeps
# 7 bits of the largest of a row.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.2, torch.int8: 0.5}
# Of a row alone against the same row among others: oneDNN sums in another order for other numbers
# of rows, and a sum that falls on the other side of a rounding step moves by that step.
NEIGHBOURS = {torch.float32: 1e-5, torch.bfloat16: 0.1, torch.int8: 0.1}

needs_bfloat16 = pytest.mark.skipif(
    not pack_module.can_pack(torch.bfloat16), reason="this processor's oneDNN has no bfloat16"
)
PRECISIONS = [
    torch.float32,
    pytest.param(torch.bfloat16, marks=needs_bfloat16),
    torch.int8,
]


def ragged_case(architecture: str, seed: int) -> Case:
    pick = random.Random(seed)
    texts = [pick.randint(1, 48) for _ in range(pick.choice([1, 4, 9]))]
    prompts = [[pick.randint(1, 8) for _ in range(pick.randint(0, 3))] for _ in texts]
    prompts[0] = prompts[0] or [3]
    return random_case(architecture, seed, texts, prompts)


@pytest.fixture(params=[(a, s) for a in ARCHITECTURES for s in range(4)], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return ragged_case(*request.param)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@torch.inference_mode()
def test_every_way_of_reading_stays_near_transformers(case: Case, dtype: torch.dtype) -> None:
    packed = case.backbone.for_serving(dtype)
    assert packed.linear_dtype == dtype
    assert packed.dtype == torch.float32  # of prompts, embeddings, residual stream
    kv = packed.encode(case.texts)
    for states, position in (
        (packed.read_suffixed(case.texts, case.prompts), "suffix"),
        (packed.read(kv, case.prompts), "suffix"),
        (packed.read_prefixed(case.texts, case.prompts), "prefix"),
    ):
        found = label_log_probs(states, case.rows)
        torch.testing.assert_close(
            found, case.expected(position), atol=TOLERANCES[dtype], rtol=0, msg=str
        )


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@torch.inference_mode()
def test_a_row_does_not_change_with_its_neighbours(case: Case, dtype: torch.dtype) -> None:
    packed = case.backbone.for_serving(dtype)
    together = label_log_probs(packed.read_suffixed(case.texts, case.prompts), case.rows)
    alone = [
        label_log_probs(packed.read_suffixed([text], [[prompt]]), case.rows)
        for text, own in zip(case.texts, case.prompts, strict=True)
        for prompt in own
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=NEIGHBOURS[dtype], rtol=0)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_a_row_that_overflows_stays_alone(architecture: str, dtype: torch.dtype) -> None:
    case = random_case(architecture, 3, [5, 9, 7], [[4], [4], [4]])
    broken = torch.full_like(case.prompts[1][0], float("nan"))
    packed = case.backbone.for_serving(dtype)
    states = packed.read_suffixed(case.texts, [case.prompts[0], [broken], case.prompts[2]])
    assert states.isfinite().all(dim=1).tolist() == [True, False, True]


@pytest.mark.parametrize("two_bytes", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 700])
def test_int8_rounds_by_the_steps_it_claims(rows: int, two_bytes: bool) -> None:
    draw = torch.Generator().manual_seed(rows)
    plain = Affine(torch.randn(24, 40, generator=draw), torch.randn(24, generator=draw))
    x = torch.randn(rows, 40, generator=draw) * 10.0 ** torch.randint(-3, 4, (rows, 1))
    x = F.gelu(x) if two_bytes else x
    steps = (x.amax(1) - x.amin(1)) / 255 / (128 if two_bytes else 1)
    weight_steps = plain.weight.abs().amax(1) / 127
    # Half a step of either factor at each of the 40 products (a whole one where it is cut off).
    off_x = 0.5 * steps[:, None] * (plain.weight.abs().sum(1) + 20 * weight_steps)
    off_w = 0.5 * weight_steps * x.abs().sum(1, keepdim=True)
    found = Int8Affine.pack(plain, two_bytes).apply(x)
    assert ((found - plain.apply(x)).abs() <= off_x + off_w + 1e-4).all()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="it names instructions of x86")
def test_int8_does_not_overflow_without_vnni() -> None:
    told = """
import torch
from isogloss.prompts.model.decoder.linear import Affine
from isogloss.prompts.model.packed.int8 import Int8Affine
plain, x = Affine(1 + torch.rand(64, 128)), 1 + torch.rand(40, 128)
x[:, 0] = 0
off = Int8Affine.pack(plain).apply(x) / plain.apply(x) - 1
print(off.abs().max().item())
"""
    asked = [sys.executable, "-c", told]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),  # the code that is tested, wherever it lies
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        native.NATIVE_VARIABLE: "0",
    }
    said = subprocess.run(asked, capture_output=True, env=environment, check=True, timeout=200)
    assert float(said.stdout) < 0.01


def test_a_layer_of_zeros_stays_zero() -> None:
    layer = Int8Affine.pack(Affine(torch.zeros(3, 8), torch.zeros(3)))
    assert layer.apply(torch.zeros(2, 8)).tolist() == [[0.0] * 3] * 2


def pack(layer: Affine, dtype: torch.dtype) -> Linear:
    if dtype == torch.int8:
        return Int8Affine.pack(layer)
    return PackedAffine.pack(layer, dtype)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_nothing_is_trained_through_packed_weights(dtype: torch.dtype) -> None:
    layer = pack(Affine(torch.randn(4, 8), torch.zeros(4)), dtype)
    with pytest.raises(InvalidInput, match="cannot be trained through"):
        layer.apply(torch.zeros(1, 8, requires_grad=True))


def test_packed_weights_are_neither_trained_nor_saved(tmp_path: Path) -> None:
    packed = ragged_case("bloom", 0).backbone.for_serving(torch.float32)
    with pytest.raises(InvalidInput, match="packed for serving"):
        packed.trainable_copy()
    with pytest.raises(InvalidInput, match="packed for serving"):
        packed.save_pretrained(tmp_path)
    with pytest.raises(InvalidInput, match="packed for serving"):
        packed.for_serving(torch.int8)


def test_int8_can_be_asked_for_when_a_model_is_taken_over() -> None:
    case = ragged_case("xglm", 1)
    small = Backbone.from_transformers(case.oracle, None, model_id="int8", dtype=torch.int8)
    assert (small.linear_dtype, small.dtype) == (torch.int8, torch.float32)
    assert small.fingerprint == case.backbone.fingerprint  # it names the weights, not their form
    assert isinstance(small.weights.layers[0].qkv, Int8Affine)


@pytest.mark.parametrize(
    ("exact_s", "rounded_s", "expected"),
    [(3.0, 1.0, torch.bfloat16), (1.4, 1.0, torch.float32), (0.5, 1.0, torch.float32)],
)
def test_bfloat16_is_chosen_where_it_is_worth_its_rounding(
    monkeypatch: pytest.MonkeyPatch, exact_s: float, rounded_s: float, expected: torch.dtype
) -> None:
    seconds = {torch.float32: exact_s, torch.bfloat16: rounded_s}
    monkeypatch.setattr(pack_module, "can_pack", lambda dtype: True)
    monkeypatch.setattr(PackedAffine, "pack", lambda layer, dtype: dtype)
    monkeypatch.setattr(pack_module, "_fastest_s", lambda dtype, rows: seconds[dtype])
    assert pack_module.fastest_dtype(16) == expected


def test_without_packed_bfloat16_a_model_is_cast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_module, "can_pack", lambda dtype: False)
    assert pack_module.fastest_dtype(16) == torch.float32
    case = ragged_case("bloom", 2)
    cast = case.backbone.for_serving(torch.bfloat16)
    assert isinstance(cast.weights.layers[0].qkv, Affine)
    assert cast.dtype == torch.bfloat16
    states = cast.read_suffixed(case.texts, case.prompts)
    assert states.dtype == torch.bfloat16
