"""Answers hold what was asked for: no label is built that is not listed, however many there are."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.format.labels import MOST_LABELS
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.api import routes
from isogloss.serving.pipeline import answers, classifier
from isogloss.serving.pipeline.answers import MOST_AT_ONCE
from isogloss.serving.schemas import LabelScore
from tests.fakes import FakeBackbone, route_table, soft_prompt
from tests.serving.api_server import Server

LABELS = [f"label-{at:04}" for at in range(MOST_LABELS)]
MANY = MOST_AT_ONCE // MOST_LABELS + 1


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Whose task `many` has as many labels as a task may have."""
    monkeypatch.setattr(FakeBackbone, "vocab_size", 100 * MOST_LABELS)
    server = Server(tmp_path)
    store: PromptStore = server.store
    store.publish(
        {"many": soft_prompt(1.0, task="many", labels=LABELS)}, [route_table("many", task="many")]
    )
    return server


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The thread that builds each label's score."""
    seen: list[int] = []
    real = LabelScore

    def watched(**values: Any) -> Any:
        seen.append(threading.get_ident())
        return real(**values)

    monkeypatch.setattr(answers, "LabelScore", watched)
    return seen


async def test_only_what_is_listed_is_built(server: Server, built: list[int]) -> None:
    async with server.client() as client:
        for top_k in (1, 3):
            built.clear()
            body = {"inputs": ["a", "bc"], "task": "many", "top_k": top_k}
            answer = (await client.post("/v1/classify", json=body)).json()
            assert [len(result["scores"]) for result in answer["results"]] == [top_k, top_k]
            assert len(built) == 2 * top_k
            for result in answer["results"]:
                assert result["scores"][0] == {"label": result["label"], "score": result["score"]}


async def test_large_answers_are_made_beside_the_loop(server: Server, built: list[int]) -> None:
    async with server.client() as client:
        for texts, beside in ((1, False), (MANY, True)):
            built.clear()
            body = {"inputs": ["a"] * texts, "task": "many"}
            answer = await client.post("/v1/classify", json=body)
            assert [len(each["scores"]) for each in answer.json()["results"]] == [1000] * texts
            assert len(built) == 1000 * texts
            assert (threading.get_ident() not in built) is beside


async def test_a_large_answer_is_what_a_small_one_would_be(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server.client() as client:
        body = {"inputs": ["fra_Latn: oui", "a", "[]"], "task": "many"}
        small = await client.post("/v1/classify", json=body)
        for module in (routes, classifier):
            monkeypatch.setattr(module, "MOST_AT_ONCE", 0)
        large = await client.post("/v1/classify", json=body)
        assert large.content == small.content
        assert large.headers["content-type"] == small.headers["content-type"]
        assert list(json.loads(large.content)) == ["model", "task", "generation", "results"]
