"""The forward pass against transformers' own, on random configurations of both architectures."""

import random
from pathlib import Path

import pytest
import torch

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone, TextKV, label_log_probs
from tests.models import ARCHITECTURES, Case, oracle_log_probs, random_case, random_model
from tests.some import some

TOLERANCE = 1e-4  # of label log-probabilities in fp32


def ragged(seed: int) -> tuple[list[int], list[list[int]]]:
    """Lengths of a ragged batch: 1 to 9 texts, 0 to 3 prompts each, at least one prompt."""
    pick = random.Random(seed)
    texts = [pick.randint(1, 56) for _ in range(pick.randint(1, 9))]
    prompts = [[pick.randint(1, 8) for _ in range(pick.randint(0, 3))] for _ in texts]
    prompts[0] = prompts[0] or [3]
    return texts, prompts


@pytest.fixture(params=[(a, s) for a in ARCHITECTURES for s in range(8)], ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    architecture, seed = request.param
    return random_case(architecture, seed, *ragged(seed))


def test_suffix_over_shared_text_equals_transformers(case: Case) -> None:
    kv = case.backbone.encode(case.texts)
    found = case.backbone.score(kv, case.prompts, case.rows)
    torch.testing.assert_close(found, case.expected(), atol=TOLERANCE, rtol=0)


def test_suffix_in_one_pass_equals_transformers(case: Case) -> None:
    states = case.backbone.read_suffixed(case.texts, case.prompts)
    found = label_log_probs(states, case.rows)
    torch.testing.assert_close(found, case.expected(), atol=TOLERANCE, rtol=0)


def test_prefix_equals_transformers(case: Case) -> None:
    states = case.backbone.read_prefixed(case.texts, case.prompts)
    found = label_log_probs(states, case.rows)
    torch.testing.assert_close(found, case.expected("prefix"), atol=TOLERANCE, rtol=0)


def test_a_row_does_not_change_with_its_neighbours(case: Case) -> None:
    together = label_log_probs(case.backbone.read_suffixed(case.texts, case.prompts), case.rows)
    alone = [
        label_log_probs(case.backbone.read_suffixed([text], [[prompt]]), case.rows)
        for text, own in zip(case.texts, case.prompts, strict=True)
        for prompt in own
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_scoring_leaves_the_texts_keys_and_values_as_they_were(case: Case) -> None:
    kv = case.backbone.encode(case.texts)
    first = case.backbone.score(kv, case.prompts, case.rows)
    again = case.backbone.score(kv, case.prompts, case.rows)
    assert torch.equal(first, again)


def test_selected_texts_score_as_in_the_whole_batch(case: Case) -> None:
    blocks = case.backbone.encode(case.texts).split()
    assert [block.shape[3] for block in blocks] == [len(text) for text in case.texts]
    chosen = [0, len(case.texts) - 1, 0]
    prompts = [[torch.ones(2, case.backbone.hidden_size)]] * 3
    kv = TextKV.join([blocks[index] for index in chosen])
    found = case.backbone.score(kv, prompts, case.rows)
    texts = [case.texts[index] for index in chosen]
    expected = label_log_probs(case.backbone.read_suffixed(texts, prompts), case.rows)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("batch", [1, 5])
def test_texts_and_prompts_at_the_maximum_length(architecture: str, batch: int) -> None:
    case = random_case(architecture, 3, [56] * batch, [[8]] * batch)
    assert (case.backbone.max_text_tokens, case.backbone.max_prompt_length) == (56, 8)
    for states, position in (
        (case.backbone.read_suffixed(case.texts, case.prompts), "suffix"),
        (case.backbone.read_prefixed(case.texts, case.prompts), "prefix"),
    ):
        found = label_log_probs(states, case.rows)
        torch.testing.assert_close(found, case.expected(position), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.bfloat16, 0.5), (torch.float16, 0.06)], ids=str
)
def test_half_precision_stays_near_float32(
    architecture: str, dtype: torch.dtype, tolerance: float
) -> None:
    model = random_model(architecture, 2)
    whole = Backbone.from_transformers(model, None, model_id="fp32")
    half = Backbone.from_transformers(model, None, model_id="half", dtype=dtype)
    case = random_case(architecture, 2, [40, 3, 17], [[4], [1, 6], [2]])
    expected = label_log_probs(whole.read_suffixed(case.texts, case.prompts), case.rows)
    rows = half.label_rows(case.labels)
    kv = half.encode(case.texts)
    for states in (half.read(kv, case.prompts), half.read_suffixed(case.texts, case.prompts)):
        assert states.dtype == dtype
        found = label_log_probs(states, rows)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_reach_the_prompts_and_equal_transformers(architecture: str) -> None:
    case = random_case(architecture, 5, [20, 7], [[3], [5]])
    prompts = [[p.clone().requires_grad_(True) for p in own] for own in case.prompts]
    kv = case.backbone.encode(case.texts)
    case.backbone.score(kv, prompts, case.rows)[:, 1].sum().backward()
    for text, (prompt,) in zip(some(case.texts), prompts, strict=True):
        expected = _oracle_gradient(case, text, prompt)
        assert prompt.grad is not None
        torch.testing.assert_close(prompt.grad, expected, atol=1e-4, rtol=1e-4)


