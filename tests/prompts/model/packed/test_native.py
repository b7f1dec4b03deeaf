"""The compiled kernels against torch; and what happens where nothing can be compiled."""

import logging
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from isogloss.prompts.model.backbone import label_log_probs
from isogloss.prompts.model.decoder.linear import Affine, Named, activate
from isogloss.prompts.model.packed import byte_rows, fused, native
from isogloss.prompts.model.packed.byte_rows import Norm, Products, Quantized
from tests.models import random_case

SHAPES = [(1, 1), (1, 40), (3, 37), (130, 1024), (257, 515)]

needs_kernels = pytest.mark.skipif(
    native.library() is None, reason="no C++ compiler, or ISOGLOSS_NATIVE=0"
)


def drawn(rows: int, width: int) -> Tensor:
    """Rows of very different sizes."""
    torch.manual_seed(rows * width)
    return torch.randn(rows, width) * 10.0 ** torch.randint(-3, 3, (rows, 1))


def value(x: Quantized) -> Tensor:
    low = torch.zeros(()) if x.low is None else (x.low + 0.5) / 256
    return x.least + x.step * (x.high + low)


@needs_kernels
@pytest.mark.parametrize("two_bytes", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_become_the_bytes_that_torch_makes_of_them(
    shape: tuple[int, int], two_bytes: bool
) -> None:
    x = drawn(*shape)
    found, expected = byte_rows.quantize(x, two_bytes), byte_rows.quantize_by_torch(x, two_bytes)
    assert torch.equal(found.least, expected.least)
    assert torch.equal(found.step, expected.step)
    off = (found.high.int() - expected.high.int()).abs()
    assert off.max() <= (0 if two_bytes else 1)  # a tie may fall to either side
    assert off.count_nonzero() <= off.numel() / 1000
    assert (found.low is None) == (not two_bytes)
    if found.low is not None and expected.low is not None:
        assert torch.equal(found.low, expected.low)


@needs_kernels
@pytest.mark.parametrize("kind", ["layer", "rms"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_norm_is_computed_while_its_rows_are_quantized(shape: tuple[int, int], kind: str) -> None:
    x, weight, bias = drawn(*shape), torch.randn(shape[1]), torch.randn(shape[1])
    if kind == "layer":
        expected = F.layer_norm(x, shape[1:], weight, bias, 1e-5)
        found = byte_rows.quantize_normed(x, Norm(Affine(weight, bias), "layer", 1e-5))
    else:
        expected = F.rms_norm(x, shape[1:], weight, 1e-5)
        found = byte_rows.quantize_normed(x, Norm(Affine(weight), "rms", 1e-5))
    assert (
        (found.high * found.step + found.least - expected).abs().le(0.51 * found.step + 1e-5).all()
    )


@needs_kernels
@pytest.mark.parametrize("is_gated", [False, True])
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "silu", "relu", "relu2"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_activation_and_gate_are_computed_on_the_way_to_bytes(
    shape: tuple[int, int], activation: Named, is_gated: bool
) -> None:
    x = byte_rows.quantize(drawn(*shape), two_bytes=False)
    values = [torch.randn(shape) * 255 for _ in range(2)]
    layers = [Products(each, torch.randn(shape[1]), torch.randn(shape[1])) for each in values]
    first, gated = (each.values * x.step + x.least * each.sums + each.bias for each in layers)
    expected = activate(first, activation) * (gated if is_gated else 1)
    found = byte_rows.quantize_activated(layers[0], layers[1] if is_gated else None, x, activation)
    # Half a step of the low byte, and what float32 and the approximations are off.
    allowed = found.step / 500 + 1e-5 * expected.abs().amax(1, keepdim=True) + 1e-6
    assert ((value(found) - expected).abs() <= allowed).all()


@needs_kernels
@pytest.mark.parametrize("two_bytes", [False, True])
@pytest.mark.parametrize("is_residual", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_are_finished_as_torch_finishes_them(
    shape: tuple[int, int], is_residual: bool, two_bytes: bool
) -> None:
    x = byte_rows.quantize(drawn(shape[0], 8), two_bytes)
    high, low = torch.randn(shape), torch.randn(shape) if two_bytes else None
    residual = torch.randn(shape) if is_residual else None
    products = Products(high, torch.randn(shape[1]), torch.randn(shape[1]))
    found, expected = torch.empty(shape), torch.empty(shape)
    byte_rows.finish_rows(products, low, x, residual, found)
    byte_rows.finish_by_torch(products, low, x, residual, expected)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@needs_kernels
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_no_number_stays_none_and_alone(broken: float) -> None:
    x = drawn(3, 40)
    x[1, 17] = broken
    found = byte_rows.quantize(x, two_bytes=False)
    products = Products(torch.randn(3, 5), torch.randn(5), torch.randn(5))
    y = torch.empty(3, 5)
    byte_rows.finish_rows(products, None, found, None, y)
    assert y.isfinite().all(1).tolist() == [True, False, True]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, in which nothing was tried yet."""
    monkeypatch.setenv("ISOGLOSS_CACHE", str(tmp_path))
    native.library.cache_clear()
    yield tmp_path
    native.library.cache_clear()


@needs_kernels
def test_what_was_compiled_is_used_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.library() is not None
    (made,) = (cache / "kernels").iterdir()
    before = made.stat().st_mtime_ns
    monkeypatch.setattr(native, "_compile", lambda command, path: pytest.fail("compiled twice"))
    native.library.cache_clear()
    assert native.library() is not None
    assert made.stat().st_mtime_ns == before


def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)


def broken_source(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(command: list[str]) -> None:
        raise subprocess.CalledProcessError(1, command, stderr=b"kernels.cpp:1: error: no such\n")

    monkeypatch.setattr(native, "_run", refuse)


@pytest.mark.parametrize(
    ("lack", "said"), [(no_compiler, "no C++ compiler"), (broken_source, "error: no such")]
)
@torch.inference_mode()
def test_where_nothing_compiles_torch_does_it_and_one_line_says_so(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lack: object,
    said: str,
) -> None:
    assert callable(lack)
    lack(monkeypatch)
    case = random_case("bloom", 5, [5, 9], [[4], [4]])
    with caplog.at_level(logging.INFO, logger=native.__name__):
        packed = case.backbone.for_serving(torch.int8)
        states = packed.read_suffixed(case.texts, case.prompts)
    assert [said in record.message for record in caplog.records] == [True]
    found = label_log_probs(states, case.rows)
    torch.testing.assert_close(found, case.expected("suffix"), atol=0.5, rtol=0)
    assert not list(cache.rglob("*.so"))


@needs_kernels
def test_nobody_else_can_put_code_among_the_kernels(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = cache / "kernels"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    assert native.library() is not None
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    native.library.cache_clear()
    with caplog.at_level(logging.INFO, logger=native.__name__):
        assert native.library() is None
    assert "is another user's" in caplog.text


def test_the_kernels_can_be_switched_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.NATIVE_VARIABLE, "0")
    assert native.library() is None


@needs_kernels
@pytest.mark.parametrize("architecture", ["bloom", "xglm", "qwen3", "llama"])
@torch.inference_mode()
def test_a_model_answers_as_it_does_on_torch_alone(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = random_case(architecture, 7, [5, 1, 31, 9], [[4], [2], [7, 3], [4]])
    packed = case.backbone.for_serving(torch.int8)
    assert fused.fits(packed.weights, packed.weights.layers[0])
    found = label_log_probs(packed.read_suffixed(case.texts, case.prompts), case.rows)
    monkeypatch.setattr(native, "library", lambda: None)
    expected = label_log_probs(packed.read_suffixed(case.texts, case.prompts), case.rows)
    # A tie that falls to the other side moves what follows by a step.
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0)
    assert torch.equal(found.argmax(1), expected.argmax(1))
