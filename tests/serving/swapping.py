"""Two prompts that take turns under one name, and whose scores an answer holds."""

from __future__ import annotations

from typing import Any

from isogloss.prompts.format.soft_prompt import SoftPrompt
from tests.fakes import expected_scores, soft_prompt

SWAPS = 200
IN_FLIGHT = 16
ADMIN = {"authorization": "Bearer token"}
TWO: tuple[SoftPrompt, SoftPrompt] = (soft_prompt(2.0, length=5), soft_prompt(9.0, length=3))
TEXTS = [f"fra_Latn: {'x' * n}" for n in range(1, 8)]
EXPECTED = {
    (prompt.digest, text): expected_scores(text, prompt) for prompt in TWO for text in TEXTS
}


def assert_attributed(answer: dict[str, Any], texts: list[str]) -> str:
    """Every result's scores are those of the prompt whose digest it carries; one for all."""
    digests = {result["prompt"]["digest"] for result in answer["results"]}
    assert len(digests) == 1, "one request, one generation"
    for text, result in zip(texts, answer["results"], strict=True):
        wanted = EXPECTED[result["prompt"]["digest"], text]
        assert {each["label"] for each in result["scores"]} == set(wanted)
        for each in result["scores"]:
            assert abs(each["score"] - wanted[each["label"]]) < 2e-6
    return str(digests.pop())
