"""A classifier whose model can be held, chokes and runs out of memory; and its HTTP routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import torch
from torch import Tensor

from isogloss.prompts.store.store import PromptStore
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.caller import Caller
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.registry.replicas import LocalBoard, Reporter
from isogloss.serving.schemas import ClassifyRequest
from tests.fakes import (
    MODEL,
    FakeBackbone,
    FakeDetector,
    fake_settings,
    fake_store,
    http_client,
)

A, B = Caller("a"), Caller("b")


class FragileBackbone(FakeBackbone):
    """Chokes on the letter Z, and on more texts at a time than its memory holds."""

    holds = 10_000

    def read_suffixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        states = super().read_suffixed(texts, prompts)
        if len(texts) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if any(ord("Z") in text for text in texts):
            raise IndexError("index out of range in self")
        return states


class Fire:
    """Runs scenarios against a classifier whose model can be held, and its HTTP routes."""

    def __init__(self, folder: Path) -> None:
        self.store: PromptStore = fake_store(folder / "store")
        self.backbone = FragileBackbone()
        self.board = LocalBoard()
        self.served: Classifier

    def settings(self, **changes: object) -> ServingSettings:
        return fake_settings(self.store.root, **changes)

    def classifier(self, **changes: object) -> Classifier:
        return build_classifier(
            self.settings(**changes),
            backbone=lambda name, settings: self.backbone,
            detector=lambda name: FakeDetector(),
        )

    def run(self, scenario: Callable[[Classifier], Awaitable[None]], **changes: object) -> None:
        async def run() -> None:
            classifier = self.classifier(**changes)
            try:
                await scenario(classifier)
            finally:
                self.backbone.gate.set()
                classifier.close()

        asyncio.run(run())

    def serve(
        self, scenario: Callable[[httpx.AsyncClient], Awaitable[None]], **changes: object
    ) -> None:
        async def run() -> None:
            settings = self.settings(**changes)
            self.served = self.classifier(**changes)
            async with http_client(self.served, self.store, settings, board=self.board) as client:
                await scenario(client)

        asyncio.run(run())

    def poll(self) -> None:
        """Poll the store as the served replica does."""
        served = self.served
        Reporter("replica-1", MODEL, served.registry, served.metrics, self.board).poll()

    async def hold(self, classifier: Classifier, caller: Caller = A) -> asyncio.Task[Any]:
        """Occupy the model with one text until the gate is opened."""
        self.backbone.gate.clear()
        self.backbone.entered.clear()
        task = asyncio.create_task(classifier.classify(ClassifyRequest(inputs="x"), caller))
        assert await asyncio.to_thread(self.backbone.entered.wait, 10)
        return task
