"""What a run is played on: a store, two prompts that take turns on one route, and their scores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isogloss.deploy.load.clients import Question
from isogloss.deploy.load.judge import Judge, Scores, distance
from isogloss.deploy.load.texts import TEXTS
from isogloss.deploy.load.wire import classify_request
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.store.seed import seed_from, shipped_store
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.config import DEFAULT_TASK, ServingSettings
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.schemas import ClassifyRequest

LEAST_TEXTS = 8


@dataclass(frozen=True)
class Stage:
    """A store that a server can be started on, and what it must answer."""

    store: Path
    name: str
    """The routed prompt's."""
    files: tuple[bytes, ...]
    """What is published under it in turn; the first is there already."""
    digests: tuple[str, ...]
    prompts: tuple[str, ...]
    """What the files are called where they come from."""
    texts: tuple[str, ...]
    """Those that the route answers alone."""
    judge: Judge

    def questions(self, texts: Sequence[str] = (), per_request: int = 1) -> list[Question]:
        """Requests with so many texts each, every text equally often; all stage's if none given."""
        asked = texts or self.texts
        return [question(_turn(asked, at, per_request)) for at in range(len(asked))]


def question(texts: tuple[str, ...], **headers: str) -> Question:
    """A request for texts, routed by their language."""
    inputs: object = texts[0] if len(texts) == 1 else list(texts)
    return Question(classify_request({"inputs": inputs}, **headers), texts)


def prepare(model: str, dtype: str, store: Path) -> Stage:
    """Make a store from the prompts that ship, and compute every text's scores in this process.

    Args:
        model: a pocket model's name.
        dtype: as `isogloss serve --dtype`.
        store: where to make the store; must not exist.

    Raises:
        NotFound, InvalidInput, StoreError: the model or its prompts cannot be used.
    """
    seed_from(shipped_store(), store)
    settings = ServingSettings.model_validate({"models": (model,), "store": store, "dtype": dtype})
    return asyncio.run(_prepare(settings, store))


async def _prepare(settings: ServingSettings, store: Path) -> Stage:
    classifier = build_classifier(settings)
    try:
        snapshot = classifier.registry.current
        name, _, _ = snapshot.state.resolve(snapshot.routes[DEFAULT_TASK].universal)
        texts = [text for text in TEXTS if await _takes(classifier, text, name)]
        other = await _farthest(classifier, texts, name)
        opened = PromptStore.open(store)
        digests = [snapshot.state.resolve(each)[2] for each in (name, other)]
        files = [opened.read_bytes(digest) for digest in digests]
        expected: dict[tuple[str, str], Scores] = {}
        for digest in (*digests, digests[0]):  # the first again: it is what the server begins with
            opened.publish({name: opened.read(digest)})
            classifier.registry.refresh()
            for text in texts:
                expected[text, digest] = await _routed(classifier, text, digest)
    finally:
        classifier.close()
    return Stage(
        store, name, tuple(files), tuple(digests), (name, other), tuple(texts), Judge(expected)
    )


async def _takes(classifier: Classifier, text: str, name: str) -> bool:
    """Whether a text is answered by one prompt alone, and it is this."""
    answer = await classifier.classify(ClassifyRequest(inputs=text))
    return answer.results[0].mixture is None and answer.results[0].prompt.name == name


async def _routed(classifier: Classifier, text: str, digest: str) -> Scores:
    result = (await classifier.classify(ClassifyRequest(inputs=text))).results[0]
    if result.prompt.digest != digest:
        raise InvalidInput(
            f"the route answers with {result.prompt.digest} after {digest} was published; report it"
        )
    return {each.label: each.score for each in result.scores}


async def _farthest(classifier: Classifier, texts: Sequence[str], name: str) -> str:
    """The prompt whose scores differ most from the routed one's, on the text they share most."""
    snapshot = classifier.registry.current
    labels = snapshot.served[name].loaded.labels
    candidates = sorted(
        served.name
        for served in snapshot.served.values()
        if served.loaded.labels == labels and served.digest != snapshot.served[name].digest
    )
    if not candidates:
        raise InvalidInput(f"{name}: no other prompt with its labels ships; take a pocket model")
    own = await _overridden(classifier, texts, name)
    apart = {}
    for candidate in candidates:
        theirs = await _overridden(classifier, texts, candidate)
        gaps = sorted(distance(a, b) for a, b in zip(own, theirs, strict=True))
        apart[candidate] = gaps[len(gaps) // 8]  # a few texts on which they agree may be left out
    return max(apart, key=lambda candidate: apart[candidate])


async def _overridden(classifier: Classifier, texts: Sequence[str], name: str) -> list[Scores]:
    answers = [
        await classifier.classify(ClassifyRequest(inputs=text, prompt=name)) for text in texts
    ]
    return [{each.label: each.score for each in answer.results[0].scores} for answer in answers]


def _turn(texts: Sequence[str], at: int, count: int) -> tuple[str, ...]:
    return tuple(texts[(at + i) % len(texts)] for i in range(count))
