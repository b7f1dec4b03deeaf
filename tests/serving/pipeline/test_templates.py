"""Prompts that read texts in templates: planned, batched and answered beside those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from isogloss.prompts.errors import InvalidPrompt
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.prompt import Prompt, members_of
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.planning import Chunk, Plan, Planner, Reading, Share, tokens_of
from isogloss.serving.pipeline.scoring import Scores, score_plans
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.registry.loader import PromptLoader
from isogloss.serving.registry.snapshot import build_snapshot
from isogloss.serving.schemas import ClassifyRequest
from tests.fakes import (
    FakeBackbone,
    FakeDetector,
    expected_scores,
    fake_classifier,
    fake_settings,
    fake_store,
    route_table,
    soft_prompt,
)
from tests.models import oracle_log_probs
from tests.serving.pipeline.test_ensembles import Counting
from tests.some import some
from tests.training.tiny import prompt, sentences, tiny, tiny_transformer

HEARD, ASKED = "Heard: {text} About:", "{text} ?"
TEXTS = [text for _, _, text in sentences("eng_Latn", "dev")]
Position = Literal["suffix", "prefix"]


class Case:
    """A tiny model that serves prompts of two templates and none, alone and together."""

    def __init__(self, architecture: str, folder: Path) -> None:
        self.oracle = tiny_transformer(architecture)
        self.backbone = tiny(architecture)
        positions: tuple[Position, ...] = ("suffix", "prefix")
        single = {
            f"{position}-{name}": prompt(self.backbone, n, 2 + n, position, template=template)
            for position in positions
            for n, (name, template) in enumerate(
                {"bare": None, "heard": HEARD, "asked": ASKED}.items()
            )
        }
        every = Ensemble.of([(name, 1, each) for name, each in single.items()])
        self.prompts: dict[str, Prompt] = {**single, "every": every}
        store = PromptStore.open(folder, create=True)
        store.publish(self.prompts)
        self.loader = PromptLoader(store, self.backbone)
        self.snapshot = build_snapshot(store.state(), self.loader)
        self.planner = Planner(
            self.backbone.tokenizer, self.backbone.max_text_tokens, FakeDetector(), 0.0
        )

    def served(self, name: str) -> ServedPrompt:
        return self.snapshot.served[name]

    def readings(self, name: str) -> list[Reading]:
        """As the planner makes them for a request that names the prompt."""
        request = ClassifyRequest(inputs=TEXTS, prompt=name)
        (planned,) = self.planner.plan(
            [Chunk(request, TEXTS, self.snapshot, override=self.served(name))]
        )
        assert not isinstance(planned, Exception)
        return planned

    def plans(self, name: str) -> list[Plan]:
        return [reading[0] for reading in self.readings(name)]

    def expected(self, name: str, text: str) -> list[float]:
        """Each member through transformers, on the text with its template written around it."""
        said = []
        for member in members_of(name, self.prompts[name]):
            card = member.prompt.card
            whole = (card.template or "{text}").replace("{text}", text)
            (ids,) = self.backbone.tokenizer.encode([whole], self.backbone.max_text_tokens)
            tokens = [label.token_id for label in card.labels]
            vectors = member.prompt.vectors
            said.append(oracle_log_probs(self.oracle, ids.ids, vectors, tokens, card.position))
        mean: list[float] = torch.stack(said).mean(0).softmax(-1).tolist()
        return mean


@pytest.mark.parametrize("architecture", ["bloom", "xglm"])
def test_a_mixed_batch_says_what_transformers_says_in_each_template(
    architecture: str, tmp_path: Path
) -> None:
    case = Case(architecture, tmp_path)
    names = list(case.prompts)
    planned = {name: case.plans(name) for name in names}
    chosen = [(names[n % len(names)], n % len(TEXTS)) for n in range(2 * len(TEXTS))]
    batch = [planned[name][place] for name, place in chosen]
    found = score_plans(case.backbone, batch)
    for (name, place), plan, scores in some(zip(chosen, batch, found, strict=True)):
        assert isinstance(scores, Scores)
        assert scores.routed == pytest.approx(case.expected(name, TEXTS[place]), abs=2e-5)
        (alone,) = score_plans(case.backbone, [plan])
        assert isinstance(alone, Scores)
        assert scores.routed == pytest.approx(alone.routed, abs=1e-5)


def test_a_text_is_read_once_a_template_by_all_that_follow_it(tmp_path: Path) -> None:
    case = Case("bloom", tmp_path)
    counting: Any = Counting(case.backbone)
    shares = [
        Share(each.prompt)
        for name in ("every", "suffix-heard")
        for each in case.plans(name)[0].shares
    ]
    (plan,) = case.plans("every")[:1]
    both = Plan(plan.ids, tuple(shares), framed=plan.framed)
    score_plans(counting, [both])
    # Three readings of the text for the four prompts after it, and one for each before it.
    assert counting.passes == [("suffix", 3, 4), ("prefix", 3, 3)]


def test_tokens_count_each_reading_of_the_text(tmp_path: Path) -> None:
    case = Case("xglm", tmp_path)
    (plan,) = case.plans("every")[:1]
    lengths = [len(plan.text_in(template).ids) for template in (None, HEARD, ASKED)]
    assert lengths[0] < lengths[2] < lengths[1]
    vectors = case.prompts["every"].length
    assert tokens_of((plan,)) == 2 * sum(lengths) + vectors
    (framed,) = case.plans("suffix-heard")[:1]
    assert tokens_of((framed,)) == lengths[1] + case.prompts["suffix-heard"].length
    assert tokens_of((framed, framed)) == lengths[1] + 2 * case.prompts["suffix-heard"].length


# On a model whose scores are known: one token a character


def running(store: PromptStore, scenario: Callable[[Classifier], Awaitable[None]]) -> None:
    classifier = fake_classifier(fake_settings(store.root, mixture_threshold=0.9))

    async def run() -> None:
        try:
            await scenario(classifier)
        finally:
            classifier.close()

    asyncio.run(run())


def store_with(folder: Path) -> PromptStore:
    store = fake_store(folder)
    framed = {
        "romance": soft_prompt(2.0, length=5, template=HEARD),
        "before": soft_prompt(3.5, position="prefix", template=ASKED),
    }
    store.publish(framed)
    return store


def test_an_answer_counts_the_templates_tokens_and_cuts_the_text(tmp_path: Path) -> None:
    long = "fra_Latn: " + "a" * FakeBackbone.max_text_tokens
    texts = ["fra_Latn: bonjour {text} {}", "good day", long]

    async def scenario(classifier: Classifier) -> None:
        answer = await classifier.classify(ClassifyRequest(inputs=texts))
        romance = soft_prompt(2.0, length=5, template=HEARD)
        expected = [
            expected_scores(texts[0], romance),
            expected_scores(texts[1], soft_prompt(1.0)),
            expected_scores(long, romance),
        ]
        around = len(HEARD) - len("{text}")
        counted = [len(texts[0]) + around, len(texts[1]), FakeBackbone.max_text_tokens]
        assert [each.tokens for each in answer.results] == counted
        assert [each.truncated for each in answer.results] == [False, False, True]
        for result, scores in zip(answer.results, expected, strict=True):
            assert {s.label: s.score for s in result.scores} == pytest.approx(scores, abs=1e-5)

    running(store_with(tmp_path), scenario)


def test_a_text_that_only_its_template_makes_too_long_is_truncated(tmp_path: Path) -> None:
    text = "fra_Latn: " + "a" * (FakeBackbone.max_text_tokens - 12)

    async def scenario(classifier: Classifier) -> None:
        plain, framed = [
            (await classifier.classify(ClassifyRequest(inputs=text, prompt=name))).results[0]
            for name in ("everywhere", "romance")
        ]
        assert (plain.tokens, plain.truncated) == (len(text), False)
        assert (framed.tokens, framed.truncated) == (FakeBackbone.max_text_tokens, True)

    running(store_with(tmp_path), scenario)


def test_prompts_of_two_templates_are_not_mixed(tmp_path: Path) -> None:
    """Mixing is nearly free because the text is read once, and here it would be read twice."""
    text = "fra_Latn 0.6 swh_Latn 0.4: bo"

    async def scenario(classifier: Classifier) -> None:
        answer = (await classifier.classify(ClassifyRequest(inputs=text))).results[0]
        assert answer.mixture is None
        assert answer.prompt.name == "romance"
        mixed = (
            await classifier.classify(ClassifyRequest(inputs=text.replace("fra", "eng", 1)))
        ).results[0]
        assert mixed.mixture is not None  # two without a template are

    running(store_with(tmp_path), scenario)


def test_a_candidate_on_trial_reads_in_its_own_template(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    candidate = soft_prompt(7.0, template=ASKED)
    store.begin_trial("everywhere", candidate, kind="canary", share=1.0)

    async def scenario(classifier: Classifier) -> None:
        classifier.warm_up()
        (result,) = (await classifier.classify(ClassifyRequest(inputs="good day"))).results
        assert result.trial is not None
        assert result.trial.side == "candidate"
        assert result.tokens == len("good day ?")
        scores = expected_scores("good day", candidate)
        assert {s.label: s.score for s in result.scores} == pytest.approx(scores, abs=1e-5)

    running(store, scenario)


def test_a_template_that_leaves_a_text_no_room_is_not_served(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    store.publish({"wordy": soft_prompt(1.0, template="{text}" + "a" * 201)})
    with pytest.raises(InvalidPrompt, match="takes 201 of the 400 tokens that fake-bloom reads"):
        PromptLoader(store, FakeBackbone()).recall(store.state().digest_of("wordy"))


def test_several_tasks_of_a_text_have_templates_of_their_own(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    tone = soft_prompt(4.0, task="tone", labels=("warm", "cold"), template=ASKED)
    store.publish({"tone": tone}, [route_table("tone", task="tone")])

    async def scenario(classifier: Classifier) -> None:
        asked = ClassifyRequest(inputs=["fra_Latn: oui", "good day"])
        both = await classifier.ask(asked, ["topic", "tone"])
        for task, answer in zip(("topic", "tone"), both, strict=True):
            alone = await classifier.classify(asked.model_copy(update={"task": task}))
            assert answer == alone
        assert [r.tokens for r in both[1].results] == [len("fra_Latn: oui ?"), len("good day ?")]

    running(store, scenario)
