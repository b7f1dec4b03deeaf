"""Temperatures from sentences that are drawn as the scores say, and their way into a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isogloss.prompts.errors import InvalidData, NotFound, Unavailable
from isogloss.prompts.format.soft_prompt import ModelRef, SoftPrompt
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore
from isogloss.training.calibration.calibrated import calibrate, publish_temperatures
from isogloss.training.calibration.reliability import bins, measure
from isogloss.training.calibration.scaling import Scaling, cross_fitted
from isogloss.training.calibration.temperatures import Answers, Node, fit, nodes, with_temperatures
from isogloss.training.evaluation.predictions import Prediction, to_bytes
from tests.training.commands import answer, isogloss, rows_of
from tests.training.tiny import LABELS, prompt, tiny

MODEL = tiny("bloom")
DIGESTS = {name: f"sha256:{name * 64}" for name in "abc"}
ROMANCE = ("fra_Latn", "spa_Latn", "por_Latn", "ita_Latn")


def routes(universal: str = "a", **clades: str) -> RouteTable:
    model = ModelRef(id=MODEL.model_id, fingerprint=MODEL.fingerprint)
    return RouteTable(model=model, task="home", universal=universal, clades=clades)


def answers(code: str, count: int, temperature: float, seed: int = 0, **changes: Any) -> Any:
    """Predictions whose scores are as often right as they say once divided by `temperature`."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(count, len(LABELS))) * 1.5
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gold = [draw.choice(len(LABELS), p=own) for own in likely]
    claimed = logits * temperature
    claimed -= np.log(np.exp(claimed).sum(axis=1, keepdims=True))
    rows = [
        Prediction(
            model=MODEL.model_id,
            fingerprint=MODEL.fingerprint,
            prompt="a",
            digest=DIGESTS["a"],
            task="home",
            language=code,
            split="dev",
            index_id=f"s{place}",
            gold=LABELS[right],
            predicted=LABELS[int(own.argmax())],
            log_probs=dict(zip(LABELS, own.tolist(), strict=True)),
        )
        for place, (right, own) in enumerate(zip(gold, claimed, strict=True))
    ]
    return [replace(row, **changes) for row in rows]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_the_scores_were_made_with_is_found(temperature: float) -> None:
    fitted = fit(Answers.of(answers("deu_Latn", 3000, temperature)), routes())
    assert fitted["universal"] == pytest.approx(temperature, rel=0.1)


def test_much_evidence_has_its_own_temperature_and_thin_evidence_its_parents() -> None:
    rows = answers("deu_Latn", 4000, 1.0) + answers("fra_Latn", 4000, 2.5, seed=1)
    many = fit(Answers.of(rows), routes())
    assert many["Germanic"] == pytest.approx(1.0, rel=0.1)
    assert many["Italic"] == pytest.approx(2.5, rel=0.1)
    thin = fit(Answers.of(rows[:4000] + rows[4000:4005]), routes())
    assert thin["Italic"] == pytest.approx(thin["universal"], rel=0.2)
    assert thin["universal"] == pytest.approx(1.0, rel=0.1)


def test_a_clade_is_drawn_to_its_route_and_not_to_other_prompts() -> None:
    rows = [row for code in ROMANCE[:3] for row in answers(code, 2000, 3.0)]
    rows += answers("ita_Latn", 4, 1.0) + answers("deu_Latn", 9000, 1.0)
    fitted = fit(Answers.of(rows), routes(Romance="b"))
    assert fitted["Romance"] == pytest.approx(3.0, rel=0.1)
    assert fitted["Italo-Dalmatian"] == pytest.approx(3.0, rel=0.15)
    assert fitted["universal"] == pytest.approx(1.0, rel=0.1)


def test_a_route_without_evidence_takes_the_temperature_of_all() -> None:
    fitted = fit(Answers.of(answers("deu_Latn", 2000, 2.0)), routes(Romance="b"))
    assert fitted["Romance"] == pytest.approx(2.0, rel=0.1)


