"""What a stranger types: our own sentences in 44 languages, from text to topic."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from isogloss.prompts.languages.languages import language
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.schemas import ClassifyRequest
from tests.journeys import own_sentences
from tests.journeys.own_sentences import Answered, Sentence
from tests.serving.ray.running import wait_for_url
from tests.some import some

LEAST_RIGHT = 0.6
SHIPPED = Path(__file__).parents[2] / "prompts" / "shipped"
TOPICS = {
    "science/technology", "travel", "politics", "sports", "health", "entertainment", "geography",
}  # fmt: skip


@pytest.fixture(scope="module")
def sentences() -> list[Sentence]:
    return own_sentences.read()


def test_there_are_over_100_in_over_40_languages_spread_evenly_over_the_topics(
    sentences: list[Sentence],
) -> None:
    assert len(sentences) >= 100
    of_code = Counter(each.code for each in sentences)
    assert len(of_code) >= 40
    assert min(of_code.values()) >= 2
    of_topic = Counter(each.topic for each in sentences)
    assert set(of_topic) == TOPICS
    assert max(of_topic.values()) <= min(of_topic.values()) + 2
    for code in of_code:
        language(code)  # raises where there is none


def test_no_sentence_is_there_twice_or_unfinished(sentences: list[Sentence]) -> None:
    assert len({each.text for each in sentences}) == len(sentences)
    for each in sentences:
        assert each.text == each.text.strip()
        assert 30 <= len(each.text) <= 250, each
        assert each.code == "tha_Thai" or each.text[-1] in ".।۔။。", each  # Thai has no full stop


def test_they_are_in_nobodys_data(sentences: list[Sentence], sib200: Path) -> None:
    for code in some({each.code for each in sentences}):
        for split in ("train", "dev", "test"):
            known = (sib200 / code / f"{split}.tsv").read_text(encoding="utf-8")
            assert not any(each.text in known for each in sentences if each.code == code)


@pytest.mark.parametrize("model", ["pocket-bloom", "pocket-xglm"])
def test_six_in_ten_are_right_in_process(sentences: list[Sentence], model: str) -> None:
    answers = classify(model, sentences)
    assert own_sentences.share(answers) >= LEAST_RIGHT, own_sentences.report(answers)


def classify(model: str, sentences: list[Sentence]) -> list[Answered]:
    """As `isogloss classify` does, with the prompts and routes that ship."""
    settings = ServingSettings(models=(model,), store=SHIPPED, device="cpu")
    request = ClassifyRequest(inputs=[each.text for each in sentences])

    async def answer() -> list[Answered]:
        classifier = build_classifier(settings)
        try:
            said = await classifier.classify(request)
        finally:
            classifier.close()
        results = said.model_dump(mode="json")["results"]
        return own_sentences.answered(sentences, results)

    return asyncio.run(answer())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of what `isogloss serve` starts for a user who has never used it before."""
    command = [str(Path(sys.executable).with_name("isogloss")), "serve", "--port", "0"]
    environment = {**os.environ, "ISOGLOSS_STORE": str(tmp_path / "store")}
    with subprocess.Popen(
        [*command, "--device", "cpu"], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield wait_for_url(process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


@pytest.mark.ray
@pytest.mark.soak
@pytest.mark.timeout(600)
def test_six_in_ten_are_right_end_to_end(server: str, sentences: list[Sentence]) -> None:
    answers = own_sentences.ask(server, sentences, model=None)
    assert own_sentences.share(answers) >= LEAST_RIGHT, own_sentences.report(answers)
