"""Uncertain languages, scaled scores and answers withheld, on a model whose scores are known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone, label_log_probs
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.pipeline.planning import Plan, Share
from isogloss.serving.pipeline.scoring import Unscorable, score_plans
from isogloss.serving.registry.loaded import LoadedMember, LoadedPrompt, ServedPrompt
from tests.fakes import (
    OVERFLOWING,
    FakeBackbone,
    FakeDetector,
    expected_scores,
    fake_settings,
    fake_store,
    http_client,
    route_table,
    soft_prompt,
)
from tests.training.tiny import LABELS, prompt, tiny

ROUTES = {"Romance": "romance", "Atlantic-Congo": "congo"}
PROMPTS = {
    "everywhere": soft_prompt(1.0),
    "romance": soft_prompt(2.0, length=5),
    "congo": soft_prompt(3.0),
}
Scores = dict[str, float]


class Server:
    """The HTTP routes over the fake model, and the model to look into."""

    def __init__(self, folder: Path) -> None:
        self.store: PromptStore = fake_store(folder)
        self.backbone = FakeBackbone()

    def post(self, *bodies: dict[str, Any], **settings: object) -> list[list[dict[str, Any]]]:
        """The results of each request; all are asked at once."""
        chosen = fake_settings(self.store.root, **settings)
        classifier = build_classifier(
            chosen,
            backbone=lambda name, settings: self.backbone,
            detector=lambda name: FakeDetector(),
        )

        async def ask() -> list[list[dict[str, Any]]]:
            async with http_client(classifier, self.store, chosen) as client:
                asked = [client.post("/v1/classify", json=body) for body in bodies]
                answers = await asyncio.gather(*asked)
            assert {answer.status_code for answer in answers} == {200}
            return [answer.json()["results"] for answer in answers]

        return asyncio.run(ask())

    def answer(self, text: str, threshold: float | None = None, **fields: Any) -> dict[str, Any]:
        settings = {} if threshold is None else {"mixture_threshold": threshold}
        return self.post({"inputs": text, **fields}, **settings)[0][0]

    def route(self, temperatures: dict[str, float] | None = None, **changed: SoftPrompt) -> None:
        table = route_table("everywhere", ROUTES, temperatures=temperatures)
        self.store.publish(changed, [table])


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "store")


def scores_of(result: dict[str, Any]) -> Scores:
    return {each["label"]: each["score"] for each in result["scores"]}


def mixed(*parts: tuple[float, Scores]) -> Any:
    labels = parts[0][1]
    sums = {label: sum(weight * own[label] for weight, own in parts) for label in labels}
    return pytest.approx(sums, abs=2e-6)


def weights_of(result: dict[str, Any]) -> dict[str, float]:
    return {part["prompt"]["name"]: part["weight"] for part in result["mixture"]}


def test_a_split_posterior_mixes_the_prompts_it_leads_to(server: Server) -> None:
    text = "fra_Latn 0.6 swh_Latn 0.3: bo"
    result = server.answer(text)
    two_thirds, third = (
        expected_scores(text, PROMPTS["romance"]),
        expected_scores(text, PROMPTS["congo"]),
    )
    assert scores_of(result) == mixed((2 / 3, two_thirds), (1 / 3, third))
    assert result["mixture"] == [
        {"prompt": result["prompt"], "clade": "Romance", "weight": pytest.approx(2 / 3, abs=1e-6)},
        {
            "prompt": {"name": "congo", "version": 1, "digest": PROMPTS["congo"].digest},
            "clade": "Atlantic-Congo",
            "weight": pytest.approx(1 / 3, abs=1e-6),
        },
    ]
    assert result["prompt"]["digest"] == PROMPTS["romance"].digest
    assert (result["route"]["clade"], result["route"]["reason"]) == ("Romance", "clade")
    assert (result["language"]["code"], result["language"]["confidence"]) == ("fra_Latn", 0.6)
    assert server.backbone.pairs == [[2]]  # one text, read once


def test_what_leads_to_one_prompt_is_added_up_first(server: Server) -> None:
    """Swahili is likeliest, but French and Spanish together are likelier, and one prompt's."""
    result = server.answer("swh_Latn 0.4 fra_Latn 0.35 spa_Latn 0.25: bo")
    assert weights_of(result) == pytest.approx({"romance": 0.6, "congo": 0.4}, abs=1e-6)
    assert result["prompt"]["name"] == "romance"
    assert result["language"]["code"] == "fra_Latn"
    assert result["route"]["lineage"][:2] == ["Indo-European", "Italic"]


