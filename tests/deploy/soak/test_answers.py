"""What the long runs make of answers: wrong ones are seen, and none is lost from the count."""

from __future__ import annotations

import json
import math
import re
from array import array

import pytest

from isogloss.deploy.load.clients import Question
from isogloss.deploy.load.judge import Judge, distance
from isogloss.deploy.load.tally import NO_ANSWER, WRONG, Tally, percentiles_ms
from isogloss.prompts.errors import InvalidInput

ONE, TWO = "sha256:one", "sha256:two"
EXPECTED = {
    ("text", ONE): {"sports": 0.9, "travel": 0.1},
    ("text", TWO): {"sports": 0.4, "travel": 0.6},
    ("alike", ONE): {"sports": 0.5, "travel": 0.5},
    ("alike", TWO): {"sports": 0.501, "travel": 0.499},
}
ASKED = Question(b"", ("text",))


def answer(digest: str, sports: float, generation: int = 5, results: int = 1) -> bytes:
    scores = [{"label": "sports", "score": sports}, {"label": "travel", "score": 1 - sports}]
    result = {"scores": scores, "prompt": {"digest": digest}}
    return json.dumps({"generation": generation, "results": [result] * results}).encode()


def test_an_answer_under_its_own_digest_is_right() -> None:
    judge = Judge(EXPECTED).calibrated(0.005)
    assert judge.complaint(ASKED, answer(ONE, 0.9)) is None
    assert judge.complaint(ASKED, answer(ONE, 0.899)) is None  # rounding
    assert judge.noise(ASKED, answer(ONE, 0.899)) == pytest.approx(0.01, abs=0.001)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (answer(ONE, 0.4), r"scores are 1\.79 from those of their digest sha256:one.*0 from.*two"),
        (answer("sha256:three", 0.9), "sha256:three was never published"),
        (answer(ONE, 0.9, results=2), "2 results for 1 texts"),
        (b"<html>", "not an answer"),
        (b"[]", "not an answer"),
    ],
)
def test_a_wrong_answer_is_seen(body: bytes, complaint: str) -> None:
    found = Judge(EXPECTED).calibrated(0.005).complaint(ASKED, body)
    assert found is not None
    assert re.search(complaint, found)


def test_an_answer_older_than_a_publish_that_had_returned_is_seen() -> None:
    judge = Judge(EXPECTED)
    judge.publish_returned(10.0, 6)
    assert judge.complaint(ASKED, answer(ONE, 0.9), began_s=9.0) is None
    assert judge.complaint(ASKED, answer(ONE, 0.9, generation=6), began_s=11.0) is None
    assert "had returned" in (judge.complaint(ASKED, answer(ONE, 0.9), began_s=11.0) or "")


def test_one_request_of_two_prompts_is_seen() -> None:
    two = json.loads(answer(ONE, 0.9))
    two["results"] += json.loads(answer(TWO, 0.4))["results"]
    asked = Question(b"", ("text", "text"))
    assert "2 prompts" in (Judge(EXPECTED).complaint(asked, json.dumps(two).encode()) or "")


def test_texts_on_which_prompts_agree_are_not_asked() -> None:
    judge = Judge(EXPECTED).calibrated(0.005)
    assert judge.telling(["text", "alike"], 1) == ("text",)
    with pytest.raises(InvalidInput, match="on only 1 are the prompts further apart"):
        judge.telling(["text", "alike"], 2)
    assert distance({"a": 1.0}, {"b": 1.0}) == float("inf")


def test_percentiles_are_exact() -> None:
    hundred = percentiles_ms(n / 1000 for n in range(100, 0, -1))
    assert [hundred[p] for p in ("p50", "p99", "max")] == [50.0, 99.0, 100.0]
    assert set(percentiles_ms([0.007]).values()) == {7.0}
    assert all(map(math.isnan, percentiles_ms([]).values()))


def test_every_request_is_accounted_for() -> None:
    tally = Tally(frozenset({200, 429}))
    tally.sent = 5
    for status in (200, 429, 503, NO_ANSWER):
        tally.note(status, 0.25, "said")
    assert tally.failed == 3  # one was never heard of again
    tally.note(WRONG, 0.25, "mixed up")
    shown = tally.shown([(0.0, "SIGKILL of 7")])
    assert tally.unaccounted == 0
    assert shown["answers"] == {"wrong": 1, "no_answer": 1, "200": 1, "429": 1, "503": 1}
    assert [failure["status"] for failure in shown["failures"]] == [
        503,
        "no answer",
        "wrong answer",
    ]
    assert shown["failures"][0]["after"] == "SIGKILL of 7"
    assert shown["latency_ms"]["p99"] == 250


def test_a_flood_of_one_failure_does_not_hide_another() -> None:
    tally = Tally()
    for _ in range(1000):
        tally.note(429, 0.01, "full")
    tally.note(500, 0.01, "broken")
    said = [failure.said for failure in tally.failures]
    assert said[-1] == "broken"
    assert said.count("full") == 50


def test_latencies_are_told_by_the_time_since_an_event() -> None:
    tally = Tally()
    tally.came_s[200] = array("d", [1.0, 10.5, 12.6, 20.1])
    tally.took_s[200] = array("d", [0.5, 0.1, 0.2, 0.05])
    seconds = tally.since_event_ms([(10.0, "kill"), (20.0, "kill")])
    assert [(each["second"], each["requests"]) for each in seconds] == [(0, 2), (2, 1)]
    assert seconds[0]["max_ms"] == 100
