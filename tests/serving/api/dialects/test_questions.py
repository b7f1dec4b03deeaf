"""Which task a question is about, and what its answer is made of: pure, by tables."""

from __future__ import annotations

from typing import Any

import pytest

from isogloss.prompts.format.problem import expected_level
from isogloss.serving.api.dialects.questions import (
    Kind,
    Meaning,
    Names,
    Question,
    confidence,
    meaning,
    probabilities,
)
from isogloss.serving.schemas import LabelScore, LanguageAnswer, PromptAnswer, Result, RouteAnswer

TASKS = {
    "topic": ("health", "politics", "sports"),
    "urgency": ("high", "low", "medium"),
    "toxic": ("no", "yes"),
    "spam": ("ham", "spam"),
    "department": ("billing", "health", "other"),
}


@pytest.mark.parametrize(
    ("kind", "name", "options", "task", "labels"),
    [
        # By name, whatever the case; a subset in the order that was asked.
        ("choice", "topic", ("sports", "health"), "topic", ("sports", "health")),
        ("choice", " Topic ", ("Sports ", "HEALTH"), "topic", ("sports", "health")),
        ("score", "urgency", ("low", "medium", "high"), "urgency", ("low", "medium", "high")),
        # By options: the task that has no others is the best.
        ("choice", None, ("politics", "sports"), "topic", ("politics", "sports")),
        ("choice", "what_it_is", ("ham", "spam"), "spam", ("ham", "spam")),
        ("score", "", ("low", "high"), "urgency", ("low", "high")),
        ("choice", None, (True, False), None, ()),
        # A label of two tasks alone is of none: one question has at least two options.
        ("choice", None, ("health",), None, ()),
        ("choice", "topic", ("sports", "billing"), None, ()),
        ("choice", None, ("sports", "billing"), None, ()),
        ("choice", None, ("sports", "Sports"), None, ()),
        # Predicates.
        ("predicate", "sports", (), "topic", ("sports",)),
        ("predicate", "toxic", (), "toxic", ("yes",)),
        ("predicate", "spam", (), "spam", ("spam",)),
        ("predicate", "health", (), None, ()),
        ("predicate", "department:health", (), "department", ("health",)),
        ("predicate", "topic", (), None, ()),
        ("predicate", None, (), None, ()),
        ("predicate", "about cats", (), None, ()),
    ],
)
def test_a_question_is_about_a_task_or_none(
    kind: Kind, name: str | None, options: Any, task: str | None, labels: tuple[str, ...]
) -> None:
    found = meaning(Question(kind, name, options), Names.of(TASKS))
    assert found == (None if task is None else Meaning(task, labels))


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (("IT", "it"), ("IT", "it")),  # as they are written, where that tells them apart
        (("IT", "it", "DE"), ("IT", "it", "de")),
        (("It", "de"), None),
    ],
)
def test_labels_that_differ_in_case_alone_are_not_mixed_up(
    options: tuple[str, ...], labels: tuple[str, ...] | None
) -> None:
    names = Names.of({"lang": ("IT", "de", "it")})
    found = meaning(Question("choice", None, options), names)
    assert found == (None if labels is None else Meaning("lang", labels))


def test_equal_fits_are_told_apart_always_alike() -> None:
    tasks = {"b": ("x", "y"), "a": ("x", "y"), "wide": ("x", "y", "z")}
    assert meaning(Question("choice", None, ("x", "y")), Names.of(tasks)) == Meaning(
        "a", ("x", "y")
    )


def result(**scores: float) -> Result:
    """A text's scores."""
    best = max(scores, key=lambda label: scores[label])
    return Result(
        label=best,
        score=scores[best],
        scores=[LabelScore(label, score) for label, score in scores.items()],
        language=LanguageAnswer(code="und", name="", confidence=0, detected=True, known=None),
        route=RouteAnswer(clade=None, lineage=(), reason="universal"),
        prompt=PromptAnswer(name="p", version=1, digest="sha256:0"),
        tokens=1,
        truncated=False,
    )


def test_options_share_what_they_have_between_them() -> None:
    read = result(sports=0.2, health=0.6, politics=0.2)
    assert probabilities(Meaning("topic", ("sports", "health")), read) == pytest.approx(
        [0.25, 0.75]
    )
    assert probabilities(Meaning("topic", ("health",)), read) == [0.6]


def test_options_that_are_all_out_of_the_question_are_equally_so() -> None:
    read = result(sports=0.0, health=1.0, politics=0.0)
    assert probabilities(Meaning("topic", ("sports", "politics")), read) == [0.5, 0.5]
    assert confidence([0.5, 0.5]) == 0.0


@pytest.mark.parametrize(
    ("shares", "expected"),
    [([1.0, 0.0], 1.0), ([0.5, 0.5], 0.0), ([0.75, 0.25], 0.5), ([0.4, 0.3, 0.3], 0.1)],
)
def test_confidence_is_the_distance_from_a_guess(shares: list[float], expected: float) -> None:
    assert confidence(shares) == pytest.approx(expected)


def test_a_score_is_the_mean_level() -> None:
    assert expected_level([0.5, 0.25, 0.25]) == 0.75
