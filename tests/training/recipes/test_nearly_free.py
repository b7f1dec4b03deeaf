"""What prompts together and label priors gain: on made-up answers whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from isogloss.prompts.errors import InvalidData
from isogloss.training.evaluation.predictions import Prediction
from isogloss.training.recipes.ship.nearly_free import Answers, answers_of, compare, table

LABELS = ("a", "b", "c")
SEEDS, LANGUAGES, SENTENCES = 8, 6, 600


def made(luck: np.random.Generator, *, bias: float, noise: float = 1.5) -> Answers:
    """Every prompt sees the right label through its own noise, and likes one label too much."""
    gold = luck.integers(len(LABELS), size=SENTENCES)
    signal = np.eye(len(LABELS))[gold]
    noises = noise * luck.standard_normal((SEEDS, LANGUAGES, SENTENCES, len(LABELS)))
    liked = bias * np.eye(len(LABELS))[0]
    return Answers(
        signal + noises + liked,
        gold,
        np.arange(SENTENCES) // 2,
        tuple(f"l{n}" for n in range(LANGUAGES)),
        LABELS,
    )


def priors(answers: Answers) -> np.ndarray:
    return answers.log_probs.mean(axis=2, keepdims=True)


def test_together_is_better_where_errors_differ_and_priors_where_a_label_is_liked() -> None:
    luck = np.random.default_rng(3)
    test, dev = made(luck, bias=1.5), made(luck, bias=1.5)
    rows = {row.way: row for row in compare(test, dev, priors(test), draws=300)}
    assert rows["single"].gain_over_mean_single == 0.0
    for way in ("single, prior", "ensemble of 4, prior"):
        assert rows[way].low > 0, way
        assert rows[way].low < rows[way].gain_over_mean_single < rows[way].high
    both, one = rows["ensemble of 4, prior"], rows["ensemble of 4"]
    assert both.gain_over_mean_single > one.gain_over_mean_single
    assert both.best_low > 0
    columns, cells = table(list(rows.values()))
    assert columns[:2] == ["way", "prompts"]
    assert len(cells) == 5


def test_prompts_that_say_the_same_gain_nothing_together() -> None:
    luck = np.random.default_rng(4)
    one = made(luck, bias=0.0)
    same = Answers(
        np.repeat(one.log_probs[:1], SEEDS, axis=0), one.gold, one.articles, one.languages, LABELS
    )
    rows = {row.way: row for row in compare(same, same, np.zeros_like(priors(same)), draws=50)}
    assert {row.gain_over_mean_single for row in rows.values()} == {0.0}
    assert {row.gain_over_best_on_dev for row in rows.values()} == {0.0}


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Half-samples of eight seeds, and articles: some 95 in 100 of worlds drawn anew."""
    luck = np.random.default_rng(5)
    large = [made(luck, bias=0.0, noise=1.0) for _ in range(40)]
    truth = np.mean([gain(world)[0] for world in large])
    covered = [low <= truth <= high for _, low, high in map(gain, large)]
    assert np.mean(covered) >= 0.85


def gain(world: Answers) -> tuple[float, float, float]:
    rows = {r.way: r for r in compare(world, world, np.zeros_like(priors(world)), draws=200)}
    own = rows["ensemble of 4"]
    return own.gain_over_mean_single, own.low, own.high


def test_predictions_are_put_in_order_and_a_lacking_one_is_named() -> None:
    rows = [
        Prediction("m", "f", prompt, "d", "topic", code, "test", name, gold, "a", said)
        for prompt, said in (
            ("p-seed0", {"b": -1.0, "a": -0.5}),
            ("p-seed1", {"a": -2.0, "b": -0.1}),
        )
        for code in ("eng_Latn", "fra_Latn")
        for name, gold in (("7", "a"), ("8", "a"), ("40", "b"))
    ]
    answers = answers_of(rows, ["p-seed0", "p-seed1"])
    assert answers.log_probs.shape == (2, 2, 3, 2)
    assert answers.log_probs[0, 0, 0].tolist() == [-0.5, -1.0]  # labels in order
    assert answers.gold.tolist() == [0, 0, 1]
    assert answers.articles[0] == answers.articles[1] != answers.articles[2]
    with pytest.raises(InvalidData, match=r"p-seed1.*fra_Latn"):
        answers_of(rows[:-1], ["p-seed0", "p-seed1"])
