"""The hot path on a model whose scores tell which text and which prompt made them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidInput, NotFound, Overloaded, TooLarge, UnknownLanguage
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.batching.isolation import BatchFailed
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.pipeline.scoring import Unscorable
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse, Result
from tests.fakes import (
    OVERFLOWING,
    FakeBackbone,
    FakeDetector,
    expected_scores,
    fake_classifier,
    fake_settings,
    fake_store,
    route_table,
    soft_prompt,
)
from tests.some import some

PROMPTS = {"everywhere": soft_prompt(1.0), "romance": soft_prompt(2.0, length=5)}


class Harness:
    """A classifier over the fake store, and its backbone to look into."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.store = fake_store(folder / "store")
        self.settings: ServingSettings = fake_settings(self.store.root, **changes)
        self.backbone = FakeBackbone()

    def start(self) -> Classifier:
        return build_classifier(
            self.settings,
            backbone=lambda name, settings: self.backbone,
            detector=lambda name: FakeDetector(),
        )

    def ask(self, *requests: ClassifyRequest) -> list[ClassifyResponse]:
        async def all_at_once() -> list[ClassifyResponse]:
            classifier = self.start()
            try:
                return await asyncio.gather(*map(classifier.classify, requests))
            finally:
                classifier.close()

        return asyncio.run(all_at_once())

    def answer(self, inputs: str | list[str], **fields: object) -> ClassifyResponse:
        return self.ask(ClassifyRequest.model_validate({"inputs": inputs, **fields}))[0]


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    return Harness(tmp_path)


def scores_of(result: Result) -> dict[str, float]:
    return {each.label: each.score for each in result.scores}


def assert_scores(result: Result, text: str, prompt: SoftPrompt) -> None:
    assert scores_of(result) == pytest.approx(expected_scores(text, prompt), abs=2e-6)


def test_one_text_is_detected_routed_scored_and_attributed(harness: Harness) -> None:
    text = "fra_Latn: le match est fini"
    answer = harness.answer(text)
    (result,) = answer.results
    assert (answer.model, answer.task, answer.generation) == ("fake-bloom", "topic", 1)
    assert_scores(result, text, PROMPTS["romance"])
    assert result.label == result.scores[0].label
    assert result.score == result.scores[0].score
    assert [s.score for s in result.scores] == sorted(scores_of(result).values(), reverse=True)
    assert (result.language.code, result.language.name) == ("fra_Latn", "French")
    assert (result.language.confidence, result.language.detected) == (0.75, True)
    assert (result.route.clade, result.route.reason) == ("Romance", "clade")
    assert result.route.lineage[0] == "Indo-European"
    assert (result.prompt.name, result.prompt.version) == ("romance", 1)
    assert result.prompt.digest == PROMPTS["romance"].digest
    assert (result.tokens, result.truncated) == (len(text), False)


def test_many_texts_of_many_languages_keep_their_order(tmp_path: Path) -> None:
    harness = Harness(tmp_path, budget_tokens=200)
    draw = random.Random(7)
    texts = [
        draw.choice(["fra_Latn: ", "swh_Latn: ", "", "eus_Latn: "]) + "x" * draw.randint(1, 90)
        for _ in range(200)
    ]
    values = {"everywhere": PROMPTS["everywhere"], "romance": PROMPTS["romance"]}
    values["congo"] = soft_prompt(3.0)
    results = harness.answer(texts).results
    assert len(harness.backbone.batches) > 10
    for text, result in zip(texts, results, strict=True):
        wanted = {"fra": "romance", "swh": "congo"}.get(text[:3], "everywhere")
        assert result.prompt.name == wanted
        assert result.tokens == len(text)
        assert_scores(result, text, values[wanted])


def test_concurrent_requests_are_batched_together(harness: Harness) -> None:
    requests = [ClassifyRequest(inputs=["x" * (n + 1), "y" * (n + 2)]) for n in range(20)]
    for n, answer in enumerate(harness.ask(*requests)):
        assert [result.tokens for result in answer.results] == [n + 1, n + 2]
    assert len(harness.backbone.batches) < 20


def test_a_row_of_a_mixed_batch_equals_that_row_alone(harness: Harness) -> None:
    texts = ["fra_Latn: un", "two", "swh_Latn: tatu", "a" * 70]
    together = harness.answer(texts).results
    alone = [harness.answer(text).results[0] for text in texts]
    assert together == alone


def test_language_overrides_detection(harness: Harness) -> None:
    (result,) = harness.answer("no French here", language="fra_Latn").results
    assert (result.language.code, result.language.confidence) == ("fra_Latn", 1.0)
    assert not result.language.detected
    assert result.prompt.name == "romance"


