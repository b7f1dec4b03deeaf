"""Every architecture against transformers' own forward pass, on tiny random configurations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from isogloss.prompts.model.backbone import Backbone, TextKV, label_log_probs
from isogloss.prompts.model.decoder import buckets
from isogloss.prompts.model.decoder.architectures import ARCHITECTURES
from isogloss.prompts.model.packed.pack import can_pack
from tests.architectures import VARIANTS, decoder_case, expected, random_decoder
from tests.models import Case, oracle_log_probs
from tests.prompts.cuda_cases import ready
from tests.prompts.model.test_loading import byte_tokenizer
from tests.some import some

TOLERANCE = 1e-4  # of label log-probabilities in fp32
SEEDS = (0, 1)
MORE = [pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 40)]

every = pytest.mark.parametrize("architecture", list(VARIANTS))
seeds = pytest.mark.parametrize("seed", [*SEEDS, *MORE])


def test_every_row_of_the_table_has_a_line_here() -> None:
    assert set(VARIANTS) | {"bloom", "xglm"} == set(ARCHITECTURES)


def near(states: Tensor, architecture: str, seed: int, position: str = "suffix") -> None:
    found = label_log_probs(states, decoder_case(architecture, seed).rows)
    wanted = expected(architecture, seed, position)
    torch.testing.assert_close(found, wanted, atol=TOLERANCE, rtol=1e-5)


@every
@seeds
@torch.no_grad()
def test_every_way_of_reading_equals_transformers(architecture: str, seed: int) -> None:
    case = decoder_case(architecture, seed)
    own, texts, prompts = case.backbone, case.texts, case.prompts
    kv = TextKV.join(own.encode(texts).split())
    graphed = ready(own.weights, 256).read(texts, prompts)
    assert graphed is not None
    packed = own.for_serving(torch.float32)
    for states in (
        own.read(kv, prompts),
        buckets.read_suffixed(own.weights, texts, prompts),
        packed.read_suffixed(texts, prompts),
        packed.read(packed.encode(texts), prompts),
        graphed,
    ):
        near(states, architecture, seed)
    near(own.read_prefixed(texts, prompts), architecture, seed, "prefix")
    near(packed.read_prefixed(texts, prompts), architecture, seed, "prefix")


@every
@torch.no_grad()
def test_a_row_does_not_change_with_its_neighbours(architecture: str) -> None:
    case = decoder_case(architecture, 0)
    together = case.backbone.read_suffixed(case.texts, case.prompts)
    alone = [
        case.backbone.read_suffixed([text], [[prompt]])
        for text, row in zip(case.texts, case.prompts, strict=True)
        for prompt in row
    ]
    torch.testing.assert_close(
        label_log_probs(together, case.rows),
        label_log_probs(torch.cat(alone), case.rows),
        atol=TOLERANCE,
        rtol=0,
    )


@every
@seeds
def test_gradients_equal_transformers(architecture: str, seed: int) -> None:
    case = decoder_case(architecture, seed, 0.15)  # larger weights multiply what float32 rounds
    prompts = [[p.clone().requires_grad_(True) for p in row] for row in case.prompts]
    kv = case.backbone.encode(case.texts)
    case.backbone.score(kv, prompts, case.rows)[:, 1].sum().backward()
    for text, row in zip(some(case.texts), prompts, strict=True):
        for prompt in row:
            wanted = oracle_gradient(case, text, prompt)
            assert prompt.grad is not None
            off = (prompt.grad - wanted).norm() / wanted.norm()
            assert off < 1e-5, f"{off:.1e}"


def oracle_gradient(case: Case, text: list[int], prompt: Tensor) -> Tensor:
    leaf = prompt.detach().clone().requires_grad_(True)
    embedded = case.oracle.get_input_embeddings()(torch.tensor([text]))
    logits = case.oracle(inputs_embeds=torch.cat([embedded, leaf[None]], dim=1)).logits
    logits[0, -1, case.labels].log_softmax(-1)[1].backward()
    assert leaf.grad is not None
    return leaf.grad


@every
def test_an_unfrozen_copy_trains_saves_and_loads(architecture: str, tmp_path: Path) -> None:
    case = decoder_case(architecture, 1)
    copy, parameters = case.backbone.trainable_copy()
    loss = copy.score(copy.encode(case.texts), case.prompts, copy.label_rows(case.labels))
    loss[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)
    with torch.no_grad():
        for parameter in parameters:
            parameter -= 1e-3 * parameter.grad  # type: ignore[operator]
    copy.save_pretrained(tmp_path)
    stored = AutoModelForCausalLM.from_pretrained(tmp_path)
    found = copy.score(copy.encode(case.texts), case.prompts, copy.label_rows(case.labels))
    pairs = [(t, p) for t, row in zip(case.texts, case.prompts, strict=True) for p in row]
    wanted = [oracle_log_probs(stored, t, p, case.labels, "suffix") for t, p in pairs]
    torch.testing.assert_close(found.detach(), torch.stack(wanted), atol=TOLERANCE, rtol=0)
    changed = Backbone.from_transformers(stored, None, model_id="changed")
    assert changed.fingerprint != case.backbone.fingerprint


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_what_is_saved_is_what_was_loaded(architecture: str, tmp_path: Path) -> None:
    case = decoder_case(architecture, 0)
    case.backbone.save_pretrained(tmp_path)
    stored = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(stored) is type(case.oracle)
    for name, tensor in some(case.oracle.state_dict().items()):
        torch.testing.assert_close(stored.state_dict()[name], tensor, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("architecture", ["bloom", "xglm", "llama", "qwen3", "phi3", "gpt_neox"])
def test_a_model_without_folded_numbers_is_saved_to_the_bit(
    architecture: str, tmp_path: Path
) -> None:
    case = decoder_case(architecture, 0)
    case.backbone.save_pretrained(tmp_path)
    stored = AutoModelForCausalLM.from_pretrained(tmp_path)
    again = Backbone.from_transformers(stored, None, model_id="again")
    assert again.fingerprint == case.backbone.fingerprint


@pytest.mark.parametrize("architecture", ["qwen3", "gemma3_text", "apertus"])
def test_checkpoints_in_half_precision_are_run_in_float32(
    architecture: str, tmp_path: Path
) -> None:
    """Gemma's module rounds its embedding's scale where its weights are rounded; ours does not."""
    model = random_decoder(architecture, 0).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    byte_tokenizer(start_token=False).save_pretrained(tmp_path)
    loaded = Backbone.load(str(tmp_path), device="cpu")
    oracle = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    prompt = torch.randn(3, loaded.hidden_size, generator=torch.Generator().manual_seed(0))
    wanted = oracle_log_probs(oracle, [7, 8, 9, 10], prompt, [11, 12, 13], "suffix")
    rows = loaded.label_rows([11, 12, 13])
    found = label_log_probs(loaded.read_suffixed([[7, 8, 9, 10]], [[prompt]]), rows)
    torch.testing.assert_close(found[0], wanted.detach(), atol=TOLERANCE, rtol=0)


@every
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.int8, 0.1)], ids=str
)
@torch.no_grad()
def test_packed_weights_stay_near(architecture: str, dtype: torch.dtype, tolerance: float) -> None:
    if dtype == torch.bfloat16 and not can_pack(dtype):
        pytest.skip("this processor's oneDNN has no bfloat16")
    case = decoder_case(architecture, 0)
    packed = case.backbone.for_serving(dtype)
    wanted = expected(architecture, 0)
    for states in (
        packed.read_suffixed(case.texts, case.prompts),
        packed.read(packed.encode(case.texts), case.prompts),
    ):
        off = (label_log_probs(states, case.rows) - wanted).norm() / wanted.norm()
        assert off < tolerance, f"{off:.2g}"


@every
@torch.no_grad()
def test_embeddings_are_what_the_first_layer_receives(architecture: str) -> None:
    model = random_decoder(architecture, 1)
    backbone = Backbone.from_transformers(model, None, model_id="random")
    wanted = model.get_input_embeddings()(torch.tensor([7, 9, 7]))
    torch.testing.assert_close(backbone.embed([7, 9, 7]), wanted)
