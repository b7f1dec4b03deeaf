"""The attention kernel against torch's, over packed sequences of every shape."""

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from isogloss.prompts.model.packed import native
from isogloss.prompts.model.packed.attention import SequenceAttention
from isogloss.prompts.model.packed.sequences import Layout
from tests.models import random_case

pytestmark = pytest.mark.skipif(
    native.library() is None, reason="no C++ compiler, or ISOGLOSS_NATIVE=0"
)

TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 0.05}


def layout(seed: int) -> Layout:
    pick = random.Random(seed)
    texts = [pick.choice([1, 2, 5, 40, 40, 77]) for _ in range(pick.choice([1, 6]))]
    prompts = [[pick.choice([1, 3, 10]) for _ in range(pick.randint(0, 4))] for _ in texts]
    prompts[0] = prompts[0] or [3]
    return Layout.of(texts, prompts)


def every_row(
    architecture: str, own: Layout, window: int | None, qkv_dtype: torch.dtype
) -> tuple[SequenceAttention, Tensor]:
    """Attention of a small model's first layer, and a projection with three rows to spare."""
    weights = random_case(architecture, 1, [3], [[2]]).backbone.weights
    width = (weights.heads + 2 * weights.kv_heads) * weights.head_size
    qkv = torch.randn(own.groups[-1].rows.stop + 3, width).to(qkv_dtype)
    return SequenceAttention(own, weights).of(replace(weights.layers[0], window=window)), qkv


@pytest.mark.parametrize("dtype", list(TOLERANCES), ids=str)
@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("architecture", ["bloom", "xglm", "qwen3"])
@pytest.mark.parametrize("seed", range(4))
@torch.inference_mode()
def test_sequences_attend_as_torch_lets_them(
    seed: int,
    architecture: str,
    window: int | None,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attention, qkv = every_row(architecture, layout(seed), window, dtype)
    found = attention.every_row(qkv)
    monkeypatch.setattr(native, "library", lambda: None)
    expected = attention.every_row(qkv)
    torch.testing.assert_close(found, expected, atol=TOLERANCES[dtype], rtol=TOLERANCES[dtype])
    assert not found[-3:].any()


@torch.inference_mode()
def test_a_sequence_attends_alone_to_the_last_bit() -> None:
    attention, qkv = every_row("bloom", Layout.of([9, 33, 5], [[4], [4], [4]]), None, torch.float32)
    alone, _ = every_row("bloom", Layout.of([33], [[4]]), None, torch.float32)
    assert torch.equal(attention.every_row(qkv)[:37], alone.every_row(qkv[:40].clone())[:37])


@torch.inference_mode()
def test_what_is_no_number_stays_in_its_prompt() -> None:
    attention, qkv = every_row("xglm", Layout.of([9], [[4, 4]]), None, torch.float32)
    qkv[9:13] = float("nan")
    finite = attention.every_row(qkv)[:17].isfinite().all(dim=1).tolist()
    assert finite == [True] * 9 + [False] * 4 + [True] * 4


def test_gradients_take_torchs_way() -> None:
    attention, qkv = every_row("xglm", Layout.of([9], [[4]]), None, torch.float32)
    qkv.requires_grad_()
    attention.every_row(qkv).square().sum().backward()
    assert qkv.grad is not None
