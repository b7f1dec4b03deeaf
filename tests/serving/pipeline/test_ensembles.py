"""Prompts that answer together, in mixed batches, against transformers' own forward pass."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from isogloss.prompts.format.card import ModelRef, PromptCard
from isogloss.prompts.format.ensemble import Ensemble
from isogloss.prompts.format.prompt import Prompt, members_of
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.format.verbalizer import LabelToken
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.pipeline.planning import Plan, Share, tokens_of
from isogloss.serving.pipeline.scoring import Scores, Unscorable, score_batch, score_plans
from isogloss.serving.registry.loaded import ServedPrompt
from isogloss.serving.registry.loader import PromptLoader
from tests.fakes import OVERFLOWING, FakeBackbone, soft_prompt
from tests.models import ARCHITECTURES, VOCABULARY, oracle_log_probs, random_model
from tests.some import some

Position = Literal["suffix", "prefix"]
Kind = tuple[Position, bool]
"""Where a member stands, and whether it lists its labels in another order."""
TOPICS = ("sports", "travel", "politics", "health")
MOODS = ("glad", "sad")
TAGS = ("rain", "snow", "wind")
"""Any of which a text may have."""


@dataclass(frozen=True)
class Case:
    """A model, ours and theirs, and prompts of all kinds, loaded as a replica loads them."""

    oracle: Any
    backbone: Backbone
    served: dict[str, ServedPrompt]
    prompts: dict[str, Prompt]

    def expected(self, ids: Sequence[int], share: Share) -> dict[str, float]:
        """Label -> probability: each member alone through transformers, and the rest by hand."""
        said = [
            self._log_probs(tuple(ids), share.prompt.name, place)
            for place in range(len(share.prompt.loaded.members))
        ]
        mean = {label: sum(each[label] for each in said) / len(said) for label in said[0]}
        prior = share.prior or {}
        left = torch.tensor([value - prior.get(label, 0.0) for label, value in mean.items()])
        scaled = left / share.temperature
        several = self.prompts[share.prompt.name].card.verbalizer.independent
        likely = scaled.sigmoid() if several else scaled.softmax(-1)
        return dict(zip(mean, likely.tolist(), strict=True))

    def _log_probs(self, ids: tuple[int, ...], name: str, place: int) -> dict[str, float]:
        prompt = members_of(name, self.prompts[name])[place].prompt
        card = prompt.card
        tokens = [label.token_id for label in card.labels]
        if card.none is not None:
            tokens.append(card.none.token_id)
        said = oracle_log_probs(self.oracle, ids, prompt.vectors, tokens, card.position)
        if card.none is not None:
            said = said[:-1] - said[-1]  # log odds
        return dict(zip((label.label for label in card.labels), said.tolist(), strict=True))


def made(
    architecture: str, seed: int, folder: Path, dtype: torch.dtype | None = torch.float32
) -> Case:
    """Plain prompts of both positions and three tasks, and ensembles of them."""
    oracle = random_model(architecture, seed)
    backbone = Backbone.from_transformers(oracle, None, model_id=f"random-{architecture}")
    if dtype is not None:
        backbone = backbone.for_serving(dtype)
    pick = random.Random(seed)
    draw = torch.Generator().manual_seed(seed)
    tokens = {name: 6 + 7 * place for place, name in enumerate((*TOPICS, *MOODS, *TAGS))}
    task_labels = {"topic": TOPICS, "mood": MOODS, "tags": TAGS}

    def prompt(task: str, position: Position = "suffix", *, shuffled: bool = False) -> SoftPrompt:
        labels = list(task_labels[task])
        if shuffled:
            labels = labels[::-1]
        card = PromptCard(
            model=ModelRef(id=backbone.model_id, fingerprint=backbone.fingerprint),
            position=position,
            kind="plain",
            task=task,
            labels=tuple(
                LabelToken(label=name, word=name, token=name, token_id=tokens[name])
                for name in labels
            ),
            problem="multi_label" if task == "tags" else "single_label",
            none=LabelToken(label="none", word="dry", token="dry", token_id=5)
            if task == "tags"
            else None,
            created_at=datetime(2026, 1, 2, tzinfo=UTC),
        )
        length = pick.randrange(1, 9)
        return SoftPrompt(card, torch.randn(length, backbone.hidden_size, generator=draw))

    def ensemble(task: str, *kinds: Kind) -> Ensemble:
        chosen = (prompt(task, position, shuffled=shuffled) for position, shuffled in kinds)
        return Ensemble.of([(f"member-{n}", None, each) for n, each in enumerate(chosen)])

    after: Kind = ("suffix", False)
    before: Kind = ("prefix", False)
    turned: Kind = ("suffix", True)
    turned_before: Kind = ("prefix", True)
    prompts: dict[str, Prompt] = {
        "one": prompt("topic"),
        "turned": prompt("topic", shuffled=True),
        "imported": prompt("topic", "prefix"),
        "mood": prompt("mood"),
        "tag": prompt("tags"),
        "tag-before": prompt("tags", "prefix", shuffled=True),
        "tags": ensemble("tags", after, turned, before),
        "two": ensemble("topic", after, turned),
        "four": ensemble("topic", turned, after, turned, after),
        "mixed": ensemble("topic", after, before, turned_before, after),
        "imports": ensemble("topic", before, before),
        "moods": ensemble("mood", before, turned),
    }
    store = PromptStore.open(folder, create=True)
    store.publish(prompts)
    loader = PromptLoader(store, backbone)
    served = {
        name: ServedPrompt(name, 1, each.digest, loader.recall(each.digest))
        for name, each in prompts.items()
    }
    return Case(oracle, backbone, served, prompts)


def texts(seed: int, count: int) -> list[tuple[int, ...]]:
    pick = random.Random(seed)
    return [
        tuple(pick.randrange(6, VOCABULARY) for _ in range(pick.choice([1, 2, 5, 13, 29])))
        for _ in range(count)
    ]


def plans(case: Case, seed: int, count: int) -> list[Plan]:
    """Random texts under random prompts: alone, on trial, or two of one task mixed."""
    pick = random.Random(seed)
    topics = [name for name, prompt in case.prompts.items() if prompt.card.task == "topic"]

    def share(name: str, **fields: Any) -> Share:
        served = case.served[name]
        temperature = pick.choice([1.0, 0.5, 2.5])
        known = served.loaded.labels[: pick.choice([0, 1, len(served.loaded.labels)])]
        prior = {label: pick.uniform(-4, 0) for label in known} or None
        return Share(served, temperature, prior=prior, **fields)

    drawn = []
    for ids in texts(seed, count):
        kind = pick.choice(["alone", "trial", "mixture"])
        if kind == "alone":
            shares = [share(pick.choice(list(case.prompts)))]
        else:
            name, other = pick.sample(topics, 2)
            second = (
                share(other, weight=0.0, role="candidate")
                if kind == "trial"
                else share(other, weight=0.25)
            )
            shares = [share(name, weight=1.0 if kind == "trial" else 0.75), second]
        drawn.append(Plan(ids, tuple(shares)))
    return drawn


def assert_as_expected(case: Case, plan: Plan, found: Scores | Unscorable) -> None:
    assert isinstance(found, Scores)
    said = [case.expected(plan.ids, share) for share in plan.routed]
    labels = plan.heaviest.prompt.loaded.labels
    weights = [share.weight for share in plan.routed]
    mixed = [sum(w * own[label] for w, own in zip(weights, said, strict=True)) for label in labels]
    assert found.routed == pytest.approx(mixed, abs=2e-5)
    if plan.candidate is None:
        assert found.candidate is None
    else:
        own = case.expected(plan.ids, plan.candidate)
        expected = [own[label] for label in plan.candidate.prompt.loaded.labels]
        assert found.candidate == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_mixed_batch_says_what_transformers_says_of_every_member(
    architecture: str, seed: int, tmp_path: Path
) -> None:
    case = made(architecture, seed, tmp_path, torch.float32 if seed % 2 else None)
    batch = plans(case, seed, 24)
    for plan, found in zip(batch, score_plans(case.backbone, batch), strict=True):
        assert_as_expected(case, plan, found)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_row_answers_as_that_row_alone(architecture: str, tmp_path: Path) -> None:
    case = made(architecture, 7, tmp_path)
    batch = plans(case, 7, 24)
    together = score_plans(case.backbone, batch)
    for plan, found in some(zip(batch, together, strict=True)):
        (alone,) = score_plans(case.backbone, [plan])
        assert isinstance(alone, Scores)
        assert isinstance(found, Scores)
        assert found.routed == pytest.approx(alone.routed, abs=1e-5)
        assert found.candidate == pytest.approx(alone.candidate, abs=1e-5)


class Counting:
    """A backbone that notes how many texts and prompts each pass reads."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.passes: list[tuple[str, int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def read_suffixed(self, ids: Sequence[Any], prompts: Sequence[Sequence[Tensor]]) -> Tensor:
        self.passes.append(("suffix", len(ids), sum(map(len, prompts))))
        return self._backbone.read_suffixed(ids, prompts)

    def read_prefixed(self, ids: Sequence[Any], prompts: Sequence[Sequence[Tensor]]) -> Tensor:
        self.passes.append(("prefix", len(ids), sum(map(len, prompts))))
        return self._backbone.read_prefixed(ids, prompts)


