"""Choosing routes from literal tables, and publishing them as one generation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prompts.errors import InvalidData, NotFound
from prompts.store import PromptStore
from tests.training.tiny import prompt, tiny
from training.candidates import Candidate
from training.predictions import Prediction, to_bytes
from training.routing import build_routes, evidence_of, publish_routes, read_evidence
from training.select import Evidence, Rule, choose

LINEAGES = {
    "fra": ("Indo-European", "Italic", "Romance", "West"),
    "spa": ("Indo-European", "Italic", "Romance", "West"),
    "ron": ("Indo-European", "Italic", "Romance", "East"),
    "deu": ("Indo-European", "Germanic"),
    "eng": ("Indo-European", "Germanic"),
    "fin": ("Uralic", "Finnic"),
    "est": ("Uralic", "Finnic"),
    "eus": (),
}
ANY = Rule(min_languages=2, min_sentences=1)


def table(languages: str, **right: list[int]) -> Evidence:
    """Evidence of ten sentences a language: how many of them each prompt got right."""
    codes = languages.split()
    correct = {
        name: {code: [n < own for n in range(10)] for code, own in zip(codes, row, strict=True)}
        for name, row in right.items()
    }
    return Evidence({code: LINEAGES[code] for code in codes}, correct)


def test_each_clade_takes_the_best_prompt_and_nested_clades_inherit() -> None:
    evidence = table(
        "fra spa ron deu eng fin est eus",
        all_round=[5, 5, 5, 5, 5, 5, 5, 5],
        romance=[7, 7, 7, 2, 2, 1, 1, 1],
        western=[9, 9, 2, 1, 1, 1, 1, 1],
    )
    choice = choose(evidence, ANY)
    assert choice.universal.prompt == "all_round"
    assert choice.routes == {"Italic": "romance", "West": "western"}
    by_clade = {d.clade: d for d in choice.decisions}
    assert list(by_clade) == ["Indo-European", "Uralic", "Germanic", "Italic", "West"]
    west = by_clade["West"]
    assert (west.baseline, west.baseline_accuracy, west.accuracy) == ("romance", 0.7, 0.9)
    assert west.universal_accuracy == 0.5
    assert west.gain == pytest.approx(0.2)
    assert (west.languages, west.sentences, west.candidates) == (("fra", "spa"), 20, 3)
    assert not by_clade["Germanic"].routed


def test_a_clade_below_a_routed_one_may_return_to_the_universal_prompt() -> None:
    evidence = table(
        "fra spa ron deu eng",
        all_round=[6, 6, 2, 9, 9],
        eastern=[5, 5, 9, 1, 1],
    )
    choice = choose(evidence, ANY)
    assert choice.universal.prompt == "all_round"
    assert choice.routes == {"Italic": "eastern", "West": "all_round"}


def test_a_mean_over_languages_not_sentences() -> None:
    evidence = Evidence(
        {"fin": LINEAGES["fin"], "est": LINEAGES["est"]},
        {
            "many": {"fin": [True] * 90 + [False] * 10, "est": [False] * 10},
            "few": {"fin": [True] * 50 + [False] * 50, "est": [True] * 9 + [False]},
        },
    )
    assert choose(evidence, ANY).universal.prompt == "few"


def test_a_tie_keeps_what_is_there_and_then_goes_by_name() -> None:
    choice = choose(table("fra spa deu eng", b=[5, 5, 5, 5], a=[5, 5, 5, 5]), ANY)
    assert choice.universal.prompt == "a"
    assert choice.routes == {}
    assert all(d.prompt == "a" and not d.routed for d in choice.decisions)


@pytest.mark.parametrize(("min_gain", "routed"), [(0.0, True), (0.19, True), (0.21, False)])
def test_a_route_must_gain_more_than_the_margin(min_gain: float, routed: bool) -> None:
    evidence = table("fra spa deu eng", a=[5, 5, 9, 9], b=[7, 7, 1, 1])
    choice = choose(evidence, replace(ANY, min_gain=min_gain))
    assert ("Italic" in choice.routes) is routed


def test_ties_are_exact_whatever_the_order_of_the_sum() -> None:
    """In floating point (.9 + .9 + .3) / 3 is a hair above (.7 + .7 + .7) / 3."""
    evidence = table("fra spa ron deu eng", a=[7, 7, 7, 9, 9], b=[9, 9, 3, 1, 1])
    assert "Italic" not in choose(evidence, ANY).routes


def test_a_clade_needs_enough_languages_and_sentences() -> None:
    evidence = table("fra spa deu eus eng", a=[1, 1, 9, 9, 9], b=[9, 9, 1, 1, 1])
    assert "Italic" in choose(evidence, Rule(2, 20)).routes
    assert choose(evidence, Rule(2, 21)).routes.keys() == set()
    assert choose(evidence, Rule(5, 1)).decisions == ()
    assert "fin" not in evidence.lineages


def test_only_the_clades_asked_for() -> None:
    evidence = table(
        "fra spa ron deu eng fin",
        a=[1, 1, 1, 9, 9, 9],
        b=[9, 9, 9, 1, 1, 1],
    )
    assert choose(evidence, ANY, ["West", "Romance"]).routes == {"Romance": "b"}
    assert choose(evidence, ANY, ["Germanic"]).routes == {}


MODEL = tiny("bloom")
PROMPTS = {name: prompt(MODEL, n) for n, name in enumerate(("anywhere", "romance"))}
CODES = ("deu_Latn", "eng_Latn", "fra_Latn", "spa_Latn")


def rows(split: str = "dev") -> list[Prediction]:
    """`romance` is right in French and Spanish, `anywhere` elsewhere and once in French."""
    found = []
    for name, own in PROMPTS.items():
        for code in CODES:
            for n in range(6):
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
                        log_probs={"music": -0.5, "garden": -0.9},
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
    paths = [write(tmp_path / "a.csv", own[:30]), write(tmp_path / "b.jsonl", own[30:])]
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
    universal, italic = found.evidence
    assert (universal.clade, universal.prompt, universal.sentences) == (None, "anywhere", 24)
    assert (italic.clade, italic.dev_accuracy, italic.candidates) == ("Italic", 1.0, 2)
    assert italic.baseline == pytest.approx(1 / 12)


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
    with pytest.raises(InvalidData, match="'romance' has no answer to spa_Latn '5'"):
        evidence_of(rows()[:-1])
    changed = [replace(row, digest="sha256:other") for row in rows()[:1]]
    with pytest.raises(InvalidData, match=r"'anywhere' is sha256:.* and sha256:other"):
        evidence_of(rows() + changed)
    again = [replace(row, predicted="garden") for row in rows() if row.correct][:1]
    with pytest.raises(InvalidData, match="two answers to deu_Latn '0'"):
        evidence_of(rows() + again)
    assert evidence_of(rows() + rows()) == evidence_of(rows())


def test_clades_nobody_speaks_are_refused() -> None:
    with pytest.raises(InvalidData, match="belongs to Klingonic"):
        build_routes(rows(), ANY, ["Italic", "Klingonic"], None, given())
