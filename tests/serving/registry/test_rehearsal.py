"""Prompts that are finite and of no use never go live: on real models, in every precision."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import pytest
import torch

from isogloss.prompts.format.prompt import members_of
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone, Dtype
from isogloss.prompts.store.checks import LARGEST
from isogloss.prompts.store.seed import shipped_store
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.pipeline.planning import Plan, Share
from isogloss.serving.pipeline.scoring import Scores, score_plans
from isogloss.serving.registry.loaded import LoadedPrompt, ServedPrompt, Unfit
from isogloss.serving.registry.loader import PromptLoader
from isogloss.serving.registry.rehearsal import ROWS_AT_A_TIME, Rehearsal
from tests.fakes import WILD, FakeBackbone, soft_prompt

MODELS = ("pocket-bloom", "pocket-xglm")
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16", "int8", "float16")
TEXTS = ("Die Mannschaft hat gewonnen.", "?")


@functools.cache
def backbone_of(model: str, dtype: Dtype) -> Backbone:
    return Backbone.load_for_serving(model, device="cpu", dtype=dtype)


def shipped(model: str) -> SoftPrompt:
    """The beginning of an ordinary prompt of a pocket model: int8 is slow on old processors."""
    store = PromptStore(shipped_store())
    (table,) = (each for each in store.state().routes if each.model.id == model)
    prompt = store.read(store.state().digest_of(table.universal))
    first = members_of("", prompt)[0].prompt
    return SoftPrompt(first.card, first.vectors[:2])


def sized(prompt: SoftPrompt, largest: float) -> SoftPrompt:
    """The same prompt, so much larger or smaller that this is its largest number."""
    vectors = (prompt.vectors / prompt.vectors.abs().max()).double() * largest
    return SoftPrompt(prompt.card, vectors.float())


def placed(loader: PromptLoader, prompts: Mapping[str, SoftPrompt]) -> dict[str, LoadedPrompt]:
    return {name: loader._load(prompt) for name, prompt in prompts.items()}


def reasons(loader: PromptLoader, loaded: Mapping[str, LoadedPrompt]) -> dict[str, str]:
    """Why some cannot answer, by name."""
    verdicts = loader.rehearsal.verdicts(list(loaded.values()))
    return {
        name: verdict.reason
        for name, verdict in zip(loaded, verdicts, strict=True)
        if isinstance(verdict, Unfit)
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model", MODELS)
def test_what_passes_can_answer_and_what_overflows_does_not_pass(model: str, dtype: Dtype) -> None:
    backbone, ordinary = backbone_of(model, dtype), shipped(model)
    loader = PromptLoader(PromptStore(shipped_store()), backbone)
    sizes = (1e38, 1e30, 1e19, 70_000.0, LARGEST, 1.0, 1e-38, 1e-42, 0.0)
    prompts = {f"{size:g}": sized(ordinary, size) for size in sizes} | {"ordinary": ordinary}
    loaded = placed(loader, prompts)
    refused = reasons(loader, loaded)
    assert {"1e+38", "1e+30"} <= set(refused)
    assert {"ordinary", "1", "1e-38", "1e-42", "0"}.isdisjoint(refused)
    # A processor that runs layers in float16 keeps prompts in float32; others cast all of it.
    assert ("70000" in refused) == (backbone.dtype == torch.float16)
    for size, reason in refused.items():
        assert f"its numbers go up to {size};" in reason
        assert "train it again with a smaller learning rate" in reason
    passed = [ServedPrompt(name, 1, name, loaded[name]) for name in loaded.keys() - refused]
    for text in backbone.tokenizer.encode(TEXTS, backbone.max_text_tokens):
        (scores,) = score_plans(backbone, [Plan(text.ids, tuple(map(Share, passed)))])
        assert isinstance(scores, Scores)


def test_a_prompt_that_drowns_the_text_does_not_pass() -> None:
    ordinary = shipped("pocket-xglm")
    loader = PromptLoader(PromptStore(shipped_store()), backbone_of("pocket-xglm", "float32"))
    loaded = placed(loader, {f"{size:g}": sized(ordinary, size) for size in (1e19, 1e12, 10.0)})
    refused = reasons(loader, loaded)
    assert set(refused) == {"1e+19", "1e+12"}  # finite, and deaf
    assert all("every text gets the same answer in float32" in each for each in refused.values())


def test_a_prompt_before_the_text_is_tried_there() -> None:
    ordinary = shipped("pocket-bloom")
    card = ordinary.card.model_copy(update={"position": "prefix"})
    before = SoftPrompt(card, ordinary.vectors, ordinary.state)
    loader = PromptLoader(PromptStore(shipped_store()), backbone_of("pocket-bloom", "float32"))
    loaded = placed(loader, {"wild": sized(before, 1e38), "tame": before, "after": ordinary})
    assert set(reasons(loader, loaded)) == {"wild"}


def test_many_are_tried_a_few_at_a_time_and_each_by_itself() -> None:
    backbone = FakeBackbone()
    performed: list[int] = []
    rehearsal = Rehearsal(backbone)

    def perform(run: object) -> object:
        before = len(backbone.rehearsed)
        found = run()  # type: ignore[operator]
        performed.append(len(backbone.rehearsed) - before)
        return found

    rehearsal.perform = perform  # type: ignore[assignment]
    loader = PromptLoader(PromptStore(shipped_store()), backbone)
    values = [float(n) for n in range(1, 41)] + [WILD]
    loaded = [loader._load(soft_prompt(value, length=10)) for value in values]
    verdicts = rehearsal.verdicts(loaded)
    assert [isinstance(verdict, Unfit) for verdict in verdicts] == [False] * 40 + [True]
    assert backbone.rehearsed == values
    assert max(performed) == ROWS_AT_A_TIME // 10
