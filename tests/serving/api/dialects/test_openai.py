"""OpenAI's Decisions, models and moderations, and TypeSafe's System One."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving.api.dialects.two_tasks import LEVELS, ROMANCE, URGENCY, expected
from tests.serving.api.refused import assert_told_as_asked
from tests.serving.api_server import Server

TEXT = "fra_Latn: le match"
TOPIC_QUESTION = {
    "type": "choice",
    "name": "topic",
    "instructions": "What is it about?",
    "choices": [{"value": "Travel", "description": "Journeys."}, {"value": "sports"}],
}
URGENCY_QUESTION = {
    "type": "score",
    "instructions": "How urgent is it?",
    "levels": [{"label": label} for label in LEVELS],
}


async def decide(server: Server, **body: Any) -> Any:
    async with server.client() as client:
        return await client.post("/v1/decisions", json={"model": "fake-bloom", **body})


async def test_questions_of_every_type_are_answered_in_order(server: Server) -> None:
    asked = [
        TOPIC_QUESTION,
        URGENCY_QUESTION,
        {"type": "predicate", "name": "politics", "instructions": "Is it about politics?"},
        {"type": "predicate", "name": "about cats", "instructions": "Is it about cats?"},
    ]
    told = (await decide(server, input=TEXT, questions=asked, safety_identifier="x")).json()
    choice, score, predicate, refusal = told["answers"]
    travel, sports, politics = expected(TEXT, ROMANCE, "travel", "sports", "politics")
    share = travel / (travel + sports)
    assert [each["value"] for each in choice["probabilities"]] == ["Travel", "sports"]
    assert choice["choice"] == "Travel"
    assert choice["probabilities"][0]["probability"] == pytest.approx(share, abs=1e-5)
    assert choice["confidence"] == pytest.approx(2 * share - 1, abs=1e-4)
    low, medium, high = expected(TEXT, URGENCY, *LEVELS)
    assert score["name"] is None
    assert score["score"] == pytest.approx(medium + 2 * high, abs=1e-5)
    assert [(p["value"], p["label"]) for p in score["probabilities"]] == [*enumerate(LEVELS)]
    assert sum(p["probability"] for p in score["probabilities"]) == pytest.approx(1)
    assert score["probabilities"][0]["probability"] == pytest.approx(low, abs=1e-5)
    assert predicate == {
        "type": "predicate", "name": "politics", "probability": pytest.approx(politics, abs=1e-5)
    }  # fmt: skip
    assert refusal == {"type": "refusal", "name": "about cats"}
    assert told["model"] == "fake-bloom"
    assert told["usage"]["input_tokens"] == told["usage"]["total_tokens"] == len(TEXT)


async def test_messages_are_read_as_their_words(server: Server) -> None:
    parts = [{"type": "input_text", "text": "fra_Latn:"}, {"type": "input_text", "text": "oui"}]
    messages = [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": parts},
        {"type": "message", "role": "user", "content": "non"},
    ]
    told = (await decide(server, input=messages, questions=[TOPIC_QUESTION])).json()
    plain = (await decide(server, input="fra_Latn:\noui\nnon", questions=[TOPIC_QUESTION])).json()
    assert told == plain


async def test_answers_keep_what_promptfoo_requires_of_them(server: Server) -> None:
    """As its provider asks and checks, which no release has yet: it drops answers that break it."""
    labels = {"sports": None, "travel": "Journeys.", "politics": None}
    choices = [{"value": v} | ({"description": d} if d else {}) for v, d in labels.items()]
    asked: list[dict[str, Any]] = [
        {"name": "classification", "type": "choice", "instructions": "?", "choices": choices},
        {
            "name": "grade",
            "type": "score",
            "instructions": "?",
            "levels": URGENCY_QUESTION["levels"],
        },
        {"type": "predicate", "instructions": "Is it so?"},
    ]
    message = {"type": "message", "role": "user", "content": TEXT}
    told = (await decide(server, input=[message], questions=asked, safety_identifier=None)).json()
    choice, score, refusal = told["answers"]
    assert [each["name"] for each in told["answers"]] == ["classification", "grade", None]
    assert {each["value"] for each in choice["probabilities"]} == set(labels)
    assert choice["choice"] in labels
    for answer in (choice, score):
        shares = [each["probability"] for each in answer["probabilities"]]
        assert sum(shares) == pytest.approx(1, abs=0.01)
        assert all(0 <= share <= 1 for share in (*shares, answer["confidence"]))
    assert score["score"] / 2 == pytest.approx(
        sum(each["value"] * each["probability"] for each in score["probabilities"]) / 2, abs=0.01
    )
    assert refusal["type"] == "refusal"
    assert all(told["usage"][f"{kind}_tokens"] >= 0 for kind in ("input", "output", "total"))


@pytest.mark.parametrize(
    ("body", "status", "said", "param"),
    [
        ({"input": TEXT, "questions": []}, 400, "questions", "questions"),
        ({"input": TEXT, "questions": [{"type": "box"}]}, 400, "box", "questions.0"),
        ({"input": " ", "questions": [TOPIC_QUESTION]}, 400, "empty", "input[0]"),
        ({"input": [], "questions": [TOPIC_QUESTION]}, 400, "empty", "input[0]"),
        ({"input": 5, "questions": [TOPIC_QUESTION]}, 400, "string", "input"),
        (
            {"input": TEXT, "questions": [{"type": "predicate", "name": "cats"}]},
            400,
            "topic (politics, sports, travel); urgency (high, low, medium)",
            "questions",
        ),
        (
            {
                "input": [{"role": "user", "content": [{"type": "input_image", "image": "x"}]}],
                "questions": [TOPIC_QUESTION],
            },
            400,
            "'input_image' is not read here",
            "input[0].content[0]",
        ),
        ({"model": "gpt-6", "input": TEXT, "questions": [TOPIC_QUESTION]}, 404, "gpt-6", "model"),
        ({"questions": [TOPIC_QUESTION]}, 400, "required but missing", "input"),
    ],
)
async def test_what_is_wrong_is_told_in_openais_shape(
    server: Server, body: dict[str, Any], status: int, said: str, param: str
) -> None:
    refused = await decide(server, **body)
    assert refused.status_code == status, refused.text
    assert_told_as_asked("/v1/decisions", refused)
    error = refused.json()["error"]
    assert said in error["message"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


async def test_models_are_listed_as_openai_lists_them_and_as_we_do(server: Server) -> None:
    async with server.client() as client:
        told = (await client.get("/v1/models")).json()
        assert told["object"] == "list"
        assert [each["id"] for each in told["data"]] == ["fake-bloom", "fake-bloom:urgency"]
        assert told["data"][1]["labels"] == sorted(LEVELS)
        assert [each["name"] for each in told["models"]] == [told["default"]]
        for name in ("fake-bloom", "fake-bloom:topic", "fake-bloom:urgency", "urgency"):
            one = await client.get(f"/v1/models/{name}")
            assert one.json()["object"] == "model"
        missing = await client.get("/v1/models/gpt-6")
        assert missing.json()["error"]["code"] == "model_not_found"


async def test_moderation_flags_the_likeliest_label(server: Server) -> None:
    async with server.client() as client:
        body = {"model": "urgency", "input": ["a", {"type": "text", "text": TEXT}]}
        told = (await client.post("/v1/moderations", json=body)).json()
        for text, each in zip(("a", TEXT), told["results"], strict=True):
            scores = dict(zip(sorted(LEVELS), expected(text, URGENCY), strict=True))
            assert each["category_scores"] == pytest.approx(scores, abs=1e-5)
            assert [label for label, true in each["categories"].items() if true] == [
                max(scores, key=lambda label: scores[label])
            ]
            assert each["flagged"]
            assert each["category_applied_input_types"] == {label: ["text"] for label in LEVELS}
        image = {"input": [{"type": "image_url", "image_url": {"url": "x"}}]}
        refused = await client.post("/v1/moderations", json=image)
        assert refused.json()["error"]["param"] == "input[0]"


async def test_system_one_answers_by_name(server: Server) -> None:
    questions = {
        "topic": {"type": "choice", "criteria": {"sports": None, "travel": "Journeys."}},
        "politics": {"type": "noul", "instructions": "Is it about politics?"},
        "how": {"type": "score", "criteria": list(LEVELS)},
    }
    async with server.client() as client:
        body = {"model": "fake-bloom", "state": {"text": TEXT, "id": 5}, "questions": questions}
        told = (await client.post("/v1/systemone", json=body)).json()
        sports, travel, politics = expected(TEXT, ROMANCE, "sports", "travel", "politics")
        topic, noul, how = (told["answers"][name] for name in questions)
        assert topic["probabilities"]["sports"] == pytest.approx(
            sports / (sports + travel), abs=1e-5
        )
        assert noul == {"type": "noul", "noul": pytest.approx(politics, abs=1e-5)}
        assert how["legend"] == {"0": "low", "1": "medium", "2": "high"}
        assert how["probabilities"].keys() == how["legend"].keys()
        assert told["usage"] == {"input_tokens": len(TEXT), "output_tokens": 0}
        questions["cats"] = {"type": "noul", "instructions": "Is it about cats?"}
        refused = await client.post("/v1/systemone", json=body | {"questions": questions})
        assert refused.status_code == 400
        assert_told_as_asked("/v1/systemone", refused)
        assert "questions.cats: no task of this model" in refused.json()["error"]["message"]