def test_prompt_overrides_routing_but_the_language_is_still_told(harness: Harness) -> None:
    (result,) = harness.answer("fra_Latn: oui", prompt="congo").results
    assert (result.prompt.name, result.route.reason, result.route.clade) == (
        "congo",
        "override",
        None,
    )
    assert result.language.code == "fra_Latn"
    assert_scores(result, "fra_Latn: oui", soft_prompt(3.0))


def test_an_older_version_answers_under_its_own_digest(harness: Harness) -> None:
    harness.store.publish({"romance": soft_prompt(9.0)})
    old, new = harness.ask(
        ClassifyRequest(inputs="a", prompt="romance@1"),
        ClassifyRequest(inputs="a", prompt="romance"),
    )
    assert (old.generation, old.results[0].prompt.digest) == (2, PROMPTS["romance"].digest)
    assert_scores(old.results[0], "a", PROMPTS["romance"])
    assert_scores(new.results[0], "a", soft_prompt(9.0))


def test_top_k_shortens_the_list_but_not_the_answer(harness: Harness) -> None:
    whole, one, all_of_them = harness.ask(
        *(ClassifyRequest(inputs="a", top_k=k) for k in (None, 1, 99))
    )
    assert len(whole.results[0].scores) == 3
    assert one.results[0].scores == whole.results[0].scores[:1]
    assert all_of_them == whole


def test_a_prefix_prompt_is_read_before_the_text(harness: Harness) -> None:
    prefix = soft_prompt(5.0, position="prefix")
    harness.store.publish({"peft": prefix})
    answers = harness.ask(
        ClassifyRequest(inputs=["abc", "de"], prompt="peft"), ClassifyRequest(inputs="abc")
    )
    assert_scores(answers[0].results[0], "abc", prefix)
    assert_scores(answers[0].results[1], "de", prefix)
    assert_scores(answers[1].results[0], "abc", PROMPTS["everywhere"])


def test_a_users_own_task_with_four_labels_serves_beside_the_topics(harness: Harness) -> None:
    moods = ("glad", "sad", "angry", "calm")
    prompt = soft_prompt(0.5, task="mood", labels=moods)
    harness.store.publish({"moods": prompt}, [route_table("moods", task="mood")])
    mood, topic = harness.ask(
        ClassifyRequest(inputs=["fra_Latn: zut", "hm"], task="mood"), ClassifyRequest(inputs="hm")
    )
    assert (mood.task, topic.task) == ("mood", "topic")
    assert set(scores_of(mood.results[0])) == set(moods)
    assert_scores(mood.results[1], "hm", prompt)
    assert_scores(topic.results[0], "hm", PROMPTS["everywhere"])


def test_naming_a_prompt_is_enough_to_name_its_task(harness: Harness) -> None:
    prompt = soft_prompt(0.5, task="mood", labels=("glad", "sad"))
    harness.store.publish({"moods": prompt})
    assert harness.answer("a", prompt="moods").task == "mood"
    with pytest.raises(InvalidInput, match=r"'moods' is for task 'mood', not 'topic'"):
        harness.answer("a", prompt="moods", task="topic")


def test_a_long_text_is_cut_and_says_so(harness: Harness) -> None:
    (result,) = harness.answer("x" * 500).results
    assert (result.tokens, result.truncated) == (FakeBackbone.max_text_tokens, True)


