"""Texts with several labels, and levels: from a folder to an HTTP answer, by the commands alone."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from isogloss.prompts.format.prompt import load_prompt
from isogloss.prompts.store.store import PromptStore
from tests.journeys.test_own_task import WHAT, WHO, isogloss, post
from tests.some import some

SUBJECTS = ("food", "music", "weather")
LEVELS = ("nothing", "some", "much")
JOIN = {"eng_Latn": "and", "fra_Latn": "et", "spa_Latn": "y"}
Rows = list[tuple[str, str]]


def said(code: str, who: str, subjects: Iterable[str], n: int) -> str:
    what = f" {JOIN[code]} ".join(WHAT[subject][code][n] for subject in subjects)
    return f"{who} {what}."


def several(code: str) -> Rows:
    """Sentences about one subject, two, or none of the three."""
    chosen = [*itertools.combinations(SUBJECTS, 1), *itertools.combinations(SUBJECTS, 2), ()]
    return [
        ("|".join(subjects), said(code, who, subjects or ("money",), n))
        for subjects in chosen
        for n, who in itertools.product(range(2), WHO[code])
    ]


def levels(code: str) -> Rows:
    """How much of a sentence is about food: nothing, half of it, all."""
    chosen = {"nothing": ("music", "money"), "some": ("food", "music"), "much": ("food",)}
    return [
        (level, said(code, who, subjects, n))
        for level, subjects in chosen.items()
        for n, who in itertools.product(range(2), WHO[code])
    ]


def write(folder: Path, rows_of: Any) -> Path:
    for code in WHO:
        rows = rows_of(code)
        (folder / code).mkdir(parents=True)
        for split, own in {
            "train": [row for place, row in enumerate(rows) if place % 3],
            "dev": rows[::3],
            "test": rows[::3],
        }.items():
            with (folder / code / f"{split}.tsv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, delimiter="\t")
                writer.writerow(["index_id", "category", "text"])
                writer.writerows([f"{rows.index(row)}x", *row] for row in own)
    return folder


def journey(place: Path, rows_of: Any, *kind: str) -> dict[str, Any]:
    """Train, evaluate, route and calibrate; what `evaluate` and `calibrate` reported."""
    data = write(place / "data", rows_of)
    common = ("--model", "pocket-bloom", "--data", data, "--device", "cpu")
    isogloss(
        "train", *common, "--task", "own", *kind, "--shots", "all", "--source", "eng_Latn,fra_Latn",
        "--epochs", "12", "--batch-size", "8", "--out", place / "out", "--name", "own",
    )  # fmt: skip
    prompt = place / "out" / "own-seed0.safetensors"
    evaluated = isogloss(
        "evaluate", *common, "--languages", "every", "--prompts", prompt, "--out", place / "dev.csv"
    )
    tested = isogloss(
        "evaluate", *common, "--languages", "every", "--split", "test", "--prompts", prompt,
        "--out", place / "test.csv",
    )  # fmt: skip
    isogloss(
        "route", "--evaluations", place / "dev.csv", "--prompts", prompt, "--store",
        place / "store", "--min-sentences", "10",
    )  # fmt: skip
    (calibrated,) = isogloss(
        "calibrate", "--evaluations", place / "dev.csv", "--report", place / "test.csv",
        "--store", place / "store", "--out", place / "calibration",
    )["tables"]  # fmt: skip
    return {"dev": evaluated["prompts"][0], "test": tested["prompts"][0], "fit": calibrated}


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    place = tmp_path_factory.mktemp("labels")
    return place, journey(place, several, "--multi-label")


@pytest.fixture(scope="module")
def ordered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    place = tmp_path_factory.mktemp("ordered")
    return place, journey(place, levels, "--levels", ",".join(LEVELS))


def test_several_labels_are_learnt_and_measured(labels: tuple[Path, dict[str, Any]]) -> None:
    place, report = labels
    card = load_prompt(place / "out" / "own-seed0.safetensors").card
    assert (card.problem, [each.label for each in card.labels]) == ("multi_label", [*SUBJECTS])
    assert card.verbalizer.none is not None
    measured = report["test"]["measures"]
    assert set(measured) == {"micro_f1", "macro_f1"}
    assert measured["micro_f1"] > 0.6  # all labels to all texts: 0.6
    assert report["test"]["mean"] == pytest.approx(
        sum(report["test"]["languages"].values()) / len(WHO)
    )


def test_thresholds_are_fitted_on_dev_and_published(labels: tuple[Path, dict[str, Any]]) -> None:
    place, report = labels
    (table,) = PromptStore.open(place / "store").state().routes
    assert table.thresholds == report["fit"]["thresholds"]
    assert set(table.thresholds["universal"]) == set(SUBJECTS)
    assert all(0 < each < 1 for each in table.thresholds["universal"].values())
    told = report["fit"]["assigned"]["test"]
    assert set(told) == {"at_one_half", "at_thresholds"}
    assert 0 < told["at_thresholds"]["macro_f1"] <= 1


def test_several_labels_are_answered_alike_everywhere(labels: tuple[Path, dict[str, Any]]) -> None:
    store = labels[0] / "store"
    texts = [said("eng_Latn", "The new boss", ("food", "music"), 0), "La patronne paie la banque."]
    over_http = post(store, {"inputs": texts, "task": "own"})
    assert over_http == isogloss(
        "classify", *texts, "--task", "own", "--store", store, "--device", "cpu"
    )
    (table,) = PromptStore.open(store).state().routes
    limits = table.thresholds["universal"]
    for result in some(over_http["results"]):
        scores = {each["label"]: each["score"] for each in result["scores"]}
        assert result["labels"] == [n for n, p in scores.items() if p >= limits[n]]
        assert "level" not in result
    both, neither = over_http["results"]
    assert sum(score["score"] for score in both["scores"]) > 1  # each has a probability of its own
    assert set(both["labels"]) == {"food", "music"}
    assert neither["labels"] == []


def test_what_the_model_says_is_what_predictions_hold(labels: tuple[Path, dict[str, Any]]) -> None:
    place, _ = labels
    with (place / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in some(rows[:8]):
        likely = [n for n in SUBJECTS if float(row[f"log_prob.{n}"]) > -0.6931471]
        assert row["predicted"] == "|".join(likely)
        assert row["problem"] == "multi_label"
        gold, found = ({*row[name].split("|")} - {""} for name in ("gold", "predicted"))
        size = len(gold) + len(found)
        expected = 2 * len(gold & found) / size if size else 1.0
        assert float(row["score"]) == pytest.approx(expected, abs=1e-5)


def test_levels_are_learnt_in_their_order(ordered: tuple[Path, dict[str, Any]]) -> None:
    place, report = ordered
    card = load_prompt(place / "out" / "own-seed0.safetensors").card
    assert (card.problem, [each.label for each in card.labels]) == ("ordered", [*LEVELS])
    measured = report["test"]["measures"]
    assert measured["exact"] > 0.4  # chance is a third
    assert report["test"]["mean"] == pytest.approx(1 - measured["levels_off"] / 2)
    store = place / "store"
    answer = post(store, {"inputs": "Ma sœur mange du poisson et boit du lait.", "task": "own"})
    (result,) = answer["results"]
    scores = {each["label"]: each["score"] for each in result["scores"]}
    assert result["level"] == pytest.approx(scores["some"] + 2 * scores["much"], abs=1e-5)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
    assert "labels" not in result


def test_other_servers_clients_get_each_kind(
    labels: tuple[Path, dict[str, Any]], ordered: tuple[Path, dict[str, Any]]
) -> None:
    text = said("eng_Latn", "The new boss", ("food", "music"), 0)
    (flagged,) = post(labels[0] / "store", {"input": text}, path="/v1/moderations")["results"]
    assert (flagged["flagged"], flagged["categories"]["food"]) == (True, True)
    assert flagged["categories"]["weather"] is False
    question = {"type": "predicate", "name": "music", "instructions": "Is it about music?"}
    body: dict[str, Any] = {"input": text, "questions": [question]}
    (answer,) = post(labels[0] / "store", body, path="/v1/decisions")["answers"]
    assert answer["probability"] > 0.5
    steps = [{"label": level} for level in LEVELS]
    asked = {"type": "score", "name": "own", "instructions": "How much?", "levels": steps}
    body["questions"] = [asked]
    (answer,) = post(ordered[0] / "store", body, path="/v1/decisions")["answers"]
    assert [each["label"] for each in answer["probabilities"]] == [*LEVELS]
    sent = {"inputs": text, "parameters": {"function_to_apply": "sigmoid"}}
    assert len(post(labels[0] / "store", sent, path="/")[0]) == 3
    refused = post(ordered[0] / "store", sent, path="/", status=422)
    assert "send softmax or none" in json.dumps(refused)