def test_a_language_that_nobody_knows_is_everywhere(server: Server) -> None:
    """What is left for known languages must not pass for certain."""
    result = server.answer("und 0.97 fra_Latn 0.02 swh_Latn 0.01: bo")
    assert (result["language"]["code"], result["language"]["confidence"]) == ("und", 0.0)
    assert (result["route"]["reason"], result["prompt"]["name"]) == ("universal", "everywhere")
    assert result["mixture"] is None
    torn = server.answer("und 0.6 fra_Latn 0.4: bo")
    assert weights_of(torn) == pytest.approx({"everywhere": 0.6, "romance": 0.4}, abs=1e-6)
    assert (torn["language"]["code"], torn["language"]["confidence"]) == ("und", 0.0)


def test_a_language_is_named_by_any_standard(server: Server) -> None:
    for code, meant in (("fr", "fra_Latn"), ("pt-BR", "por_Latn"), ("ES_419", "spa_Latn")):
        result = server.answer("eng_Latn: bo", language=code)
        assert result["language"]["code"] == meant
        assert result["language"]["detected"] is False
        assert result["route"]["clade"] == "Romance"


@pytest.mark.parametrize(
    "text",
    [
        "fra_Latn 0.95 swh_Latn 0.05: sure of the language",
        "fra_Latn 0.5 spa_Latn 0.45 swh_Latn 0.05: sure of the prompt",
        "fra_Latn 0.5 spa_Latn 0.5: two languages, one prompt",
        "eng_Latn 0.4 eus_Latn 0.3 deu_Latn 0.3: everywhere is one prompt too",
        "fra_Latn: no second candidate",
    ],
)
def test_the_common_case_costs_one_prompt(server: Server, text: str) -> None:
    result = server.answer(text)
    assert result["mixture"] is None
    assert server.backbone.pairs == [[1]]
    assert scores_of(result) == mixed(
        (1.0, expected_scores(text, PROMPTS[result["prompt"]["name"]]))
    )


@pytest.mark.parametrize(
    ("threshold", "weights"),
    [
        (0, None),
        (0.79, None),
        (0.81, {"romance": 0.8, "congo": 0.2}),
        (1, {"romance": 0.8, "congo": 0.2}),
    ],
)
def test_the_threshold_says_how_sure_is_sure(
    server: Server, threshold: float, weights: dict[str, float] | None
) -> None:
    text = "fra_Latn 0.8 swh_Latn 0.2: bo"
    result = server.answer(text, threshold)
    if weights is None:
        assert result["mixture"] is None
        assert scores_of(result) == mixed((1.0, expected_scores(text, PROMPTS["romance"])))
    else:
        assert weights_of(result) == pytest.approx(weights)


def test_switched_off_the_likeliest_language_decides(server: Server) -> None:
    text = "swh_Latn 0.4 fra_Latn 0.35 spa_Latn 0.25: bo"
    result = server.answer(text, threshold=0)
    assert (result["prompt"]["name"], result["mixture"]) == ("congo", None)


def test_a_prompt_that_would_hardly_count_is_left_out(server: Server) -> None:
    result = server.answer("fra_Latn 0.58 swh_Latn 0.38 eus_Latn 0.04: bo")
    assert weights_of(result) == pytest.approx(
        {"romance": 0.58 / 0.96, "congo": 0.38 / 0.96}, abs=1e-6
    )


@pytest.mark.parametrize("fields", [{"language": "swh_Latn"}, {"prompt": "congo"}])
def test_who_names_a_language_or_a_prompt_gets_it_alone(
    server: Server, fields: dict[str, Any]
) -> None:
    text = "fra_Latn 0.6 swh_Latn 0.4: bo"
    result = server.answer(text, **fields)
    assert (result["prompt"]["name"], result["mixture"]) == ("congo", None)
    assert scores_of(result) == mixed((1.0, expected_scores(text, PROMPTS["congo"])))


