"""Requests that bound detection, or say what is likelier: over HTTP, on a model that is known."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.store.store import PromptStore
from isogloss.serving.detection.detection import Detection
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.pipeline.planning import Chunk, Planner
from isogloss.serving.schemas import ClassifyRequest
from tests.fakes import (
    FakeBackbone,
    FakeDetector,
    FakeTokenizer,
    fake_settings,
    fake_store,
    http_client,
)

TORN = "fra_Latn 0.5 swh_Latn 0.3 kin_Latn 0.1 eng_Latn 0.1: bo"


class Counting(FakeDetector):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.detected: list[list[str]] = []
        self.weighed: list[list[str]] = []

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        self.detected.append(list(texts))
        return super().detect(texts)

    def posteriors(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        self.weighed.append(list(texts))
        found = [FakeDetector().posteriors([text]) for text in texts]
        return [posterior for (posterior,) in found]


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return fake_store(tmp_path / "store")


def ask(store: PromptStore, *bodies: dict[str, Any], **settings: Any) -> list[Any]:
    """Every request's answer; all are asked at once."""
    chosen = fake_settings(store.root, **settings)
    classifier = build_classifier(
        chosen, backbone=lambda *_: FakeBackbone(), detector=lambda _: FakeDetector()
    )

    async def posted() -> list[Any]:
        async with http_client(classifier, store, chosen) as client:
            asked = [client.post("/v1/classify", json=body) for body in bodies]
            return await asyncio.gather(*asked)

    return asyncio.run(posted())


def one(store: PromptStore, **body: Any) -> dict[str, Any]:
    (answer,) = ask(store, body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["results"][0])


def told(result: dict[str, Any]) -> tuple[str, Any]:
    assert result["language"]["detected"] is True
    return result["language"]["code"], pytest.approx(result["language"]["confidence"], abs=1e-5)


def test_a_list_bounds_detection(store: PromptStore) -> None:
    result = one(store, inputs=TORN, languages=["sw", "rw"])
    assert told(result) == ("swh_Latn", 0.75)
    assert (result["prompt"]["name"], result["mixture"]) == ("congo", None)
    assert told(one(store, inputs=TORN, languages=["Kinyarwanda"])) == ("kin_Latn", 1.0)


def test_an_object_says_what_is_likelier(store: PromptStore) -> None:
    result = one(store, inputs=TORN, languages={"sw": 1, "rw": 9})
    assert told(result) == ("kin_Latn", 0.75)
    merged = one(store, inputs=TORN, languages={"sw": 1, "rw": 4, "kin_Latn": 5})
    assert merged == result


def test_the_mixture_is_of_the_bounded_posterior(store: PromptStore) -> None:
    result = one(store, inputs=TORN, languages=["sw", "en"])
    assert told(result) == ("swh_Latn", 0.75)
    weights = {part["prompt"]["name"]: part["weight"] for part in result["mixture"]}
    assert weights == pytest.approx({"congo": 0.75, "everywhere": 0.25}, abs=1e-5)
    alike = one(store, inputs="swh_Latn 0.75 eng_Latn 0.25: " + "x" * 26)
    assert weights == {part["prompt"]["name"]: part["weight"] for part in alike["mixture"]}


def test_a_text_of_none_of_them_takes_the_first(store: PromptStore) -> None:
    result = one(store, inputs=TORN, languages=["spa", "zul"])
    assert told(result) == ("spa_Latn", 0.0)
    assert (result["prompt"]["name"], result["mixture"]) == ("romance", None)
    assert told(one(store, inputs=TORN, languages={"spa": 1, "zul": 2})) == ("zul_Latn", 0.0)


def test_requests_of_different_bounds_are_planned_in_one_batch(store: PromptStore) -> None:
    bodies: list[dict[str, Any]] = [
        {"inputs": [TORN, "eng_Latn: a"], "languages": ["sw", "rw"]},
        {"inputs": [TORN, "spa_Latn: a"]},
        {"inputs": [TORN], "languages": ["Swahilli"]},
        {"inputs": [TORN, TORN], "language": "de"},
        {"inputs": [TORN], "languages": {"sw": 1, "rw": 9}},
        {"inputs": [TORN], "language": "nowhere"},
    ]
    detector = Counting()
    chosen = fake_settings(store.root)
    classifier = build_classifier(
        chosen, backbone=lambda *_: FakeBackbone(), detector=lambda _: detector
    )
    snapshot = classifier.registry.current
    requests = [ClassifyRequest.model_validate(body) for body in bodies]
    chunks = [Chunk(request, request.texts, snapshot) for request in requests]
    planned = Planner(FakeTokenizer(), 400, detector, 0.0).plan(chunks)
    classifier.close()
    codes = [
        str(each)[:26]
        if isinstance(each, Exception)
        else [plan.heaviest.language.code for (plan,) in each]
        for each in planned
    ]
    assert codes == [
        ["swh_Latn", "swh_Latn"],
        ["fra_Latn", "spa_Latn"],
        "languages: unknown languag",
        ["deu_Latn", "deu_Latn"],
        ["kin_Latn"],
        "unknown language 'nowhere'",
    ]
    assert detector.detected == [[TORN, "spa_Latn: a"]]
    assert detector.weighed == [[TORN, "eng_Latn: a", TORN, TORN]]


