"""Thresholds from claims that are drawn as the scores say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.problem import join_labels
from isogloss.prompts.format.soft_prompt import ModelRef
from isogloss.prompts.routing.routes import RouteTable
from isogloss.training.calibration.scaling import Scaling, cross_fitted, fitted
from isogloss.training.calibration.temperatures import Answers
from isogloss.training.calibration.thresholds import (
    FEWEST,
    assigned,
    best_threshold,
    cross_fitted_assigned,
    fit_thresholds,
    with_thresholds,
)
from isogloss.training.evaluation.assigned import measure_marks
from isogloss.training.evaluation.predictions import Prediction, best_answer, score_of
from tests.some import some

LABELS = ("common", "middling", "rare")
LIKELY = np.array([0.0, -1.5, -3.5])  # log odds of each label in the mean


def rows(code: str, count: int, temperature: float = 1.0, seed: int = 0) -> list[Prediction]:
    """Predictions whose labels are as often right as they say once divided by `temperature`."""
    draw = np.random.default_rng(seed)
    odds = LIKELY + 1.5 * draw.normal(size=(count, 3))
    right = draw.random((count, 3)) < 1 / (1 + np.exp(-odds))
    made = []
    for n in range(count):
        gold = join_labels(name for name, has in zip(LABELS, right[n], strict=True) if has)
        said = -np.log1p(np.exp(-odds[n] * temperature))
        scores = dict(zip(LABELS, said.tolist(), strict=True))
        answer = best_answer("multi_label", scores)
        made.append(
            Prediction(
                "tiny", "sha256:f", "a", "sha256:a", "own", code, "dev", f"s{n}x", gold, answer,
                scores, "multi_label", score_of("multi_label", gold, answer, LABELS),
            )
        )  # fmt: skip
    return made


def table(**clades: str) -> RouteTable:
    model = ModelRef(id="tiny", fingerprint="sha256:f")
    return RouteTable(model=model, task="own", universal="a", clades=clades)


def test_claims_lie_text_by_text() -> None:
    own = rows("fra_Latn", 5)
    answers = Answers.of(own)
    assert answers.claims is not None
    assert answers.claims.tolist() == [*LABELS] * 5
    assert answers.sentences.tolist() == [row.index_id for row in own for _ in LABELS]
    assert np.exp(answers.log_probs).sum(axis=1) == pytest.approx(np.ones(15))
    expected = [label in row.gold.split("|") for row in own for label in LABELS]
    assert answers.gold.tolist() == [int(each) for each in expected]


def test_what_is_surer_than_a_number_can_say_is_finite() -> None:
    sure = replace(rows("fra_Latn", 1)[0], log_probs=dict.fromkeys(LABELS, 0.0))
    assert np.isfinite(Answers.of([sure]).log_probs).all()


def test_a_label_that_is_not_scored_is_refused() -> None:
    odd = replace(rows("fra_Latn", 1)[0], gold="common|unheard")
    with pytest.raises(InvalidData, match=r"'common\|unheard' is not among the scored labels"):
        Answers.of([odd])


def test_the_temperature_is_found_again() -> None:
    answers = Answers.of(rows("fra_Latn", 1500, temperature=2.0))
    chosen, _ = fitted(answers, table(), None)
    assert chosen.temperatures["universal"] == pytest.approx(2.0, rel=0.08)


def test_thresholds_gain_macro_f1_on_texts_that_they_have_not_seen() -> None:
    dev, test = (Answers.of(rows("fra_Latn", 1500, seed=seed)) for seed in (1, 2))
    limits = fit_thresholds(dev, Scaling.none(dev), table())["universal"]
    assert limits["rare"] < limits["common"] <= 0.55  # half of the best F1
    half = assigned(test, Scaling.none(test), table())
    found = assigned(test, Scaling.none(test), with_thresholds(table(), {"universal": limits}))
    assert found.macro_f1 > half.macro_f1 + 0.02


def test_dev_is_judged_by_the_other_folds() -> None:
    """With labels that no score tells, fitted thresholds flatter and cross-fitted ones do not."""
    draw, own = np.random.default_rng(0), rows("fra_Latn", 60)
    order = draw.permutation(60).tolist()
    answers = Answers.of([replace(own[n], gold=own[order[n]].gold) for n in range(60)])
    scaling = cross_fitted(answers, table())
    fit = with_thresholds(table(), fit_thresholds(answers, scaling, table()))
    flattered = assigned(answers, scaling, fit)
    assert cross_fitted_assigned(answers, scaling, table()).micro_f1 < flattered.micro_f1


def test_a_route_with_few_texts_of_a_label_takes_everybodys_threshold() -> None:
    many, few = rows("fin_Latn", 400, seed=3), rows("fra_Latn", 40, seed=4)
    assert 0 < sum("rare" in row.gold for row in few) < FEWEST
    answers = Answers.of([*many, *few])
    thresholds = fit_thresholds(answers, Scaling.none(answers), table(Romance="b"))
    assert set(some(thresholds)) == {"universal", "Romance"}
    pooled = fit_thresholds(answers, Scaling.none(answers), table())["universal"]
    assert thresholds["Romance"]["rare"] == pooled["rare"]


def test_a_label_that_is_hardly_ever_right_has_no_threshold() -> None:
    answers = Answers.of(rows("fra_Latn", 80))
    (own,) = fit_thresholds(answers, Scaling.none(answers), table()).values()
    assert "common" in own
    assert "rare" not in own


@pytest.mark.parametrize(
    ("probabilities", "right", "threshold"),
    [
        ([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0], 0.5),
        ([0.3, 0.2, 0.1], [1, 1, 0], 0.15),
        ([0.9, 0.9, 0.9], [1, 0, 1], 0.45),  # equal ones are assigned together
        ([0.6, 0.4], [1, 1], 0.2),
    ],
)
def test_the_best_threshold(probabilities: list[float], right: list[int], threshold: float) -> None:
    found = best_threshold(np.array(probabilities), np.array(right, dtype=np.bool_))
    assert found == pytest.approx(threshold)


def test_f1_by_hand() -> None:
    said = np.array([[1, 0, 0], [1, 1, 0]], dtype=np.bool_)
    gold = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.bool_)
    found = measure_marks(said, gold)  # the third label is nowhere: not counted
    assert (found.micro_f1, found.macro_f1) == pytest.approx((0.8, (2 / 3 + 1) / 2))