def test_every_text_of_a_mixed_batch_is_answered_as_alone(server: Server) -> None:
    texts = [
        "fra_Latn 0.6 swh_Latn 0.4: bo",
        "fra_Latn: bon",
        "swh_Latn 0.4 fra_Latn 0.3 eus_Latn 0.3: bobo",
        "x",
        "eng_Latn 0.5 swh_Latn 0.5: bob",
    ]
    (together,) = server.post({"inputs": texts})
    assert server.backbone.pairs == [[2, 1, 3, 1, 2]]
    assert together == [server.answer(text) for text in texts]
    assert [each["tokens"] for each in together] == [len(text) for text in texts]


def test_a_mixture_costs_the_tokens_of_all_its_prompts(server: Server) -> None:
    """With a budget for exactly two of these texts under both prompts, two make a batch."""
    text = "fra_Latn 0.6 swh_Latn 0.4: bo"
    one = len(text) + 5 + 2
    server.post({"inputs": [text] * 6}, budget_tokens=2 * one)
    assert server.backbone.pairs == [[2, 2]] * 3


def test_a_prompt_before_the_text_is_not_mixed(server: Server) -> None:
    text = "fra_Latn 0.6 swh_Latn 0.4: bo"
    before = soft_prompt(3.0, position="prefix")
    server.route(congo=before)
    assert server.answer(text)["mixture"] is None
    result = server.answer("swh_Latn 0.6 fra_Latn 0.4: bo")
    assert (result["prompt"]["digest"], result["mixture"]) == (before.digest, None)
    assert scores_of(result) == mixed(
        (1.0, expected_scores("swh_Latn 0.6 fra_Latn 0.4: bo", before))
    )


def routed(model: FakeBackbone | Backbone, plans: Sequence[Plan]) -> list[list[float] | Unscorable]:
    """What the shares of each plan say together."""
    found = score_plans(model, plans)
    return [each if isinstance(each, Unscorable) else each.routed for each in found]


def served(own: SoftPrompt, model: FakeBackbone | Backbone) -> ServedPrompt:
    tokens = [label.token_id for label in own.card.labels]
    names = tuple(label.label for label in own.card.labels)
    loaded = LoadedPrompt(own.card, (LoadedMember(own.vectors),), model.label_rows(tokens), names)
    return ServedPrompt("some", 1, own.digest, loaded)


def test_labels_are_mixed_by_name_whatever_their_order() -> None:
    model = FakeBackbone()
    one, other = soft_prompt(2.0, labels=("a", "b", "c")), soft_prompt(3.0, labels=("c", "a", "b"))
    parts = (Share(served(one, model), 1.0, 0.75), Share(served(other, model), 1.0, 0.25))
    (found,) = routed(model, [Plan((1,) * 7, parts)])
    by_hand = mixed((0.75, expected_scores("x" * 7, one)), (0.25, expected_scores("x" * 7, other)))
    assert isinstance(found, list)
    assert dict(zip("abc", found, strict=True)) == by_hand


def test_a_share_that_overflows_fails_its_text_alone() -> None:
    model = FakeBackbone()
    good, wild = served(soft_prompt(2.0), model), served(soft_prompt(OVERFLOWING, length=1), model)
    both = Plan((1,) * 7, (Share(good, weight=0.6), Share(wild, weight=0.4)))
    failed, alone = routed(model, [both, Plan((1,) * 7, (Share(good),))])
    assert isinstance(failed, Unscorable)
    assert isinstance(alone, list)


@pytest.mark.parametrize("architecture", ["bloom", "xglm"])
def test_a_mixture_is_the_mix_of_the_two_answers(architecture: str) -> None:
    model = tiny(architecture)
    prompts = [prompt(model, seed, length=length) for seed, length in ((1, 3), (2, 6))]
    texts = [tuple(t.ids) for t in model.tokenizer.encode(["soup", "a storm and a violin"], 60)]
    weighed = tuple(
        Share(served(own, model), temperature, weight)
        for own, temperature, weight in zip(prompts, (1.0, 2.5), (0.7, 0.3), strict=True)
    )
    neighbour = Plan(texts[1], weighed[:1])
    found = routed(model, [Plan(text, weighed) for text in texts] + [neighbour])
    for text, own in zip(texts, found, strict=False):
        one, other = (single(model, text, each) for each in prompts)
        by_hand = 0.7 * one.exp() + 0.3 * (other / 2.5).softmax(-1)
        assert own == pytest.approx(by_hand.tolist(), abs=1e-6)
    assert found[2] == pytest.approx(single(model, texts[1], prompts[0]).exp().tolist(), abs=1e-6)