@pytest.mark.parametrize(
    ("inputs", "fields", "error", "message"),
    [
        ([], {}, InvalidInput, "inputs: the list is empty"),
        ("", {}, InvalidInput, r"inputs\[0\]: the text is empty"),
        (["a", " \n\t"], {}, InvalidInput, r"inputs\[1\]: the text is empty"),
        (["a"] * 10_000, {}, InvalidInput, "10000 texts .* at most 256"),
        (["a", "x" * 1_000_000], {}, TooLarge, r"inputs\[1\]: 1000000 characters"),
        ("a\ud800", {}, InvalidInput, r"inputs\[0\]: character 1 is a lone surrogate"),
        ("a", {"language": "xxx_Latn"}, UnknownLanguage, "unknown language 'xxx_Latn'"),
        ("a", {"language": ""}, UnknownLanguage, "unknown language ''"),
        ("a", {"prompt": "nobody"}, NotFound, "no prompt 'nobody'"),
        ("a", {"prompt": "romance@7"}, NotFound, "romance@7"),
        ("a", {"prompt": "../romance"}, InvalidInput, "prompt name"),
        ("a", {"task": "mood"}, NotFound, "'mood' has no routes"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    harness: Harness,
    inputs: str | list[str],
    fields: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        harness.answer(inputs, **fields)
    assert harness.backbone.batches == []


def test_one_requests_mistake_is_not_its_neighbours(harness: Harness) -> None:
    async def scenario() -> Sequence[ClassifyResponse | BaseException]:
        classifier = harness.start()
        good = ClassifyRequest(inputs="a")
        bad = ClassifyRequest(inputs="a", prompt="nobody")
        answers = await asyncio.gather(
            *map(classifier.classify, (good, bad, good)), return_exceptions=True
        )
        classifier.close()
        return answers

    first, wrong, last = asyncio.run(scenario())
    assert isinstance(wrong, NotFound)
    assert first == last
    assert isinstance(first, ClassifyResponse)


def test_a_prompt_that_overflows_fails_alone(harness: Harness) -> None:
    harness.store.publish({"wild": soft_prompt(OVERFLOWING, length=1)})
    with pytest.raises(Unscorable, match="wild@1 makes the model's numbers overflow"):
        harness.answer("a", prompt="wild")
    assert_scores(harness.answer("a").results[0], "a", PROMPTS["everywhere"])


async def test_a_failing_model_answers_every_caller_and_recovers(harness: Harness) -> None:
    classifier = harness.start()
    harness.backbone.failure = RuntimeError("CUDA error: device-side assert")
    requests = [ClassifyRequest(inputs="a") for _ in range(5)]
    failed = await asyncio.gather(*map(classifier.classify, requests), return_exceptions=True)
    assert [type(each) for each in failed] == [BatchFailed] * 5
    harness.backbone.failure = None
    assert (await classifier.classify(requests[0])).results
    classifier.close()


async def test_a_named_prompt_answers_for_its_own_task_only(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    classifier = harness.start()
    asked = ClassifyRequest(inputs="a", prompt="romance", task="other")
    with pytest.raises(InvalidInput, match="'romance' is for task 'topic', not 'other'"):
        await classifier.classify(asked)
    classifier.close()


async def test_overload_is_refused_in_words(tmp_path: Path) -> None:
    harness = Harness(tmp_path, max_queue_tokens=30, budget_tokens=10)
    classifier = harness.start()
    harness.backbone.gate.clear()
    requests = [ClassifyRequest(inputs="x" * 10) for _ in range(12)]
    asked = [asyncio.create_task(classifier.classify(each)) for each in requests]
    done, waiting = await asyncio.wait(asked, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    assert all(isinstance(each.exception(), Overloaded) for each in some(done))
    harness.backbone.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert any(isinstance(each, ClassifyResponse) for each in answers)
    assert (await classifier.classify(requests[0])).results  # and it recovers at once
    classifier.close()


async def test_a_request_keeps_its_generation_while_the_bank_is_swapped(tmp_path: Path) -> None:
    harness = Harness(tmp_path, budget_tokens=20)
    classifier = harness.start()
    harness.backbone.gate.clear()
    request = ClassifyRequest(inputs=[f"fra_Latn: {'x' * n}" for n in range(1, 9)])
    slow = asyncio.create_task(classifier.classify(request))
    assert await asyncio.to_thread(harness.backbone.entered.wait, 10)
    harness.store.publish({"romance": soft_prompt(9.0)})
    swapped = asyncio.create_task(asyncio.to_thread(classifier.registry.refresh))
    harness.backbone.gate.set()  # the new prompt is tried between two batches
    assert await swapped
    answer = await slow
    assert classifier.registry.generation == 2
    assert len(harness.backbone.batches) > 1
    assert answer.generation == 1
    assert {each.prompt.digest for each in answer.results} == {PROMPTS["romance"].digest}
    for text, result in zip(request.texts, answer.results, strict=True):
        assert_scores(result, text, PROMPTS["romance"])
    classifier.close()


def test_the_fake_tells_texts_and_prompts_apart() -> None:
    values = {
        tuple(round(s, 6) for s in expected_scores("x" * n, soft_prompt(v)).values())
        for n in (1, 2, 90)
        for v in (1.0, 2.0, 3.0, 9.0)
    }
    assert len(values) == 12


def test_a_server_over_an_empty_store_warms_up(tmp_path: Path) -> None:
    """Its first prompts come later."""
    PromptStore.open(tmp_path / "empty", create=True)
    with closing(fake_classifier(fake_settings(tmp_path / "empty"))) as classifier:
        classifier.warm_up()
        assert classifier.registry.current.answering == []