def test_without_bounds_no_posterior_is_asked_for(store: PromptStore) -> None:
    detector = Counting()
    classifier = build_classifier(
        fake_settings(store.root),
        backbone=lambda *_: FakeBackbone(),
        detector=lambda _: detector,
    )
    asyncio.run(classifier.classify(ClassifyRequest(inputs=[TORN, TORN])))
    classifier.close()
    assert (detector.detected, detector.weighed) == ([[TORN, TORN]], [])


def test_many_requests_at_once_each_have_their_own_bounds(store: PromptStore) -> None:
    bounds: list[Any] = [["sw", "rw"], ["en"], None, {"rw": 9, "sw": 1}, ["fr", "en"]]
    meant = ["swh_Latn", "eng_Latn", "fra_Latn", "kin_Latn", "fra_Latn"]
    bodies = [{"inputs": [TORN] * 3, "languages": each} for each in bounds * 8]
    answers = ask(store, *bodies)
    for answer, code in zip(answers, meant * 8, strict=True):
        assert {each["language"]["code"] for each in answer.json()["results"]} == {code}


def test_bounds_go_together_with_a_named_prompt(store: PromptStore) -> None:
    result = one(store, inputs=TORN, languages=["sw"], prompt="romance")
    assert (told(result), result["prompt"]["name"]) == (("swh_Latn", 1.0), "romance")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"language": "xx"}, "unknown language 'xx'; did you mean "),
        ({"language": "Swahilli"}, "did you mean swh_Latn (Swahili)?"),
        ({"language": "la"}, "'la' (Latin, which is not among the 205)"),
        ({"languages": ["sw", "Swahilli"]}, "languages: unknown language 'Swahilli'; did you mean"),
        ({"languages": {"Swahilli": 1}}, "languages: unknown language 'Swahilli'; did you mean"),
        ({"languages": ["sw"], "language": "sw"}, "languages: it and `language` exclude each"),
        ({"languages": []}, "languages: list should have at least 1 item"),
        ({"languages": {}}, "languages: "),
        ({"languages": ["sw"] * 51}, "languages: list should have at most 50 items"),
        ({"languages": "sw"}, "languages: input should be a valid array, not 'sw'; it is what"),
        ({"languages": ["x" * 65]}, "languages.0: string should have at most 64"),
        ({"languages": {"sw": 0}}, "languages.sw: input should be greater than 0, not 0"),
        ({"languages": {"sw": -1}}, "languages.sw: input should be greater than 0"),
        ({"languages": {"sw": "2"}}, "languages.sw: input should be a valid number"),
        ({"languages": {"sw": True}}, "languages.sw: input should be a valid number"),
        ({"languages": {"sw": 10**400}}, "languages.sw: input should be a"),
    ],
)
def test_what_bounds_nothing_is_refused(
    store: PromptStore, fields: dict[str, Any], said: str
) -> None:
    refused, good = ask(store, {"inputs": TORN, **fields}, {"inputs": TORN})
    assert refused.status_code == 422, refused.text
    assert refused.json()["error_type"] == "validation"
    assert said in refused.json()["error"]
    assert good.status_code == 200


@pytest.mark.parametrize("languages", ["[NaN]", '{"sw": NaN}', '{"sw": Infinity}', '{"sw": 1e999}'])
async def test_numbers_that_are_none_are_refused(store: PromptStore, languages: str) -> None:
    chosen = fake_settings(store.root)
    classifier = build_classifier(
        chosen, backbone=lambda *_: FakeBackbone(), detector=lambda _: FakeDetector()
    )
    body = f'{{"inputs": "a", "languages": {languages}}}'
    async with http_client(classifier, store, chosen) as client:
        answer = await client.post("/v1/classify", content=body)
    assert (answer.status_code, answer.json()["error_type"]) == (422, "validation")
