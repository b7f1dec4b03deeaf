"""fp8 linear layers: the arithmetic, on the CPU where torch emulates it, and the refusals."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone, label_log_probs
from isogloss.prompts.model.checkpoint import choose_dtype
from isogloss.prompts.model.cuda.fp8 import E4M3, LARGEST, Fp8Linear, check_fp8, quantize, to_fp8
from isogloss.prompts.model.decoder.linear import Affine
from tests.models import ARCHITECTURES, random_model
from tests.prompts.cuda_cases import ready

CPU = torch.device("cpu")


def random_layer(inputs: int, outputs: int) -> Affine:
    draw = torch.Generator().manual_seed(inputs + outputs)
    weight = torch.randn(outputs, inputs, generator=draw) / inputs**0.5
    return Affine(weight.bfloat16(), torch.randn(outputs, generator=draw).bfloat16())


def test_each_row_is_rounded_by_a_sixteenth_at_most() -> None:
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    x *= torch.logspace(-6, 4, 50)[:, None]  # rows of very different size
    rounded, scales = quantize(x)
    assert rounded.float().abs().amax(1).tolist() == [LARGEST] * 50
    found = rounded.float() * scales
    # e4m3 has 3 bits after the leading one; below 2^-6 of 448 it counts in fixed steps of 2^-9.
    bound = (x.abs() / 16).maximum(scales * 2**-10)
    assert bool(((found - x).abs() <= bound * 1.001).all())


def test_a_row_of_zeros_stays_zero_and_finite() -> None:
    rounded, scales = quantize(torch.zeros(2, 16))
    assert rounded.float().abs().sum() == 0
    assert bool(torch.isfinite(scales).all())


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 192), (256, 64)])
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_a_layer_is_near_the_exact_one(inputs: int, outputs: int, rows: int) -> None:
    layer = random_layer(inputs, outputs)
    assert layer.bias is not None
    x = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(rows)).bfloat16()
    found = Fp8Linear.of(layer).apply(x)
    assert (found.shape, found.dtype) == ((rows, outputs), torch.bfloat16)
    exact = x.float() @ layer.weight.float().T + layer.bias.float()
    # Two roundings of up to 1/16, 0.026 in the mean square each, on sums whose spread is about 1.
    assert float((found.float() - exact).square().mean().sqrt()) < 0.05
    # And exactly what its own rounded factors make of it, but for bf16 at the end.
    (w, sw), (a, sa) = quantize(layer.weight), quantize(x)
    rounded = (a.float() * sa) @ (w.float() * sw).T + layer.bias.float()
    torch.testing.assert_close(found.float(), rounded, atol=0.02, rtol=0.01)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_in_fp8_stays_near_float32(architecture: str) -> None:
    changes = {"bloom": {"hidden_size": 64, "n_head": 4}, "xglm": {"d_model": 64, "ffn_dim": 128}}
    heads = {} if architecture == "bloom" else {"attention_heads": 4}
    model = random_model(architecture, 2, **changes[architecture], **heads)
    whole = Backbone.from_transformers(model, None, model_id="fp32")
    rounded = Backbone.from_transformers(model, None, model_id="fp8", dtype=E4M3)
    assert (rounded.dtype, rounded.linear_dtype) == (torch.bfloat16, E4M3)
    texts, prompts = _batch(64)
    expected = label_log_probs(whole.read_suffixed(texts, prompts), whole.label_rows([5, 7, 9]))
    graphed = ready(rounded.weights, 128).read(texts, prompts)
    assert graphed is not None
    for states in (graphed, rounded.read_suffixed(texts, prompts)):
        found = label_log_probs(states, rounded.label_rows([5, 7, 9]))
        # Up to three layers of weights that are large on purpose.
        spread = float((states.float() @ rounded.weights.head.float().T).std())
        assert float((found - expected).abs().mean()) < 0.3 * spread
    with pytest.raises(InvalidInput, match="load the model again"):
        rounded.trainable_copy()


def _batch(hidden: int) -> tuple[Sequence[Sequence[int]], Sequence[Sequence[Tensor]]]:
    draw = torch.Generator().manual_seed(1)
    prompts = [[torch.randn(3, hidden, generator=draw)], [torch.randn(2, hidden, generator=draw)]]
    return [[7, 8, 9, 10], [20, 21]], prompts


def test_sizes_it_cannot_take_are_named() -> None:
    weights = Backbone.from_transformers(
        random_model("bloom", 0, hidden_size=24, n_head=3), None, model_id="tiny"
    ).weights
    with pytest.raises(InvalidInput, match=r"shape \(72, 24\).*multiples of 16"):
        to_fp8(weights)


def test_without_the_hardware_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="needs a GPU"):
        choose_dtype("fp8", CPU)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (8, 0))
    with pytest.raises(InvalidInput, match=r"capability 8\.0, fp8 needs 8\.9"):
        check_fp8(torch.device("cuda"))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    assert choose_dtype("fp8", torch.device("cuda")) == E4M3
