"""One text, several tasks: read once, answered as each task would be alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from isogloss.prompts.errors import NotFound
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.planning import Plan, Share, tokens_of
from isogloss.serving.pipeline.scoring import Unscorable, score_plans, score_texts
from isogloss.serving.schemas import ClassifyRequest
from tests.fakes import (
    OVERFLOWING,
    FakeBackbone,
    expected_scores,
    fake_classifier,
    fake_settings,
    fake_store,
    route_table,
    soft_prompt,
)
from tests.serving.pipeline.test_ensembles import made, on_fake, plans
from tests.some import some

TONE = ("warm", "cold")


def with_tone(folder: Path) -> PromptStore:
    """The fakes' store, with a second task that has a route of its own for Romance."""
    store = fake_store(folder)
    store.publish(
        {
            "tone": soft_prompt(4.0, task="tone", labels=TONE),
            "tone-romance": soft_prompt(5.0, task="tone", labels=TONE, length=3),
        },
        [
            route_table(
                "tone", {"Romance": "tone-romance"}, task="tone", temperatures={"Romance": 2}
            )
        ],
    )
    return store


def running(folder: Path, scenario: Callable[[Classifier], Awaitable[None]]) -> None:
    classifier = fake_classifier(fake_settings(with_tone(folder).root))

    async def run() -> None:
        try:
            await scenario(classifier)
        finally:
            classifier.close()

    asyncio.run(run())


def test_each_task_answers_as_if_it_were_the_only_one(tmp_path: Path) -> None:
    request = ClassifyRequest(inputs=["fra_Latn: bonjour", "good day", "swh_Latn: habari"])

    async def scenario(classifier: Classifier) -> None:
        topic, tone = await classifier.ask(request, ["topic", "tone"])
        assert (topic.task, tone.task) == ("topic", "tone")
        for task, answer in (("topic", topic), ("tone", tone)):
            alone = await classifier.classify(request.model_copy(update={"task": task}))
            assert answer == alone
        french = expected_scores("fra_Latn: bonjour", soft_prompt(5.0, labels=TONE), 2.0)
        assert {s.label: s.score for s in tone.results[0].scores} == pytest.approx(french, abs=1e-5)
        assert [r.route.clade for r in tone.results] == ["Romance", None, None]
        assert [r.route.clade for r in topic.results] == ["Romance", None, "Atlantic-Congo"]

    running(tmp_path, scenario)


def test_a_text_is_read_once_whatever_is_asked(tmp_path: Path) -> None:
    async def scenario(classifier: Classifier) -> None:
        backbone = classifier.backbone
        assert isinstance(backbone, FakeBackbone)
        backbone.batches.clear()
        backbone.pairs.clear()
        await classifier.ask(ClassifyRequest(inputs="good day"), ["tone", "topic"])
        assert (backbone.batches, backbone.pairs) == ([[8]], [[2]])

    running(tmp_path, scenario)


def test_no_task_is_the_requests_own(tmp_path: Path) -> None:
    async def scenario(classifier: Classifier) -> None:
        request = ClassifyRequest(inputs="good day", task="tone")
        assert await classifier.ask(request, ()) == [await classifier.classify(request)]

    running(tmp_path, scenario)


def test_an_unknown_task_among_several_is_refused_by_name(tmp_path: Path) -> None:
    async def scenario(classifier: Classifier) -> None:
        with pytest.raises(NotFound, match="'mood' has no routes"):
            await classifier.ask(ClassifyRequest(inputs="good day"), ["topic", "mood"])

    running(tmp_path, scenario)


@pytest.mark.parametrize("architecture", ["bloom", "xglm"])
@pytest.mark.parametrize("seed", range(3))
def test_tasks_together_score_as_each_alone(architecture: str, seed: int, tmp_path: Path) -> None:
    """On models with weights: random prompts, ensembles, prefixes, lengths and groupings."""
    case = made(architecture, seed, tmp_path)
    drawn = plans(case, seed, 12)
    same = [Plan(drawn[i - i % 3].ids, each.shares) for i, each in enumerate(drawn)]
    readings = [tuple(same[i : i + 3]) for i in range(0, 12, 3)]
    together = score_texts(case.backbone, readings)
    for reading, found in some(zip(readings, together, strict=True)):
        assert not isinstance(found, Unscorable)
        alone = score_plans(case.backbone, reading)
        for one, other in some(zip(found, alone, strict=True)):
            assert not isinstance(other, Unscorable)
            assert one.routed == pytest.approx(other.routed, abs=1e-5)
            assert one.candidate == pytest.approx(other.candidate, abs=1e-5)


def test_tokens_of_a_text_count_once(tmp_path: Path) -> None:
    case = made("bloom", 0, tmp_path)
    one, two = (Plan((1,) * 20, (Share(case.served[name]),)) for name in ("four", "one"))
    prompts = sum(tokens_of((each,)) - 20 for each in (one, two))
    assert tokens_of((one, two)) == 20 + prompts


def test_one_task_that_overflows_fails_its_text_and_no_other(tmp_path: Path) -> None:
    good = on_fake(soft_prompt(2.0), tmp_path, "good")
    wild = on_fake(soft_prompt(OVERFLOWING), tmp_path, "wild")
    fine, broken = (Plan((1,) * 7, (Share(each),)) for each in (good, wild))
    failed, answered = score_texts(FakeBackbone(), [(fine, broken), (fine, fine)])
    assert isinstance(failed, Unscorable)
    assert "wild@" in str(failed)
    assert not isinstance(answered, Unscorable)
    assert answered[0] == answered[1]