@torch.inference_mode()
def single(model: Backbone, text: Sequence[int], own: SoftPrompt) -> torch.Tensor:
    """Label log-probabilities of one text under one prompt, past everything in serving."""
    rows = model.label_rows([label.token_id for label in own.card.labels])
    assert len(rows) == len(LABELS)
    return label_log_probs(model.read(model.encode([text]), [[own.vectors]]), rows)[0]


def test_scores_are_scaled_by_the_deepest_measured_clade(server: Server) -> None:
    server.route({"Romance": 2.0, "universal": 0.5, "Uralic": 4.0})
    for text, name, temperature in [
        ("fra_Latn: bo", "romance", 2.0),
        ("eng_Latn: bo", "everywhere", 0.5),
        ("fin_Latn: bo", "everywhere", 4.0),
        ("swh_Latn: bo", "congo", 1.0),
    ]:
        scores = expected_scores(text, PROMPTS[name], temperature)
        assert scores_of(server.answer(text)) == mixed((1.0, scores)), text


def test_parts_are_scaled_before_they_are_mixed(server: Server) -> None:
    server.route({"Romance": 2.0, "Atlantic-Congo": 0.5})
    text = "fra_Latn 0.6 swh_Latn 0.4: bo"
    hot = expected_scores(text, PROMPTS["romance"], 2.0)
    cold = expected_scores(text, PROMPTS["congo"], 0.5)
    assert scores_of(server.answer(text)) == mixed((0.6, hot), (0.4, cold))


def test_a_named_prompt_is_scaled_where_it_was_measured(server: Server) -> None:
    server.route({"Romance": 2.0, "Atlantic-Congo": 0.5})
    own, foreign = "fra_Latn: bo", "swh_Latn: bo"
    scaled = scores_of(server.answer(own, prompt="romance"))
    assert scaled == scores_of(server.answer(own))
    assert scores_of(server.answer(foreign, prompt="romance")) == mixed(
        (1.0, expected_scores(foreign, PROMPTS["romance"]))
    )


def test_an_answer_below_the_threshold_is_marked_and_still_given(server: Server) -> None:
    plain = server.answer("fra_Latn: bo")
    below, above = plain["score"] - 1e-6, plain["score"] + 1e-6
    marked = server.answer("fra_Latn: bo", abstain=above)
    assert (plain["abstained"], marked["abstained"]) == (False, True)
    assert {**marked, "abstained": False} == plain
    assert server.answer("fra_Latn: bo", abstain=below) == plain
    assert server.answer("fra_Latn: bo", abstain=plain["score"]) == plain
    assert server.answer("fra_Latn: bo", abstain=1, top_k=1)["abstained"]
    assert not server.answer("fra_Latn: bo", abstain=0)["abstained"]


def test_mixed_texts_are_counted(server: Server) -> None:
    settings = fake_settings(server.store.root)
    classifier = build_classifier(
        settings,
        backbone=lambda name, settings: server.backbone,
        detector=lambda name: FakeDetector(),
    )

    async def ask() -> tuple[str, dict[str, Any]]:
        async with http_client(classifier, server.store, settings) as client:
            texts = ["fra_Latn 0.6 swh_Latn 0.4: bo", "fra_Latn: bo"]
            await client.post("/v1/classify", json={"inputs": texts})
            metrics = await client.get("/metrics")
            document = await client.get("/openapi.json")
        return metrics.text, document.json()["components"]["schemas"]

    page, schemas = asyncio.run(ask())
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    assert [line[-3:] for line in lines if "mixed_texts_total" in line] == ["1.0"]
    counted = [line.split()[-1] for line in lines if "prompt_texts_total" in line]
    assert sorted(counted) == ["1.0", "2.0"]  # congo in the mixture; romance there and alone
    assert any("abstain" in example for example in schemas["ClassifyRequest"]["examples"])
    assert {"mixture", "abstained"} <= set(schemas["Result"]["properties"])
    assert set(schemas["MixturePart"]["properties"]) == {"prompt", "clade", "weight"}
