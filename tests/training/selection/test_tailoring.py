"""What tailoring gains over its controls: simulated effects, literal arms, the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import JsonValue

from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.training.evaluation.predictions import Prediction, to_bytes
from isogloss.training.selection.arms import controls_of, find_arms
from isogloss.training.selection.crossed import clade_effect, mean_effect
from isogloss.training.selection.evidence import evidence_of
from isogloss.training.selection.tailoring import (
    Tailoring,
    TailoringRow,
    measure,
    slope_rows,
    tailoring_rows,
)
from isogloss.training.selection.tailoring_figure import draw_tailoring
from tests.prompts import samples
from tests.training.commands import answer, isogloss, rows_of

Array = NDArray[np.float64]
Facts = dict[str, JsonValue]
CLADES = {"Romance": ("fra_Latn", "spa_Latn"), "Uralic": ("fin_Latn",), "Turkic": ("tur_Latn",)}
DIVERSE = ("eng_Latn", "hin_Deva", "zho_Hans")


def facts(
    way: str, clade: str | None, sources: Sequence[str], seed: int, start: str | None, **more: int
) -> Facts:
    """What a card says of a prompt's training."""
    began: JsonValue = None if start is None else {"name": "start", "digest": start}
    made: Facts = {"train_examples": 100, "batch_size": 16, "epochs_run": 6, "learning_rate": 0.03}
    named: Facts = {"way": way, "clade": clade, "sources": [*sources], "seed": seed, "start": began}
    return {**named, **made, **more}


def cards_of(seeds: Sequence[int] = (0, 1)) -> dict[str, Facts]:
    """name -> training facts; digests are the names. Two clades of one size share a control."""
    cards = {f"universal{s}": facts("diverse", None, DIVERSE, s, None) for s in seeds}
    for s in seeds:
        for clade, codes in CLADES.items():
            examples = 100 * len(codes)
            start = f"universal{s}"
            own = facts("clade", clade, codes, s, start, train_examples=examples)
            cards[f"{clade.lower()}{s}"] = own
            more = facts("diverse", None, DIVERSE, s, start, train_examples=examples)
            cards[f"continued{len(codes)}-{s}"] = more
    return cards


def same(cards: Mapping[str, object]) -> dict[str, str]:
    return {name: name for name in cards}