def test_every_route_and_what_evidence_can_tell_apart_below_it() -> None:
    table = routes(Romance="b", Turkic="c")
    found = {
        node.name: node for node in nodes(table, ["deu_Latn", "eng_Latn", "eus_Latn", *ROMANCE])
    }
    assert found["universal"].languages == ("deu_Latn", "eng_Latn", "eus_Latn")
    assert found["Indo-European"] == Node("Indo-European", "universal", ("deu_Latn", "eng_Latn"))
    assert "Germanic" not in found  # the same languages as Indo-European: evidence is one
    assert found["Romance"].languages == ROMANCE
    assert found["Turkic"] == Node("Turkic", None, ())
    assert set(found["Western_Romance"].languages) == {"fra_Latn", "spa_Latn", "por_Latn"}
    assert found["Western_Romance"].parent == "Romance"
    assert not {"Italic", "Latinic"} & set(found)  # above the route: nobody answers under them
    order = list(found)
    assert all(order.index(n.parent) < order.index(n.name) for n in found.values() if n.parent)


def test_rows_get_the_temperature_that_serving_would_take() -> None:
    table = with_temperatures(routes(Romance="b"), {"universal": 2.0, "Romance": 3.0})
    rows = [*answers("fra_Latn", 1, 1.0), *answers("eus_Latn", 1, 1.0)]
    assert Scaling.served(Answers.of(rows), table).temperatures.tolist() == [3.0, 2.0]


def test_no_sentence_is_judged_by_what_it_taught() -> None:
    rows = answers("deu_Latn", 60, 2.0) + answers("fra_Latn", 60, 2.0)
    before = cross_fitted(Answers.of(rows), routes()).temperatures
    wrong = [
        replace(row, gold=min(row.log_probs, key=row.log_probs.__getitem__))
        if row.index_id == "s7"
        else row
        for row in rows
    ]
    after = cross_fitted(Answers.of(wrong), routes()).temperatures
    assert before[7] == after[7]
    assert before[67] == after[67]  # its translation
    assert (before != after).any()
    assert len(set(before.tolist())) > 1


def test_scaling_mends_what_was_claimed_and_changes_no_label() -> None:
    rows = Answers.of(answers("deu_Latn", 4000, 3.0))
    scaling = Scaling(np.zeros((4000, len(LABELS))), np.full(4000, 3.0))
    measured = measure(rows, scaling)
    assert measured.accuracy_after == measured.accuracy
    assert measured.before.calibration_error > 0.1
    assert measured.after.calibration_error < 0.03
    assert measured.after.surprise < measured.before.surprise
    assert measured.after.confidence == pytest.approx(measured.accuracy, abs=0.02)
    points = bins(rows, scaling)
    assert sum(point.answers for point in points) == 4000
    assert all(point.low <= point.confidence <= point.high for point in points)
    weighted = sum(p.answers * abs(p.confidence - p.accuracy) for p in points) / 4000
    assert weighted == pytest.approx(measured.after.calibration_error)


PROMPTS = {name: prompt(MODEL, seed) for seed, name in enumerate("ab")}


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    """Prompt "b" for Romance, "a" for all others."""
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish(PROMPTS, [routes(Romance="b")])
    return store


def evaluated(split: str) -> list[Prediction]:
    """Both prompts everywhere: "a" claims twice too much, and "b" eight times too much."""
    seed = {"dev": 0, "test": 1}[split]
    return [
        row
        for name, temperature in (("a", 2.0), ("b", 8.0))
        for code in ("deu_Latn", "fra_Latn", "swh_Latn")
        for row in answers(
            code, 600, temperature, seed, prompt=name, digest=PROMPTS[name].digest, split=split
        )
    ]


def write(path: Path, rows: list[Prediction], *, scores: bool = True) -> Path:
    path.write_bytes(to_bytes(rows, path.suffix, scores=scores))
    return path


def test_the_command_publishes_temperatures_and_says_what_they_do(
    store: PromptStore, tmp_path: Path
) -> None:
    dev = write(tmp_path / "dev.csv", evaluated("dev"))
    test = write(tmp_path / "test.jsonl", evaluated("test"))
    options = ("--evaluations", dev, "--report", test, "--store", store.root)
    told = answer("calibrate", *options, "--out", tmp_path / "out")
    assert told["generation"] == store.latest() == 2
    (table,) = told["tables"]
    assert table["temperatures"]["universal"] == pytest.approx(2.0, rel=0.15)
    assert table["temperatures"]["Romance"] == pytest.approx(8.0, rel=0.15)
    everywhere = table["clades"][0]
    assert (everywhere["clade"], len(everywhere["languages"])) == ("(all)", 3)
    for split in ("dev", "test"):
        measured = everywhere["measured"][split]
        assert measured["answers"] == 3 * 600  # each language under its own prompt only
        assert measured["calibration_error_after"] < 0.05 < measured["calibration_error_before"]
    (stored,) = store.state().routes
    assert stored.temperatures == table["temperatures"]
    assert (stored.universal, stored.clades) == ("a", {"Romance": "b"})
    assert "calibration error" in store.state().note
    calibration = rows_of(tmp_path / "out" / "calibration.csv")
    assert {row["split"] for row in calibration} == {"dev", "test"}
    reliability = rows_of(tmp_path / "out" / "reliability.csv")
    assert sum(int(row["answers"]) for row in reliability) == 4 * 3 * 600


