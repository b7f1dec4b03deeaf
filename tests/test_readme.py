"""The README's first answer is the real one; tests/docs holds the rest of it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.store.store import PromptStore
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.engine import build_classifier
from tests.fakes import http_client

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
SHIPPED = ROOT / "prompts" / "shipped"


def test_the_first_request_gets_the_answer_that_is_printed() -> None:
    request, answer = _first_exchange()
    found = asyncio.run(_ask(request))
    assert found["model"] == answer["model"]
    for printed, real in zip(answer["results"], found["results"], strict=True):
        for field in ("label", "route", "prompt", "tokens", "truncated"):
            assert real[field] == printed[field], field
        confidence = pytest.approx(printed["language"]["confidence"], abs=0.001)
        assert real["language"] == {**printed["language"], "confidence": confidence}
        scores = {score["label"]: score["score"] for score in real["scores"]}
        for score in printed["scores"]:
            assert scores[score["label"]] == pytest.approx(score["score"], abs=0.01)


def _first_exchange() -> tuple[dict[str, Any], dict[str, Any]]:
    body = re.search(r"-d '(\{.*?\})'", SHELL)
    answer = re.search(r"```json\n(.*?)```", README, re.DOTALL)
    assert body is not None
    assert answer is not None
    return json.loads(body[1]), json.loads(answer[1])


async def _ask(request: dict[str, Any]) -> dict[str, Any]:
    settings = ServingSettings(store=SHIPPED, device="cpu")
    classifier = build_classifier(settings)
    async with http_client(classifier, PromptStore.open(SHIPPED), settings) as client:
        response = await client.post("/v1/classify", json=request)
        assert response.status_code == 200, response.text
        return dict(response.json())