def predictions(
    cards: Mapping[str, Facts],
    gains: Mapping[str, float],
    *,
    luck: int = 0,
    model: str = "m",
    sentences: int = 60,
    digests: Mapping[str, str] | None = None,
) -> list[Prediction]:
    """Right half of the time, and so much more often where tuned on the language's clade."""
    drawn = np.random.default_rng(luck)
    rows = []
    for name, made in cards.items():
        for code in (code for codes in CLADES.values() for code in codes):
            right = 0.5 + gains.get(str(made["way"]) if code in str(made["sources"]) else "", 0)
            hit = drawn.random(sentences) < right
            rows += [
                Prediction(
                    model, model, name, (digests or {}).get(name, name), "topic", code, "test",
                    str(n), "ab"[n // 3 % 2], "ab"[n // 3 % 2] if hit[n] else "c", {},
                )
                for n in range(sentences)
            ]  # fmt: skip
    return rows


def measured(rows: Sequence[Prediction], cards: Mapping[str, Facts]) -> Tailoring:
    arms = find_arms(cards, same(cards))
    return measure(evidence_of(rows)[0], rows, arms)


def overall(rows: Sequence[TailoringRow]) -> dict[str, TailoringRow]:
    return {row.effect: row for row in rows if row.level == "overall"}


def drawn(
    luck: np.random.Generator, *, clade: float, seed: float, rest: float, article: float
) -> tuple[Array, Array]:
    """Effects of a true mean of 2 in 12 clades and 4 seeds, and the influence of 60 articles.

    An article moves all clades and seeds alike, a clade's seeds alike, and each one by itself.
    """
    clades, seeds, articles = 12, 4, 60
    moved = article * (
        luck.normal(size=(1, 1, articles))
        + luck.normal(size=(clades, 1, articles))
        + luck.normal(size=(clades, seeds, articles))
    )
    true = 2 + clade * luck.normal(size=(clades, 1)) + seed * luck.normal(size=(1, seeds))
    effects = true + rest * luck.normal(size=(clades, seeds)) + moved.mean(axis=2)
    return effects, (moved - moved.mean(axis=2, keepdims=True)) / articles


WORLDS = {
    "clades differ": {"clade": 2.0, "seed": 0.5, "rest": 1.0, "article": 2.0},
    "seeds differ": {"clade": 0.5, "seed": 1.5, "rest": 1.0, "article": 2.0},
    "articles alone": {"clade": 0.0, "seed": 0.0, "rest": 0.0, "article": 8.0},
}


@pytest.mark.parametrize("of", WORLDS)
def test_intervals_of_the_mean_hold_the_truth_about_95_times_in_100(of: str) -> None:
    luck = np.random.default_rng(5)
    found = [mean_effect(*drawn(luck, **WORLDS[of])) for _ in range(400)]
    held = [one.low <= 2 <= one.high for one in found if one.low and one.high]
    assert 0.92 <= np.mean(held) <= 0.985
    error = np.std([one.estimate for one in found]) / 20
    assert abs(np.mean([one.estimate for one in found]) - 2) < 3.5 * error


def test_the_spread_of_clades_is_told_from_that_of_seeds_and_articles() -> None:
    luck = np.random.default_rng(6)

    def spread(of: str) -> float:
        found = [mean_effect(*drawn(luck, **WORLDS[of])).sd_between for _ in range(300)]
        return float(np.sqrt(np.mean([one**2 for one in found if one is not None])))

    assert spread("clades differ") == pytest.approx(2.0, abs=0.15)
    assert spread("articles alone") < 0.8  # 1.0 is what articles alone add to each clade


def test_intervals_of_a_clade_hold_the_truth_about_95_times_in_100() -> None:
    luck = np.random.default_rng(7)
    held = []
    for _ in range(600):
        effects, influence = drawn(luck, clade=0, seed=1.0, rest=1.0, article=6.0)
        one = clade_effect(effects[0], influence[0])
        assert one.low is not None
        assert one.high is not None
        held.append(one.low <= 2 <= one.high)
    assert 0.92 <= np.mean(held) <= 0.985


def test_arms_are_found_by_cards() -> None:
    cards = cards_of()
    arms = find_arms(cards, same(cards))
    assert [(arm.prompt, arm.steps) for arm in arms if arm.seed == 1] == [
        ("uralic1", 42),
        ("romance1", 78),
        ("turkic1", 42),
    ]
    (romance,) = [arm for arm in arms if arm.prompt == "romance1"]
    assert controls_of(arms, romance) == {
        "universal": ("universal1",),
        "continued": ("continued2-1",),
        "mismatched": ("uralic1", "turkic1"),
    }


def test_a_prompt_trained_on_a_clades_languages_is_no_mismatch_for_it() -> None:
    cards = cards_of([0])
    cards["europe"] = facts("clade", "Indo-European", ["fra_Latn", "ell_Grek"], 0, "universal0")
    arms = find_arms(cards, same(cards))
    (romance,) = [arm for arm in arms if arm.prompt == "romance0"]
    assert "europe" not in controls_of(arms, romance)["mismatched"]


@pytest.mark.parametrize("way", ["english", "taught", "diverse"])
def test_without_a_tuned_prompt_it_is_said(way: str) -> None:
    cards = {"a": facts(way, None, ["eng_Latn"], 0, "b"), "b": facts(way, None, DIVERSE, 0, None)}
    with pytest.raises(InvalidInput, match="none that was evaluated is tuned"):
        find_arms(cards, same(cards))


def test_two_prompts_that_are_one_arm_are_refused() -> None:
    cards = cards_of()
    for name in ("romance0", "continued2-0"):
        with pytest.raises(InvalidInput, match=f"'{name}' and 'twin' are both"):
            find_arms(cards | {"twin": cards[name]}, same({**cards, "twin": {}}))


def test_equal_arms_gain_nothing() -> None:
    cards = cards_of()
    rows = predictions({"universal0": cards["universal0"]}, {})
    alike = [
        Prediction(**{**{f: getattr(r, f) for f in r.__slots__}, "prompt": name, "digest": name})
        for name in cards
        for r in rows
    ]
    found = tailoring_rows(measured(alike, cards))
    assert {row.effect for row in found} == {
        "own - universal", "own - continued", "own - mismatched"
    }  # fmt: skip
    assert {(row.estimate, row.low, row.high) for row in found} == {(0.0, 0.0, 0.0)}


def test_each_control_takes_off_what_it_has_too() -> None:
    cards = cards_of([0, 1, 2, 3])
    found = overall(tailoring_rows(measured(predictions(cards, {"clade": 0.3}), cards)))
    for row in found.values():
        assert row.low is not None
        assert row.high is not None
        assert row.low < 30 < row.high
        assert row.low > 10
    assert (found["own - continued"].clades, found["own - continued"].languages) == (3, 4)
    assert (found["own - continued"].seeds, found["own - continued"].articles) == (4, 20)


def test_no_control_of_equal_steps_is_said_to_be_absent() -> None:
    cards = cards_of()
    for seed in (0, 1):
        cards[f"continued2-{seed}"]["epochs_run"] = 5
    tailoring = measured(predictions(cards, {}), cards)
    assert [said for said in tailoring.absent if "romance" in said] == [
        f"romance{seed}: no continued control: none in --prompts and the evaluations started from "
        "the same prompt with the same seed, on diverse languages, for 78 steps of the same batch "
        "and rate"
        for seed in (0, 1)
    ]
    clades = {r.clade for r in tailoring_rows(tailoring) if r.effect == "own - continued"}
    assert clades == {"", "Uralic", "Turkic"}


def test_one_seed_has_no_interval() -> None:
    cards = cards_of([0])
    tailoring = measured(predictions(cards, {"clade": 0.3}), cards)
    assert {(row.low, row.high) for row in tailoring_rows(tailoring)} == {(None, None)}
    assert "own - universal: one seed in all clades, so the mean has no interval" in (
        tailoring.absent
    )


def test_effects_grow_with_alpha() -> None:
    cards = cards_of([0, 1, 2, 3])
    alpha = {"even": 0.0, "some": 0.5, "uneven": 1.0}
    models = [
        measured(predictions(cards, {"clade": 0.4 * x}, luck=n, model=name, sentences=150), cards)
        for n, (name, x) in enumerate(alpha.items())
    ]
    rows, unknown = slope_rows(models, alpha)
    assert unknown is None
    assert len(rows) == 3
    for row in rows:
        assert row.low is not None
        assert row.high is not None
        assert row.low < 40 < row.high
        assert row.low > 0
    for fewer in (models[:2], [models[0], models[0], models[1]]):
        rows, unknown = slope_rows(fewer, alpha)
        assert rows == []
        assert unknown is not None
        assert "cannot be told from fewer than 3 models" in unknown


def test_the_figure_names_each_clade_once() -> None:
    cards = cards_of()
    figure = draw_tailoring(tailoring_rows(measured(predictions(cards, {"clade": 0.2}), cards)))
    assert len(figure.axes) == 3
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "mean of clades"
    assert set(labels[1:]) == set(CLADES)


def files_in(folder: Path, cards: Mapping[str, Facts]) -> dict[str, str]:
    """Prompt files with these cards; name -> digest."""
    folder.mkdir()
    digests: dict[str, str] = {}
    for n, (name, training) in enumerate(cards.items()):
        start = training["start"]
        if isinstance(start, dict):
            training = {**training, "start": {"name": "u", "digest": digests[str(start["digest"])]}}
        card = samples.card().model_copy(update={"training": training})
        prompt: SoftPrompt = samples.prompt(n, of_card=card)
        prompt.save(folder / f"{name}.safetensors")
        digests[name] = prompt.digest
    return digests


def test_the_command_writes_a_table_and_a_figure(tmp_path: Path) -> None:
    cards = cards_of()
    digests = files_in(tmp_path / "prompts", cards)
    rows = predictions(cards, {"clade": 0.3}, digests=digests)
    (tmp_path / "test.csv").write_bytes(to_bytes(rows, ".csv"))
    given = ["tailoring", "--evaluations", tmp_path / "test.csv", "--prompts", tmp_path / "prompts"]
    out = ["--out", tmp_path / "out"]
    told = answer(*given, *out, "--alpha", "m=0.3")
    assert len(told["effects"]) == 12
    assert told["absent"] == [
        "how effects grow with alpha cannot be told from fewer than 3 models that differ in it; "
        "evaluate more, and give each --alpha MODEL=VALUE"
    ]
    assert len(rows_of(tmp_path / "out" / "tailoring.csv")) == 12
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"tailoring.csv", "tailoring.svg", "tailoring.png"}
    assert "mean of 3" in isogloss(*given, *out).stdout
    refused = isogloss(*given, *out, "--alpha", "other=1", exit_code=2).stderr
    assert "--alpha other: no such model in --evaluations" in refused
    assert "give MODEL=NUMBER" in isogloss(*given, *out, "--alpha", "m", exit_code=2).stderr


def test_dev_predictions_measure_nothing(tmp_path: Path) -> None:
    cards = cards_of([0])
    rows = [
        Prediction(**{**{f: getattr(r, f) for f in r.__slots__}, "split": "dev"})
        for r in predictions(cards, {})
    ]
    (tmp_path / "dev.csv").write_bytes(to_bytes(rows, ".csv"))
    given = ["tailoring", "--evaluations", tmp_path / "dev.csv", "--prompts", tmp_path]
    refused = isogloss(*given, "--out", tmp_path / "out", exit_code=2).stderr
    assert "evaluate with --split test" in refused
