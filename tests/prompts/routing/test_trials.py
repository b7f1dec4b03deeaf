"""What a trial is: whom it takes, and what is left of it when routes change."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.routing.trials import Trial, TrialLimits, still_on_trial, trial_of
from isogloss.prompts.store.trial_changes import TrialPlan
from tests.prompts import samples

FINGERPRINT = samples.MODEL.fingerprint
KEYS = [f"client-{number}" for number in range(20_000)]


def trial(**given: Any) -> Trial:
    usual = {
        "name": "romance",
        "candidate": "romance@2",
        "fingerprint": FINGERPRINT,
        "task": "topic",
        "kind": "canary",
        "share": 0.05,
        "clades": ("Romance",),
        "started_at": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return Trial.model_validate({**usual, **given})


# Whom it takes


def test_who_is_taken_never_changes() -> None:
    """Replicas of several releases must agree: these were written down once, and stay."""
    half, other = (trial(share=0.5, candidate=own) for own in ("romance@2", "romance@3"))
    assert [key for key in "abcdefghijklmnop" if half.takes(key)] == [*"fhijnp"]
    assert [key for key in "abcdefghijklmnop" if other.takes(key)] == [*"chijlnp"]
    assert [half.takes(key) for key in ("", "日本\n", "a b")] == [True, True, False]


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.2, 0.5, 0.99])
def test_the_share_is_kept(share: float) -> None:
    taken = sum(map(trial(share=share).takes, KEYS))
    deviation = math.sqrt(share * (1 - share) / len(KEYS))
    assert abs(taken / len(KEYS) - share) < 4 * deviation


def test_all_of_the_texts_are_all() -> None:
    assert all(map(trial(share=1).takes, [*KEYS, "", "\ud800"]))
    assert not any(map(trial(share=1e-15).takes, KEYS))


def test_a_larger_share_keeps_whom_it_had() -> None:
    before: set[str] = set()
    for share in (0.01, 0.05, 0.2, 0.8, 1.0):
        taken = {key for key in KEYS if trial(share=share).takes(key)}
        assert before < taken
        before = taken


def test_candidates_take_different_people() -> None:
    """Else the same few would get every experiment."""
    one, two = (trial(share=0.2, candidate=own) for own in ("romance@2", "romance@3"))
    both = sum(one.takes(key) and two.takes(key) for key in KEYS) / len(KEYS)
    assert abs(both - 0.04) < 4 * math.sqrt(0.04 * 0.96 / len(KEYS))


def test_kind_and_clades_do_not_decide_who_is_taken() -> None:
    other = trial(kind="shadow", clades=("universal", "Bantu"), limits=TrialLimits(min_agreement=1))
    assert [*map(other.takes, KEYS)] == [*map(trial().takes, KEYS)]


# What is left


TABLE = samples.table("world", Romance="romance", Bantu="bantu")
DIGESTS = {"world": "w", "romance": "r1", "romance@2": "r2", "bantu": "b"}


def left(running: Trial, table: RouteTable, **digests: str) -> list[tuple[str, ...]]:
    found = still_on_trial([running], [table], {**DIGESTS, **digests}.__getitem__)
    return [own.clades for own in found]


def test_a_trial_goes_on_while_its_routes_do() -> None:
    running = trial(clades=("Romance", "universal"))
    assert still_on_trial([running], [TABLE], DIGESTS.__getitem__) == (running,)


def test_a_clade_without_a_route_leaves() -> None:
    running = trial(clades=("Romance", "Bantu"))
    assert left(running, samples.table("world", Bantu="bantu")) == [("Bantu",)]
    assert left(running, samples.table("world")) == []


def test_a_clade_that_the_candidate_answers_leaves() -> None:
    running = trial(clades=("Romance", "Bantu"))
    assert left(running, TABLE, romance="r2") == [("Bantu",)]
    assert left(running, TABLE, romance="r2", bantu="r2") == []


def test_routes_of_another_model_or_task_are_not_its_own() -> None:
    mood = TABLE.model_copy(update={"task": "mood"})
    assert left(trial(), mood) == []
    assert left(trial(), TABLE.model_copy(update={"model": samples.OTHER_MODEL})) == []
    trials = [trial(), trial(name="q", candidate="q@1", task="mood")]
    assert trial_of(trials, FINGERPRINT, "mood", "Romance") == trials[1]
    assert trial_of(trials, FINGERPRINT, "topic", "Bantu") is None
    assert trial_of(trials, samples.OTHER_MODEL.fingerprint, "topic", "Romance") is None


# What it may hold


@pytest.mark.parametrize(
    "wrong",
    [{"share": 0}, {"share": 1.1}, {"share": math.nan}, {"clades": ()}, {"kind": "race"},
     {"candidate": "../x"}, {"extra": 1}, {"started_at": datetime(2026, 1, 2)}],
)  # fmt: skip
def test_a_trial_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        trial(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"min_agreement": 1.1}, {"min_agreement": math.nan}, {"max_score_drop": 0},
     {"max_latency_ratio": math.inf}, {"min_texts": 0}],
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrialLimits.model_validate(wrong)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, math.nan, math.inf])
def test_a_plan_names_a_share_that_is_none(share: float) -> None:
    with pytest.raises(InvalidInput, match=rf"share {share!r}.*at most 1"):
        TrialPlan("canary", share)
    with pytest.raises(InvalidInput, match="kind 'race'"):
        TrialPlan("race", 0.5)  # type: ignore[arg-type]


def test_a_trial_is_read_back_as_it_was() -> None:
    for own in (trial(), trial(limits=TrialLimits(max_latency_ratio=1.5), share=1 / 3)):
        assert Trial.model_validate_json(own.model_dump_json()) == own
        assert json.loads(own.model_dump_json())["share"] == own.share
