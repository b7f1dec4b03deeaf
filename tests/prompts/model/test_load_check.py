"""A wrong description of a model is noticed when the model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.decoder.architectures import ARCHITECTURES
from isogloss.prompts.model.decoder.linear import Affine
from isogloss.prompts.model.decoder.weights import DecoderWeights, LayerWeights
from isogloss.prompts.model.load_check import check_equal
from tests.architectures import VARIANTS, decoder_case, random_decoder
from tests.models import random_model

Change = Callable[[DecoderWeights], DecoderWeights | None]


def first(change: Callable[[LayerWeights], LayerWeights | None]) -> Change:
    """A change of the first layer; None: it has nothing to change."""

    def changed(weights: DecoderWeights) -> DecoderWeights | None:
        own = change(weights.layers[0])
        return None if own is None else replace(weights, layers=(own, *weights.layers[1:]))

    return changed


def _scaled_queries(weights: DecoderWeights) -> DecoderWeights:
    layer, rows = weights.layers[0], weights.heads * weights.head_size
    if layer.q_norm is not None:
        return replace(
            weights,
            layers=(replace(layer, q_norm=Affine(layer.q_norm.weight * 1.5)), *weights.layers[1:]),
        )
    assert isinstance(layer.qkv, Affine)
    scale = torch.ones(len(layer.qkv.weight), 1)
    scale[:rows] = 1.5
    bias = layer.qkv.bias
    qkv = Affine(layer.qkv.weight * scale, None if bias is None else bias * scale[:, 0])
    return replace(weights, layers=(replace(layer, qkv=qkv), *weights.layers[1:]))


def _shared_keys(weights: DecoderWeights) -> DecoderWeights | None:
    """Heads of queries read another head's keys: those of every second head."""
    layer, size = weights.layers[0], weights.head_size
    if weights.heads < 3 or weights.kv_heads == 1 or weights.kv_heads == weights.heads:
        return None
    assert isinstance(layer.qkv, Affine)
    q, rest = layer.qkv.weight[: weights.heads * size], layer.qkv.weight[weights.heads * size :]
    q = q.unflatten(0, (-1, weights.kv_heads, size)).transpose(0, 1).flatten(0, 2)
    qkv = replace(layer.qkv, weight=torch.cat([q, rest]))
    return replace(weights, layers=(replace(layer, qkv=qkv), *weights.layers[1:]))


FAULTS: Mapping[str, Change] = {
    "norms with another epsilon": lambda w: replace(w, norm_eps=0.3),
    "another kind of norm": lambda w: replace(w, norm="rms" if w.norm == "layer" else "layer"),
    "attention and MLP one after the other, or not": lambda w: (
        None if w.layers[0].attention_norm is None else replace(w, parallel=not w.parallel)
    ),
    "logits of another size": lambda w: replace(
        w, final_norm=replace(w.final_norm, weight=w.final_norm.weight * 1.2)
    ),
    "positions off by one": lambda w: (
        replace(w, rotations=tuple(t.roll(1, 1) for t in w.rotations))
        if w.rotations and w.head_size > 2 and any(x.rotation is not None for x in w.layers)
        else None
    ),
    "no ALiBi": lambda w: None if w.slopes is None else replace(w, slopes=None),
    "no learned positions": lambda w: None if w.positions is None else replace(w, positions=None),
    "no sinusoids": lambda w: None if w.sinusoids is None else replace(w, sinusoids=None),
    "no cap of scores": lambda w: None if w.score_cap is None else replace(w, score_cap=None),
    "another activation": first(
        lambda x: replace(x, activation="relu" if x.activation != "relu" else "gelu")
    ),
    "scores of another size": _scaled_queries,
    "keys shared by other heads": _shared_keys,
    "a layer that does not turn": first(
        lambda x: None if x.rotation is None else replace(x, rotation=None)
    ),
    "a layer without a window": first(
        lambda x: None if x.window is None else replace(x, window=None)
    ),
    "a window too many": lambda w: (
        replace(w, layers=(*w.layers[:-1], replace(w.layers[-1], window=5)))
        if w.layers[-1].window is None
        else None
    ),
    "no norm of queries": first(
        lambda x: (
            None
            if x.q_norm is None
            else replace(x, q_norm=Affine(torch.ones_like(x.q_norm.weight)))
        )
    ),
    "no norm behind attention": first(
        lambda x: None if x.attention_out_norm is None else replace(x, attention_out_norm=None)
    ),
    "gate and product exchanged": first(
        lambda x: None if x.mlp_gate is None else replace(x, mlp_gate=x.mlp_up, mlp_up=x.mlp_gate)
    ),
}


