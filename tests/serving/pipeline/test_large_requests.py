"""The largest legal request keeps nobody else waiting: at the door, in planning, in scoring."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.tokenizer import TokenizedText
from isogloss.serving.pipeline.caller import Caller
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.pipeline.planning import Chunk
from isogloss.serving.registry.snapshot import Snapshot
from isogloss.serving.schemas import ClassifyRequest
from tests.fakes import FakeBackbone, FakeDetector, FakeTokenizer, fake_settings, fake_store

PARAGRAPH = "The council met to discuss the new bridge and what its repair would cost. " * 14
LARGE = ClassifyRequest(inputs=[PARAGRAPH] * 256)
SMALL_TEXT = "Das Wetter ist heute schön."
SMALL = ClassifyRequest(inputs=SMALL_TEXT)
BATCH, SOMEBODY = Caller("batch-job", timeout_s=100.0), Caller("somebody", timeout_s=100.0)


class Steps:
    """Lets something go on step by step, each when it is told to, and notes when SMALL was in."""

    def __init__(self, *, free: bool = False) -> None:
        self.begun = 0
        self.small_in: list[int] = []
        """How many steps had begun by each time."""
        self._free = free
        self._allowed = threading.Semaphore(0)

    def step(self, *, large: bool, small: bool) -> None:
        self.begun += large
        if small:
            self.small_in.append(self.begun)
        if large and not self._free:
            assert self._allowed.acquire(timeout=60)

    def allow(self) -> None:
        self._allowed.release()

    def end(self) -> None:
        self._free = True
        self._allowed.release(10_000)


async def until(happened: Callable[[], bool]) -> None:
    while not happened():
        await asyncio.sleep(0.001)


class SteppingTokenizer(FakeTokenizer):
    """Stops before each time a paragraph is among what it is given."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.given: list[int] = []

    def encode(
        self, texts: Sequence[str], max_tokens: int, around: tuple[str, str] = ("", "")
    ) -> list[TokenizedText]:
        self.steps.step(large=PARAGRAPH in texts, small=SMALL_TEXT in texts)
        self.given.append(sum(map(len, texts)))
        return super().encode(texts, max_tokens, around)


class SteppingBackbone(FakeBackbone):
    """Stops before every batch that a paragraph is in."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self.steps = steps

    def read_suffixed(
        self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
    ) -> Tensor:
        lengths = [len(text) for text in texts]
        large, small = self.max_text_tokens in lengths, len(SMALL_TEXT) in lengths
        self.steps.step(large=large, small=small)
        return super().read_suffixed(texts, prompts)


def run(
    folder: Path,
    backbone: FakeBackbone,
    steps: Steps,
    scenario: Callable[[Classifier], Awaitable[None]],
) -> None:
    async def bounded() -> None:
        settings = fake_settings(fake_store(folder / "store").root)
        classifier = build_classifier(
            settings, backbone=lambda *_: backbone, detector=lambda _: FakeDetector()
        )
        try:
            async with asyncio.timeout(60):
                await scenario(classifier)
        finally:
            steps.end()
            classifier.close()

    asyncio.run(bounded())


async def ask_small_beside_large(classifier: Classifier, steps: Steps, stage: str) -> None:
    """Ask for the small one while the large one stands before the first step of a stage."""
    queue = classifier._planning._queue if stage == "planning" else classifier._queue
    large = asyncio.create_task(classifier.classify(LARGE, BATCH))
    await until(lambda: steps.begun == 1)
    waiting = len(queue)
    small = asyncio.create_task(classifier.classify(SMALL, SOMEBODY))
    await until(lambda: len(queue) == waiting + 1)
    steps.end()
    assert (await small).results
    assert len((await large).results) == 256


def test_small_requests_are_planned_between_the_pieces_of_a_large_one(tmp_path: Path) -> None:
    steps, backbone = Steps(), FakeBackbone()
    backbone.tokenizer = tokenizer = SteppingTokenizer(steps)
    run(tmp_path, backbone, steps, lambda own: ask_small_beside_large(own, steps, "planning"))
    assert steps.small_in[0] <= 2  # before all but the first two
    assert steps.begun > 15
    assert max(tokenizer.given) <= fake_settings(tmp_path).budget_chars


def test_small_requests_are_scored_between_the_batches_of_a_large_one(tmp_path: Path) -> None:
    steps = Steps()
    backbone = SteppingBackbone(steps)
    run(tmp_path, backbone, steps, lambda own: ask_small_beside_large(own, steps, "scoring"))
    assert steps.small_in[0] <= 2
    assert steps.begun > 15


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    characters=st.integers(1, 60),
)
def test_a_request_is_divided_in_order(lengths: list[int], characters: int) -> None:
    texts = ["x" * length for length in lengths]
    whole = Chunk(ClassifyRequest(inputs=texts), texts, snapshot())
    chunks = whole.divided(characters)
    assert [text for chunk in chunks for text in chunk.texts] == texts
    for chunk in chunks:
        assert chunk.texts == texts[chunk.begins_at : chunk.begins_at + len(chunk.texts)]
        assert chunk.characters <= characters or len(chunk.texts) == 1
    for one, other in itertools.pairwise(chunks):  # none could have been longer
        assert one.characters + len(other.texts[0]) > characters


def snapshot() -> Snapshot:
    return None  # type: ignore[return-value]  # not looked at


def test_what_is_wrong_with_a_text_is_said_by_its_place_in_the_request(tmp_path: Path) -> None:
    class Speechless(FakeTokenizer):
        def encode(
            self, texts: Sequence[str], max_tokens: int, around: tuple[str, str] = ("", "")
        ) -> list[TokenizedText]:
            found = super().encode(texts, max_tokens, around)
            return [
                TokenizedText((), False) if text == "~" else own
                for text, own in zip(texts, found, strict=True)
            ]

    backbone = FakeBackbone()
    backbone.tokenizer = Speechless()

    async def scenario(classifier: Classifier) -> None:
        texts = [PARAGRAPH] * 200 + ["~"] + [PARAGRAPH] * 50
        with pytest.raises(InvalidInput, match=r"inputs\[200\]: this model has no tokens"):
            await classifier.classify(ClassifyRequest(inputs=texts), BATCH)

    run(tmp_path, backbone, Steps(free=True), scenario)
