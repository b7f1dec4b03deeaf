"""What a bare clone serves: the pocket models with the prompts and routes that come with them."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from isogloss.prompts.format.prompt import Prompt, members_of
from isogloss.prompts.languages.languages import language
from isogloss.prompts.model.backbone import Backbone, label_log_probs
from isogloss.prompts.model.names import pocket_models
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore, StoreState
from isogloss.training.recipes.pocket.data import LANGUAGES

SHIPPED = Path(__file__).parent.parent.parent / "prompts" / "shipped"
MODELS = ("pocket-bloom", "pocket-xglm")
LARGEST_CLASS = 0.25  # of SIB-200's test split


@pytest.fixture(scope="module")
def state() -> StoreState:
    return PromptStore.open(SHIPPED).state()


@pytest.fixture(scope="module", params=MODELS)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return Backbone.load(request.param, device="cpu")


def table_of(state: StoreState, backbone: Backbone) -> RouteTable:
    table = state.routes_for(backbone.fingerprint, "topic")
    assert table is not None
    return table


def prompt_of(state: StoreState, reference: str) -> Prompt:
    return PromptStore.open(SHIPPED).read(state.resolve(reference)[2])


def accuracy(
    backbone: Backbone, prompt: Prompt, texts: Sequence[str], gold: Sequence[str]
) -> float:
    tokens = [t.ids for t in backbone.tokenizer.encode(texts, backbone.max_text_tokens)]
    rows = backbone.label_rows([label.token_id for label in prompt.card.labels])
    with torch.inference_mode():
        vectors = [member.prompt.vectors for member in members_of("", prompt)]
        states = backbone.read_suffixed(tokens, [vectors] * len(tokens))
    said = label_log_probs(states, rows).view(len(tokens), len(vectors), -1).mean(dim=1)
    best = said.argmax(-1).tolist()
    names = [label.label for label in prompt.card.labels]
    right: int = sum(names[i] == label for i, label in zip(best, gold, strict=True))
    return right / len(gold)


def test_both_models_are_small() -> None:
    folders = [pocket_models()[name] for name in MODELS]
    total = sum(file.stat().st_size for folder in folders for file in folder.iterdir())
    assert total <= 40e6


def test_routes_say_of_every_family_why(state: StoreState, backbone: Backbone) -> None:
    table = table_of(state, backbone)
    evidence = {own.clade: own for own in table.evidence}
    lineages = [language(code).lineage for code in LANGUAGES]
    families = {lineage[0] for lineage in lineages if lineage}
    assert families <= set(evidence)
    assert evidence[None].prompt == table.universal
    for clade, prompt in table.clades.items():
        why = evidence[clade]
        assert (why.prompt, why.candidates) == (prompt, evidence[None].candidates)
        assert why.gain is not None
        assert why.gain > 0
    assert table.temperatures["universal"] > 1  # the prompts are surer of themselves than right


def test_plain_and_reparameterized_prompts_ship(state: StoreState, backbone: Backbone) -> None:
    cards = [
        prompt_of(state, name).card
        for name in state.prompts
        if prompt_of(state, name).card.model.fingerprint == backbone.fingerprint
    ]
    assert {card.kind for card in cards} >= {"plain", "residual"}
    assert all(len(card.labels) == 7 for card in cards)


def test_every_routed_prompt_fits_its_model(state: StoreState, backbone: Backbone) -> None:
    table = table_of(state, backbone)
    for reference in {table.universal, *table.clades.values()}:
        prompt_of(state, reference).check_fits(backbone)


def test_english_is_well_above_chance_with_a_prompt_trained_on_english(
    state: StoreState, backbone: Backbone, sib200: Path
) -> None:
    """The least that is asked of a pocket model: 32 % of SIB-200's English test sentences."""
    texts, gold = read(sib200, "eng_Latn")
    prompt = prompt_of(state, f"{backbone.architecture}-whole-plain")
    assert prompt.card.training["sources"] == ["eng_Latn"]
    assert accuracy(backbone, prompt, texts, gold) >= 0.32


def test_routed_languages_are_above_chance(
    state: StoreState, backbone: Backbone, sib200: Path
) -> None:
    table = table_of(state, backbone)
    found = []
    for code in ("fra_Latn", "hin_Deva", "swh_Latn", "tam_Taml", "rus_Cyrl", "yor_Latn"):
        route = table.route(language(code).lineage)
        texts, gold = read(sib200, code, sample=100)
        found.append(accuracy(backbone, prompt_of(state, route.reference), texts, gold))
    assert sum(found) / len(found) > LARGEST_CLASS + 0.05


def read(folder: Path, code: str, sample: int | None = None) -> tuple[list[str], list[str]]:
    with (folder / code / "test.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    rows = random.Random(0).sample(rows, sample) if sample else rows
    return [row["text"] for row in rows], [row["category"] for row in rows]