def refusal(model: Any, weights: DecoderWeights) -> str | None:
    try:
        check_equal("tiny", model, weights)
    except InvalidInput as error:
        return str(error)
    return None


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_a_right_description_passes_and_a_wrong_one_does_not(architecture: str) -> None:
    for seed in (0, 1):
        case = decoder_case(architecture, seed)
        assert refusal(case.oracle, case.backbone.weights) is None
        changed = {name: change(case.backbone.weights) for name, change in FAULTS.items()}
        present = {name: weights for name, weights in changed.items() if weights is not None}
        assert len(present) >= 5
        missed = [name for name, each in present.items() if refusal(case.oracle, each) is None]
        assert not missed, f"seed {seed}"


@pytest.mark.parametrize("fault", list(FAULTS))
def test_every_fault_is_one_for_some_architecture(fault: str) -> None:
    cases = (decoder_case(name, seed) for name in ARCHITECTURES for seed in (0, 1))
    assert any(FAULTS[fault](case.backbone.weights) is not None for case in cases)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_checkpoint_in_half_precision_passes(dtype: torch.dtype) -> None:
    for architecture in ("bloom", "xglm", "qwen3", "gemma3_text", "gpt2"):
        model = random_decoder(architecture, 1).to(dtype)
        backbone = Backbone.from_transformers(model, None, model_id="half", dtype=dtype)
        wrong = replace(backbone.weights, norm="rms" if architecture == "gpt2" else "layer")
        assert refusal(model, backbone.weights) is None
        assert (refusal(model, wrong) is None) == (backbone.weights.norm == wrong.norm)


def test_the_refusal_names_the_model_and_the_numbers() -> None:
    model = random_decoder("qwen3", 0)
    model.model.layers[0].mlp.register_forward_hook(lambda module, given, made: 1.1 * made)
    with pytest.raises(InvalidInput) as error:
        Backbone.from_transformers(model, None, model_id="my/qwen3-with-a-twist")
    for part in ("'my/qwen3-with-a-twist'", "'qwen3'", "differ by 0.", "0.001 is allowed"):
        assert part in str(error.value)


def test_the_window_of_the_configuration_is_put_back() -> None:
    model = random_decoder("gemma3_text", 0)
    before = model.config.sliding_window
    Backbone.from_transformers(model, None, model_id="tiny")
    assert model.config.sliding_window == before


@pytest.mark.parametrize(
    ("architecture", "changes", "said"),
    [
        ("cohere", {"use_qk_norm": True}, r"q_norm.weight.*choose a variant without"),
        ("llama", {"hidden_act": "mish"}, "activation 'mish' is not computed here"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "is not computed here"),
    ],
)
def test_variants_that_are_not_computed_are_refused(
    architecture: str, changes: dict[str, Any], said: str
) -> None:
    model = random_decoder(architecture, 0, **changes)
    with pytest.raises(InvalidInput, match=said) as error:
        Backbone.from_transformers(model, None, model_id="odd")
    assert "model 'odd'" in str(error.value)


def test_an_architecture_without_a_row_is_refused_with_those_that_have_one() -> None:
    model = random_model("bloom", 0)
    model.config.model_type = "opt"
    with pytest.raises(InvalidInput) as error:
        Backbone.from_transformers(model, None, model_id="facebook/opt-125m")
    for part in ("'facebook/opt-125m' is a 'opt'", *VARIANTS, "docs/how-to/models.md"):
        assert part in str(error.value)
