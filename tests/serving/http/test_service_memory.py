"""What a server remembers of prompts is bounded, however many are published while it lives."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.http import cards
from tests.fakes import fake_classifier, fake_settings, fake_store, http_client, soft_prompt

PUBLISHED = 7


def test_descriptions_of_old_prompts_are_forgotten_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "DESCRIPTIONS_KEPT", 3)
    store = fake_store(tmp_path / "store")
    read: list[str] = []
    of_store = PromptStore.read

    def counted(self: PromptStore, digest: str) -> Prompt:
        read.append(digest)
        return of_store(self, digest)

    async def scenario() -> list[str]:
        settings = fake_settings(store.root)
        classifier = fake_classifier(settings)
        async with http_client(classifier, store, settings) as client:
            for number in range(PUBLISHED):
                store.publish({"romance": soft_prompt(20.0 + number)})
            classifier.registry.refresh()
            monkeypatch.setattr(PromptStore, "read", counted)
            versions = (await client.get("/v1/prompts/romance")).json()["versions"][-PUBLISHED:]
            asked = [*versions, versions[-2], versions[0]]
            answers = [await client.get(f"/v1/prompts/romance@{each}") for each in asked]
            assert all(answer.json()["problem"] is None for answer in answers)
            assert answers[0].json() == answers[-1].json()
            return [answer.json()["digest"] for answer in answers]

    digests = asyncio.run(scenario())
    assert read.count(digests[-2]) == 1  # remembered
    assert read.count(digests[0]) == 2  # the oldest was not
    assert read.count(digests[PUBLISHED - 1]) == 0  # the current one is in use