def test_a_dry_run_shows_the_same_and_publishes_nothing(store: PromptStore, tmp_path: Path) -> None:
    dev = write(tmp_path / "dev.csv", evaluated("dev"))
    shown = isogloss("calibrate", "--evaluations", dev, "--store", store.root, "--dry-run").stdout
    for words in ("universal", "Romance", "dev error", "dry run: nothing was published"):
        assert words in shown
    assert "test error" not in shown
    assert store.latest() == 1


@pytest.mark.parametrize(
    ("changes", "scores", "said"),
    [
        ({"split": "test"}, True, "predictions of the test split"),
        ({}, False, "no scores to calibrate; evaluate again with --scores"),
        ({"digest": DIGESTS["c"]}, True, "no predictions of the prompts that tiny-bloom routes to"),
        ({"task": "mood"}, True, "no routes for tiny-bloom and task 'mood'"),
        ({"log_probs": {"only": 0.0}}, True, "'garden' is not among the scored labels"),
    ],
)
def test_evidence_that_is_none_is_refused(
    store: PromptStore, tmp_path: Path, changes: Mapping[str, Any], scores: bool, said: str
) -> None:
    digest = PROMPTS["a"].digest
    rows = answers("deu_Latn", 5, 1.0, digest=digest, gold="garden")
    rows = [replace(row, **changes) for row in rows]
    dev = write(tmp_path / "dev.csv", rows, scores=scores)
    refused = isogloss("calibrate", "--evaluations", dev, "--store", store.root, exit_code=2)
    assert said in refused.stderr
    assert store.latest() == 1


def test_languages_without_their_routed_prompt_are_named(
    store: PromptStore, tmp_path: Path
) -> None:
    rows = [row for row in evaluated("dev") if row.prompt == "a"]
    dev = write(tmp_path / "dev.csv", rows)
    done = isogloss("calibrate", "--evaluations", dev, "--store", store.root)
    assert "1 languages were not evaluated" in done.stderr
    assert "fra_Latn" in done.stderr


def test_prompts_of_one_task_score_the_same_labels() -> None:
    rows = answers("deu_Latn", 5, 1.0)
    odd = replace(rows[1], log_probs={"sports": 0.0}, prompt="odd")
    with pytest.raises(InvalidData, match="prompt 'odd' scores"):
        Answers.of([rows[0], odd])


def test_temperatures_of_prompts_that_were_replaced_meanwhile_are_not_published(
    store: PromptStore,
) -> None:
    dev = evaluated("dev")
    state = store.state()
    own = calibrate((MODEL.fingerprint, "home"), dev, [], state)
    store.publish({"b": prompt(MODEL, 9)})
    with pytest.raises(Unavailable, match="changed while they were calibrated"):
        publish_temperatures(store, [own], "")
    store.publish({"b": PROMPTS["b"]}, [routes(Italic="b")])
    with pytest.raises(Unavailable, match="changed while they were calibrated"):
        publish_temperatures(store, [own], "")
    with pytest.raises(NotFound, match="no routes for"):
        calibrate((MODEL.fingerprint, "mood"), dev, [], state)


def test_a_store_keeps_temperatures_with_the_routes(store: PromptStore) -> None:
    dev = evaluated("dev")
    own = calibrate((MODEL.fingerprint, "home"), dev, [], store.state())
    published = publish_temperatures(store, [own], "measured")
    assert published.generation == 2
    again = PromptStore.open(store.root).state()
    assert again.routes == (own.table,)
    assert isinstance(store.read(again.resolve("b")[2]), SoftPrompt)
    assert publish_temperatures(store, [own], "measured").generation == 2  # nothing changed