def _oracle_gradient(case: Case, text: list[int], prompt: torch.Tensor) -> torch.Tensor:
    leaf = prompt.detach().clone().requires_grad_(True)
    embedded = case.oracle.get_input_embeddings()(torch.tensor([text]))
    logits = case.oracle(inputs_embeds=torch.cat([embedded, leaf[None]], dim=1)).logits
    logits[0, -1, case.labels].log_softmax(-1)[1].backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_unfrozen_copy_trains_saves_and_loads(architecture: str, tmp_path: Path) -> None:
    case = random_case(architecture, 4, [12, 5], [[2], [3]])
    copy, parameters = case.backbone.trainable_copy()
    loss = copy.score(copy.encode(case.texts), case.prompts, copy.label_rows(case.labels))
    loss[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)
    assert not any(t.requires_grad for t in [case.rows])
    with torch.no_grad():
        for parameter in parameters:
            parameter -= 0.01 * parameter.grad  # type: ignore[operator]
    copy.save_pretrained(tmp_path)
    from transformers import AutoModelForCausalLM

    stored = AutoModelForCausalLM.from_pretrained(tmp_path)
    found = copy.score(copy.encode(case.texts), case.prompts, copy.label_rows(case.labels))
    expected = torch.stack(
        [
            oracle_log_probs(stored, text, own[0], case.labels, "suffix")
            for text, own in zip(case.texts, case.prompts, strict=True)
        ]
    )
    torch.testing.assert_close(found.detach(), expected, atol=TOLERANCE, rtol=0)
    changed = Backbone.from_transformers(stored, None, model_id="changed")
    assert changed.fingerprint != case.backbone.fingerprint


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_embeddings_are_what_the_first_layer_receives(architecture: str) -> None:
    model = random_model(architecture, 1)
    backbone = Backbone.from_transformers(model, None, model_id="random")
    expected = model.get_input_embeddings()(torch.tensor([7, 9, 7]))
    torch.testing.assert_close(backbone.embed([7, 9, 7]), expected)


@pytest.mark.parametrize(
    ("texts", "prompts", "complaint"),
    [
        ([[]], [[(2, 0)]], "texts[0] has 0 tokens"),
        ([[7] * 57], [[(2, 0)]], "texts[0] has 57 tokens"),
        ([[7]], [[(2, 1)]], "this model takes (length,"),
        ([[7]], [[(0, 0)]], "a prompt of length 0"),
        ([[7]], [[(9, 0)]], "a prompt of length 9"),
        ([[7], [8]], [[(2, 0)]], "2 texts came with 1 lists"),
    ],
)
def test_bad_input_is_named(
    texts: list[list[int]], prompts: list[list[tuple[int, int]]], complaint: str
) -> None:
    backbone = random_case("bloom", 0, [1], [[1]]).backbone
    made = [
        [torch.zeros(length, backbone.hidden_size + wider) for length, wider in own]
        for own in prompts
    ]
    for read in (backbone.read_suffixed, backbone.read_prefixed):
        with pytest.raises(InvalidInput) as error:
            read(texts, made)
        assert complaint in str(error.value)


def test_no_texts_and_no_prompts_are_an_empty_answer() -> None:
    backbone = random_case("bloom", 0, [1], [[1]]).backbone
    assert len(backbone.encode([])) == 0
    assert backbone.read_suffixed([[7]], [[]]).shape == (0, backbone.hidden_size)
    assert backbone.read(backbone.encode([[7]]), [[]]).shape == (0, backbone.hidden_size)
    assert backbone.read(backbone.encode([]), []).shape == (0, backbone.hidden_size)