def test_a_text_is_read_once_for_all_members_that_follow_it(tmp_path: Path) -> None:
    case = made("bloom", 1, tmp_path)
    counting: Any = Counting(case.backbone)
    batch = [Plan((7, 8, 9), (Share(case.served[name]),)) for name in ("four", "one", "mixed")]
    score_plans(counting, batch)
    assert counting.passes == [("suffix", 3, 4 + 1 + 2), ("prefix", 1, 2)]


def test_tokens_count_the_text_once_and_once_more_for_each_prompt_before_it(tmp_path: Path) -> None:
    case = made("xglm", 1, tmp_path)
    ids = (7,) * 20
    lengths = {name: prompt.length for name, prompt in case.prompts.items()}
    for name, passes in {"one": 1, "four": 1, "mixed": 3, "imports": 2, "imported": 1}.items():
        plan = Plan(ids, (Share(case.served[name]),))
        assert tokens_of((plan,)) == 20 * passes + lengths[name], name
    both = Plan(ids, (Share(case.served["four"]), Share(case.served["imported"], role="candidate")))
    assert tokens_of((both,)) == 2 * 20 + lengths["four"] + lengths["imported"]


# On a model whose scores are known


def together(*prompts: SoftPrompt) -> Ensemble:
    return Ensemble.of([(f"m{n}", 1, each) for n, each in enumerate(prompts)])


