"""From predictions to published routes: one generation, from dev-split evidence only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from isogloss.prompts.errors import InvalidData, NotFound
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.predictions import Prediction, to_bytes
from isogloss.training.selection.choice import Rule
from isogloss.training.selection.evidence import evidence_of, read_evidence
from isogloss.training.selection.explain import explain
from isogloss.training.selection.routing import build_routes, publish_routes
from tests.training.tiny import prompt, tiny

ANY = Rule(min_languages=2, min_sentences=1)
MODEL = tiny("bloom")
PROMPTS = {name: prompt(MODEL, n) for n, name in enumerate(("anywhere", "romance"))}
SENTENCES = 40
CODES = ("deu_Latn", "eng_Latn", "fra_Latn", "spa_Latn")


def rows(split: str = "dev") -> list[Prediction]:
    """`romance` is right in French and Spanish, `anywhere` elsewhere and once in French."""
    found = []
    for name, own in PROMPTS.items():
        for code in CODES:
            for n in range(SENTENCES):
                right = (code[:3] in ("fra", "spa")) == (name == "romance") or (
                    code == "fra_Latn" and n == 0
                )
                found.append(
                    Prediction(
                        model=MODEL.model_id,
                        fingerprint=MODEL.fingerprint,
                        prompt=name,
                        digest=own.digest,
                        task="home",
                        language=code,
                        split=split,
                        index_id=str(n),
                        gold="music",
                        predicted="music" if right else "garden",
                        log_probs={"music": -0.5, "garden": -0.9 if right else -0.2},
                    )
                )
    return found


def write(path: Path, predictions: list[Prediction]) -> Path:
    path.write_bytes(to_bytes(predictions, path.suffix))
    return path


def given() -> list[Candidate]:
    return [Candidate(name, own) for name, own in PROMPTS.items()]


def test_routes_and_prompts_are_published_as_one_generation(tmp_path: Path) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    own = rows()
    paths = [write(tmp_path / "a.csv", own[:170]), write(tmp_path / "b.jsonl", own[170:])]
    (group,) = read_evidence(paths, None).values()
    routed = build_routes(group, ANY, None, store, given())
    state = publish_routes(store, [routed], "by test")
    assert (state.generation, state.note) == (1, "by test")
    assert set(state.prompts) == {"anywhere", "romance"}
    found = state.routes_for(MODEL.fingerprint, "home")
    assert found is not None
    assert found.universal == "anywhere"
    assert found.clades == {"Italic": "romance"}
    assert found.route(("Indo-European", "Italic", "Romance")).reference == "romance"
    by_clade = {own.clade: own for own in found.evidence}
    universal, italic, germanic = (by_clade[name] for name in (None, "Italic", "Germanic"))
    assert (universal.prompt, universal.sentences, universal.gain) == ("anywhere", 160, 0.0)
    assert (italic.prompt, italic.dev_accuracy, italic.candidates) == ("romance", 1.0, 2)
    assert italic.baseline == pytest.approx(1 / 80)
    assert italic.interval is not None
    assert italic.gain is not None
    assert 0 < italic.interval[0] < italic.gain < 1 - 1 / 80  # shrunk
    assert (germanic.prompt, germanic.model_dump()["routed"]) == ("anywhere", False)
    stated = italic.model_dump()["probability"]
    kept = universal.model_dump()
    assert (kept["routes"], kept["min_probability"]) == (1, ANY.min_probability)
    assert kept["harmful_expected"] == pytest.approx(1 - stated, abs=1e-9)


def test_evidence_of_older_tables_is_still_explained() -> None:
    """They kept `confidence`, and barred prompts made for a clade from being universal."""
    table = build_routes(rows(), ANY, None, None, given()).table
    new = explain(table, "fra_Latn")
    assert "anywhere, best of 2 prompts over 4 languages" in new.universal
    assert "of 1 routes, expect 0." in new.universal
    kept = [evidence.model_dump() for evidence in table.evidence]
    for facts in kept:
        facts["confidence"] = facts.pop("min_probability")
        for name in ("routes", "harmful_expected", "best_made_for"):
            facts.pop(name, None)
    old = explain(RouteTable.model_validate({**table.model_dump(), "evidence": kept}), "deu_Latn")
    assert "best of those of 2 prompts that are made for no clade, over 4" in old.universal
    assert all("None" not in step.words for step in old.steps)
    facts = next(each for each in kept if each["clade"] == "Germanic")
    facts |= {"best": "romance", "confidence": 0.9, "probability": 0.8}
    old = explain(RouteTable.model_validate({**table.model_dump(), "evidence": kept}), "deu_Latn")
    (germanic,) = (step for step in old.steps if step.clade == "Germanic")
    assert "probability 0.80, too little (0.90 is asked for)" in germanic.words


def test_neighbouring_sentences_of_one_label_are_one_article() -> None:
    evidence = evidence_of(rows())[0]
    assert evidence.membership.shape == (SENTENCES, SENTENCES // 5)
    named = evidence_of([replace(row, index_id=f"x{row.index_id}") for row in rows()])[0]
    assert named.membership.shape == (SENTENCES, SENTENCES)


def test_prompts_already_in_the_store_need_no_file(tmp_path: Path) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish(PROMPTS)
    routed = build_routes(rows(), ANY, None, store, [])
    state = publish_routes(store, [routed], "")
    assert state.generation == 2
    assert len(state.prompts["romance"].versions) == 1


def test_a_prompt_that_changed_since_its_evaluation_is_not_routed(tmp_path: Path) -> None:
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish({**PROMPTS, "romance": prompt(MODEL, 99)})
    with pytest.raises(NotFound, match=r"'romance' \(sha256:.* give its file with --prompts"):
        build_routes(rows(), ANY, None, store, [])
    with pytest.raises(NotFound, match="'anywhere'"):
        build_routes(rows(), ANY, None, None, [])
    assert store.latest() == 1


def test_a_prompt_of_another_model_than_the_predictions_say_is_not_routed() -> None:
    claimed = [replace(row, fingerprint="sha256:other", model="another") for row in rows()]
    with pytest.raises(
        InvalidData, match=r"trained for .*its predictions say another \(sha256:oth"
    ):
        build_routes(claimed, ANY, None, None, given())


def test_evidence_from_test_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"seen\.csv: predictions of the test split"):
        read_evidence([write(tmp_path / "seen.csv", rows("test"))], None)


def test_models_and_tasks_are_kept_apart(tmp_path: Path) -> None:
    other = [replace(row, model="other", fingerprint="f2") for row in rows()]
    path = write(tmp_path / "both.csv", rows() + other)
    assert len(read_evidence([path], None)) == 2
    assert set(read_evidence([path], "other")) == {("f2", "home")}
    with pytest.raises(InvalidData, match="no predictions of it"):
        read_evidence([path], "absent")


def test_evidence_must_be_complete_and_of_one_mind() -> None:
    with pytest.raises(InvalidData, match="'romance' has no answer to spa_Latn '39'"):
        evidence_of(rows()[:-1])
    changed = [replace(row, digest="sha256:other") for row in rows()[:1]]
    with pytest.raises(InvalidData, match=r"'anywhere' is sha256:.* and sha256:other"):
        evidence_of(rows() + changed)
    again = [replace(row, predicted="garden") for row in rows() if row.correct][:1]
    with pytest.raises(InvalidData, match="two answers to deu_Latn '0'"):
        evidence_of(rows() + again)
    elsewhere = [
        replace(row, gold="garden", predicted="garden" if row.correct else "music")
        for row in rows()
    ]
    one, other = (
        [row for row in own if (row.prompt == "romance") == romance]
        for own, romance in ((rows(), False), (elsewhere, True))
    )
    with pytest.raises(InvalidData, match=r"deu_Latn '0' has the gold labels 'music' and 'garden'"):
        evidence_of(one + other)
    twice, once = evidence_of(rows() + rows())[0], evidence_of(rows())[0]
    assert (twice.correct == once.correct).all()
    assert twice.lineages == once.lineages


def test_evidence_without_scores_is_right_and_wrong_alone() -> None:
    scored = evidence_of(rows())[0]
    assert scored.leads is not None
    assert scored.leads[0, 0, 0] == pytest.approx(0.4)  # right: log odds of music to garden
    assert scored.leads[1, 0, 0] == pytest.approx(-0.3)
    assert evidence_of([replace(row, log_probs={}) for row in rows()])[0].leads is None


def test_clades_nobody_speaks_are_refused() -> None:
    with pytest.raises(InvalidData, match="belongs to Klingonic"):
        build_routes(rows(), ANY, ["Italic", "Klingonic"], None, given())
