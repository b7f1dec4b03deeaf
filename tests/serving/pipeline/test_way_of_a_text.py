"""The way of a text: which of our modules run, and what it wears, between route and response."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from tests.fakes import FakeBackbone, FakeDetector, fake_settings, fake_store, http_client

MOST_MODULES = 21
OURS = ("isogloss.serving.", "isogloss.prompts.")
MODEL = "isogloss.prompts.model."
ROUTE = ("isogloss.serving.api.routes", "classify_texts")
RESPONSE = "starlette.responses"

WORN = {"Call", "Caller", "Chunk", "Detection", "Share", "Plan", "Row", "Scores"}
"""What a text is wrapped into between the request's body and the answer's."""
BESIDE = {
    *("Load", "Admitted"),  # the ledger's: what a request holds
    *("Ring", "Line"),  # the queue's own
    *("Route", "Language"),  # of tables that are there before
    *("_Isolation", "Outcome", "BatchStats"),  # a batch's
    *("LabelScore",),  # of the answer
}


class Way:
    """Our modules that run, and our types that are made, from the route to the response object.

    Modules of the model and of the detector are not among them: both are fakes.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.types: set[str] = set()
        self._open = False
        self._around: set[FrameType] = set()  # coroutines begun before, which only go on

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Note one call, as `sys.setprofile` tells of it."""
        if event != "call":
            return
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        if (module, name) == ROUTE:
            self._open = True
        elif module == RESPONSE:
            self._open = False
        if self._open and module.startswith("namedtuple_") and _caller(frame).startswith(OURS):
            self.types.add(module.removeprefix("namedtuple_"))
        elif module.startswith(OURS) and not module.startswith(MODEL):
            if not self._open:
                self._around.add(frame)
            elif frame not in self._around:
                self._note(frame, module.removeprefix("isogloss."), name)

    def _note(self, frame: FrameType, module: str, name: str) -> None:
        if name == "__init__":
            self.types.add(type(frame.f_locals["self"]).__name__)
        generated = frame.f_code.co_filename == "<string>"  # such as a dataclass's __init__
        within = name.startswith("<")  # a comprehension, of a function that was noted
        if not generated and not within and not _caller(frame).startswith("tests."):
            self.modules.add(module)


def _caller(frame: FrameType) -> str:
    return str(frame.f_back.f_globals.get("__name__", "")) if frame.f_back else ""


@contextmanager
def followed(way: Way) -> Iterator[None]:
    """Follow what this thread runs, and those that it starts."""
    before: Any = sys.getprofile()
    threading.setprofile(way)
    sys.setprofile(way)
    try:
        yield
    finally:
        sys.setprofile(before)
        threading.setprofile(before)


async def ask(classifier: Classifier, folder: Path) -> None:
    """Ask for one text's label through the HTTP routes."""
    store = classifier.registry.store
    async with http_client(classifier, store, fake_settings(folder)) as client:
        answer = await client.post("/v1/classify", json={"inputs": "fra_Latn: oui"})
        assert answer.status_code == 200
        assert answer.json()["results"][0]["prompt"]["name"] == "romance"


def test_a_text_passes_few_modules_and_wears_few_types(tmp_path: Path) -> None:
    folder, way = fake_store(tmp_path / "store").root, Way()
    classifier = build_classifier(
        fake_settings(folder),
        backbone=lambda *_: FakeBackbone(),
        detector=lambda _: FakeDetector(),
    )
    with followed(way):
        asyncio.run(ask(classifier, folder))
    assert "serving.pipeline.scoring" in way.modules  # the worker's thread was followed too
    assert len(way.modules) <= MOST_MODULES, sorted(way.modules)
    assert way.types - BESIDE == WORN