def on_fake(prompt: Prompt, folder: Path, name: str = "duo") -> ServedPrompt:
    store = PromptStore.open(folder, create=True)
    store.publish({name: prompt})
    loader = PromptLoader(store, FakeBackbone())
    return ServedPrompt(name, 1, prompt.digest, loader.recall(prompt.digest))


def test_independent_labels_that_overflow_are_no_sure_answer(tmp_path: Path) -> None:
    """A sigmoid makes 1 of infinite log odds."""
    wild = soft_prompt(OVERFLOWING, length=1)
    none = LabelToken(label="none", word="dry", token="dry", token_id=5)
    more = {"problem": "multi_label", "none": none, "format_version": 3}
    card = wild.card.model_copy(update=more)
    served = on_fake(SoftPrompt(card, wild.vectors), tmp_path)
    (said,) = score_plans(FakeBackbone(), [Plan((1,) * 7, (Share(served),))])
    assert isinstance(said, Unscorable)


def test_the_member_under_which_numbers_overflow_is_named(tmp_path: Path) -> None:
    wild = on_fake(together(soft_prompt(2.0), soft_prompt(OVERFLOWING, length=1)), tmp_path)
    good = on_fake(soft_prompt(2.0), tmp_path, "solo")
    batch = [Plan((1,) * 7, (Share(each),)) for each in (wild, good, wild)]
    failed, alone, again = score_plans(FakeBackbone(), batch)
    assert isinstance(alone, Scores)
    for each in (failed, again):
        assert isinstance(each, Unscorable)
        assert str(each).startswith("prompt duo@1 (its member m1@1) makes the model's numbers over")


def test_a_plain_prompt_that_overflows_names_no_member(tmp_path: Path) -> None:
    wild = on_fake(soft_prompt(OVERFLOWING, length=1), tmp_path)
    (failed,) = score_plans(FakeBackbone(), [Plan((1,), (Share(wild),))])
    assert str(failed).startswith("prompt duo@1 makes")


def test_a_candidate_that_needs_too_much_memory_is_left_out(tmp_path: Path) -> None:
    class Small(FakeBackbone):
        def read_suffixed(
            self, texts: Sequence[Sequence[int]], prompts: Sequence[Sequence[Tensor]]
        ) -> Tensor:
            if len(prompts[0]) > 2:
                raise MemoryError
            return super().read_suffixed(texts, prompts)

    routed = on_fake(soft_prompt(2.0), tmp_path, "solo")
    duo = on_fake(together(soft_prompt(3.0), soft_prompt(4.0)), tmp_path)
    plan = Plan((1,) * 7, (Share(routed), Share(duo, weight=0.0, role="candidate")))
    (reading,) = score_batch(Small(), [(plan,)])
    assert not isinstance(reading, Unscorable)
    (found,) = reading
    assert found.candidate is None
    (alone,) = score_plans(Small(), [Plan(plan.ids, plan.routed)])
    assert isinstance(alone, Scores)
    assert found.routed == alone.routed
