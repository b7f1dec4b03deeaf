"""Label priors: what texts without labels teach, which routes dev lets use it, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.format.soft_prompt import ModelRef, SoftPrompt
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.store.store import PromptStore
from isogloss.training.calibration.calibrated import calibrate, publish_temperatures
from isogloss.training.calibration.priors import Heard, Learned, hear, learn_priors, shrunk
from isogloss.training.calibration.scaling import (
    PriorRule,
    Scaling,
    cross_fitted,
    decide,
    fitted,
)
from isogloss.training.calibration.temperatures import Answers
from isogloss.training.evaluation.candidates import Candidate
from isogloss.training.evaluation.predictions import Prediction, to_bytes
from tests.some import some
from tests.training.commands import answer, isogloss, rows_of
from tests.training.tiny import LABELS, WORDS, prompt, save_tiny, tiny, write_task

MODEL = tiny("bloom")
PROMPTS = {name: prompt(MODEL, seed) for seed, name in enumerate("ab")}
BIAS = dict(zip(LABELS, (1.5, 0.0, -0.5, -1.0), strict=True))


def routes(universal: str = "a", **clades: str) -> RouteTable:
    model = ModelRef(id=MODEL.model_id, fingerprint=MODEL.fingerprint)
    return RouteTable(model=model, task="home", universal=universal, clades=clades)


def answers(code: str, count: int, *, biased: bool, seed: int = 0, **changes: Any) -> Any:
    """Predictions that lean to some labels by `BIAS`: because they are biased, or as labels do."""
    draw = np.random.default_rng(seed)
    lean = np.array(list(BIAS.values()))
    logits = draw.normal(size=(count, len(LABELS))) * 1.5
    true = logits if biased else logits + lean
    gold = [draw.choice(len(LABELS), p=row) for row in np.exp(true) / np.exp(true).sum(1)[:, None]]
    said = logits + lean
    said -= np.log(np.exp(said).sum(axis=1, keepdims=True))
    rows = [
        Prediction(
            model=MODEL.model_id,
            fingerprint=MODEL.fingerprint,
            prompt="a",
            digest=PROMPTS["a"].digest,
            task="home",
            language=code,
            split="dev",
            index_id=f"s{place}",
            gold=LABELS[right],
            predicted=LABELS[int(row.argmax())],
            log_probs=dict(zip(LABELS, row.tolist(), strict=True)),
        )
        for place, (right, row) in enumerate(zip(gold, said, strict=True))
    ]
    return [replace(row, **changes) for row in rows]


def rule(*names: str, min_probability: float = 0.75) -> PriorRule:
    """The bias as the prior of these routes."""
    return PriorRule(Learned({name: {name: BIAS} for name in names}, {}), min_probability)


def heard(mean: dict[str, float], texts: int = 200, variance: float = 1.0) -> Heard:
    return Heard(texts, mean, dict.fromkeys(mean, variance))


def means(**by_label: float) -> dict[str, float]:
    """Centred, in the labels' order."""
    values = [by_label.get(label, 0.0) for label in LABELS]
    return {label: v - sum(values) / 4 for label, v in zip(LABELS, values, strict=True)}


def centred(prior: dict[str, float]) -> dict[str, float]:
    return means(**prior)


def test_dev_tells_a_prompt_that_leans_from_labels_that_do() -> None:
    rows = answers("deu_Latn", 300, biased=True) + answers("fra_Latn", 300, biased=False)
    table, decisions = fitted(Answers.of(rows), routes(Romance="b"), rule("universal", "Romance"))
    found = {decision.route: decision for decision in decisions}
    assert found["universal"].used
    assert found["universal"].gain > 0.03
    assert found["universal"].probability > 0.95
    assert not found["Romance"].used
    assert found["Romance"].gain < 0
    assert found["Romance"].interval[0] < found["Romance"].gain < found["Romance"].interval[1]
    assert table.priors == {"universal": BIAS}


def test_languages_without_dev_sentences_have_a_prior_where_their_route_has() -> None:
    own = {"universal": BIAS, "swe_Latn": dict.fromkeys(LABELS, -1.0)}
    learned = PriorRule(Learned({"universal": own, "Romance": {"spa_Latn": BIAS}}, {}))
    table, _ = fitted(
        Answers.of(answers("deu_Latn", 300, biased=True)), routes(Romance="b"), learned
    )
    assert set(table.priors) == {"universal", "swe_Latn"}  # nobody asked dev about Romance


def test_what_changes_no_answer_is_not_used() -> None:
    rows = Answers.of(answers("deu_Latn", 50, biased=True))
    same = PriorRule(Learned({"universal": {"universal": dict.fromkeys(LABELS, -1.4)}}, {}))
    (decision,) = decide(rows, routes(), same)
    assert (decision.gain, decision.probability, decision.used) == (0.0, 0.5, False)


def test_translations_of_one_sentence_are_one_unit() -> None:
    """The same answers in six languages say no more than in one."""
    one = answers("deu_Latn", 60, biased=True)
    codes = ("nld_Latn", "swe_Latn", "dan_Latn", "isl_Latn", "eng_Latn")
    many = one + [replace(row, language=code) for code in codes for row in one]
    alone, together = (
        decide(Answers.of(rows), routes(), rule("universal"))[0] for rows in (one, many)
    )
    assert together.sentences == 6 * alone.sentences
    assert together.gain == pytest.approx(alone.gain)
    assert together.interval == pytest.approx(alone.interval)


def test_neighbouring_sentences_of_one_article_are_one_unit() -> None:
    """Each answer three times over says no more than once."""
    rows = answers("deu_Latn", 60, biased=True)
    thrice = [
        replace(row, index_id=str(10 * place + part))
        for place, row in enumerate(rows)
        for part in range(3)
    ]
    alone, together = (
        decide(Answers.of(each), routes(), rule("universal"))[0] for each in (rows, thrice)
    )
    width = alone.interval[1] - alone.interval[0]
    assert together.interval[1] - together.interval[0] == pytest.approx(width, rel=0.1)


def test_a_prior_has_to_be_as_sure_as_was_asked() -> None:
    rows = Answers.of(answers("deu_Latn", 40, biased=True, seed=5))
    (decision,) = decide(rows, routes(), rule("universal", min_probability=0.5))
    assert decision.used
    assert decision.probability < 1
    strict = rule("universal", min_probability=min(0.9999, decision.probability + 1e-4))
    assert not decide(rows, routes(), strict)[0].used


def test_temperatures_are_fitted_after_the_prior() -> None:
    rows = answers("deu_Latn", 3000, biased=True)
    sharp = [replace(r, log_probs={k: 2 * v for k, v in r.log_probs.items()}) for r in rows]
    twice = PriorRule(
        Learned({"universal": {"universal": {k: 2 * v for k, v in BIAS.items()}}}, {})
    )
    table, _ = fitted(Answers.of(sharp), routes(), twice)
    assert table.temperatures["universal"] == pytest.approx(2.0, rel=0.1)
    without, _ = fitted(Answers.of(sharp), routes(), None)
    assert without.temperatures["universal"] > 2.3


def test_a_sentences_own_answer_never_decides_about_its_prior() -> None:
    rows = answers("deu_Latn", 60, biased=True)
    flipped = [
        replace(row, gold=min(row.log_probs, key=row.log_probs.__getitem__))
        if row.index_id == "s7"
        else row
        for row in rows
    ]
    before, after = (
        cross_fitted(Answers.of(each), routes(), rule("universal")) for each in (rows, flipped)
    )
    assert before.priors[7].tolist() == after.priors[7].tolist()
    assert before.temperatures[7] == after.temperatures[7]


def test_without_a_rule_the_priors_of_the_routes_stay_and_count() -> None:
    rows = Answers.of(answers("deu_Latn", 300, biased=False))
    had = routes().model_copy(update={"priors": {"universal": BIAS}})
    table, decisions = fitted(rows, had, None)
    assert (table.priors, decisions) == ({"universal": BIAS}, ())
    assert Scaling.served(rows, table).priors[0].tolist() == list(BIAS.values())


def test_priors_are_found_as_serving_finds_them() -> None:
    own = dict.fromkeys(LABELS, -1.0)
    table = routes(Romance="b").model_copy(
        update={"priors": {"universal": BIAS, "deu_Latn": own, "Italic": own}}
    )
    rows = [answers(code, 1, biased=True)[0] for code in ("deu_Latn", "swh_Latn", "fra_Latn")]
    priors = Scaling.served(Answers.of(rows), table).priors.tolist()
    assert priors == [[-1.0] * 4, list(BIAS.values()), [0.0] * 4]  # Italic is above the route


def test_much_text_has_its_own_prior_and_thin_text_its_clades() -> None:
    codes = {"deu_Latn": 1.0, "nld_Latn": 1.4, "swe_Latn": 0.8, "swh_Latn": -1.0, "zul_Latn": -0.6}
    said = {code: heard(means(garden=value)) for code, value in codes.items()}
    odd = means(garden=9.0)
    much = shrunk(routes(), {**said, "dan_Latn": heard(odd, texts=5000)})["universal"]
    assert centred(much["dan_Latn"])["garden"] == pytest.approx(odd["garden"], abs=0.1)
    thin = shrunk(routes(), {**said, "dan_Latn": heard(means(garden=3.0), texts=2)})["universal"]
    germanic = np.mean([centred(thin[c])["garden"] for c in ("deu_Latn", "nld_Latn", "swe_Latn")])
    far = abs(centred(thin["dan_Latn"])["garden"] - germanic)
    assert far < 0.6 * abs(means(garden=3.0)["garden"] - germanic)
    bantu = centred(thin["Atlantic-Congo"])["garden"]
    assert bantu < 0 < centred(thin["Indo-European"])["garden"]


def test_languages_that_differ_by_chance_alone_share_one_prior() -> None:
    draw = np.random.default_rng(0)
    codes = ("deu_Latn", "nld_Latn", "swe_Latn", "fra_Latn", "spa_Latn", "swh_Latn", "zul_Latn")
    said = {
        code: heard(means(garden=1 + draw.normal() / 10, music=draw.normal() / 10), 100)
        for code in codes
    }
    found = [centred(prior)["garden"] for prior in shrunk(routes(), said)["universal"].values()]
    raw = [each.mean["garden"] for each in said.values()]
    assert max(found) - min(found) < 0.5 * (max(raw) - min(raw))


def test_a_route_learns_nothing_from_another_prompts_languages() -> None:
    said = {
        "deu_Latn": heard(means(garden=1.0)),
        "swe_Latn": heard(means(garden=1.1)),
        "fra_Latn": heard(means(music=2.0), texts=2),
    }
    found = shrunk(routes(Romance="b"), said)
    assert set(found) == {"universal", "Romance"}
    assert centred(found["Romance"]["Romance"]) == pytest.approx(means(music=2.0), abs=1e-3)
    assert "fra_Latn" not in found["universal"]


def test_what_a_prompt_says_is_the_mean_of_its_scores() -> None:
    texts = ["soup and flour", "a storm", "", "drum " * 500]
    told = hear(MODEL, Candidate("a", PROMPTS["a"]), texts, "eng_Latn")
    assert told.texts == 3  # nothing to read in one, and one is cut
    assert sum(told.mean.values()) == pytest.approx(0, abs=1e-6)
    assert set(told.mean) == set(LABELS)
    assert min(told.variance.values()) > 0


def test_what_was_read_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []

    def note(code: str, done: int, total: int, kept: bool) -> None:
        seen.append((code, kept))

    texts = {"eng_Latn": ["soup", "a storm"], "fra_Latn": ["la soupe"]}
    first = learn_priors(MODEL, routes(), PROMPTS, texts, tmp_path, note)
    damaged = next(tmp_path.glob("fra_Latn-*"))
    damaged.write_text("{")
    again = learn_priors(MODEL, routes(), PROMPTS, texts, tmp_path, note)
    assert again == first
    assert seen == [
        ("eng_Latn", False),
        ("fra_Latn", False),
        ("eng_Latn", True),
        ("fra_Latn", False),
    ]
    seen.clear()
    learn_priors(MODEL, routes("b"), PROMPTS, texts, tmp_path, note)  # another prompt
    learn_priors(MODEL, routes(), PROMPTS, {"eng_Latn": ["soup"]}, tmp_path, note)  # other texts
    assert {kept for _, kept in seen} == {False}


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    """Prompt "b" for Romance, "a" for all others."""
    store = PromptStore.open(tmp_path / "store", create=True)
    store.publish(PROMPTS, [routes(Romance="b")])
    return store


def test_evidence_tells_what_dev_decided_and_forgets_what_it_decided_before(
    store: PromptStore,
) -> None:
    key = (MODEL.fingerprint, "home")
    dev = answers("deu_Latn", 300, biased=True)
    published = publish_temperatures(
        store, [calibrate(key, dev, [], store.state(), rule("universal"))], ""
    )
    (table,) = published.routes
    assert table.priors == {"universal": BIAS}
    (evidence,) = table.evidence
    told = (evidence.model_extra or {})["prior"]
    assert told["used"]
    assert told["languages"] == ["deu_Latn"]
    explained = isogloss("route", "--explain", "deu_Latn", "--store", store.root).stdout
    assert "any text is taken off" in " ".join(explained.split())
    skewed = answers("deu_Latn", 300, biased=False)
    again = calibrate(key, skewed, [], store.state(), rule("universal"))
    assert again.table.priors == {}
    assert not (again.table.evidence[0].model_extra or {})["prior"]["used"]
    nothing = calibrate(key, skewed, [], store.state(), PriorRule(Learned({}, {})))
    assert "prior" not in (nothing.table.evidence[0].model_extra or {})


def lines(folder: Path, **texts: str) -> Path:
    folder.mkdir()
    for code, text in texts.items():
        (folder / f"{code}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("bloom", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def evaluated(saved: Path, tmp_path: Path) -> dict[str, Path]:
    """A task, a store that routes it to two prompts, and dev and test predictions of both."""
    data = write_task(tmp_path / "home")
    shop = PromptStore.open(tmp_path / "shop", create=True)
    shop.publish(PROMPTS, [routes(Romance="b")])
    paths = {"data": data, "store": shop.root}
    for split in ("dev", "test"):
        paths[split] = tmp_path / f"{split}.csv"
        isogloss(
            *("evaluate", "--model", saved, "--data", data, "--prompts", "a", "b"),
            *("--store", shop.root, "--languages", "every", "--split", split),
            *("--out", paths[split]),
        )
    return paths


def options(evaluated: dict[str, Path], *more: object) -> list[object]:
    return ["calibrate", "--evaluations", evaluated["dev"], "--store", evaluated["store"], *more]


def test_the_command_learns_from_text_and_looks_at_no_label(
    evaluated: dict[str, Path], tmp_path: Path
) -> None:
    for path in some(evaluated["data"].glob("*/train.tsv")):
        first, *rest = path.read_text(encoding="utf-8").splitlines()
        cells = [line.split("\t") for line in rest]
        garbage = ["\t".join((row[0], f"\u0007 {n}", row[2])) for n, row in enumerate(cells)]
        path.write_text("\n".join([first, *garbage]), encoding="utf-8")
        for split in ("dev", "test"):
            path.with_name(f"{split}.tsv").unlink()
    out = tmp_path / "out"
    asked = options(evaluated, "--unlabelled", evaluated["data"], "--report", evaluated["test"])
    told = answer(*asked, "--out", out, "--min-probability", 0.5)
    (table,) = told["tables"]
    assert [each["route"] for each in table["prior_decisions"]] == ["universal", "Romance"]
    (stored,) = PromptStore.open(evaluated["store"]).state().routes
    assert stored.priors == table["priors"]
    for each in table["prior_decisions"]:
        assert each["used"] == (each["route"] in stored.priors)
    assert len(list((out / "unlabelled").iterdir())) == len(WORDS)
    csv = rows_of(out / "calibration.csv")
    assert {row["prior"] for row in csv} <= {"0", "1"}
    assert all(0 <= float(row["accuracy_after"]) <= 1 for row in csv)
    again = isogloss(*asked, "--out", out, "--dry-run")
    assert "Prior" in again.stdout


def test_languages_with_text_and_no_dev_sentence_may_have_a_prior_too(
    evaluated: dict[str, Path], tmp_path: Path
) -> None:
    text = "soup and flour\n\na storm\na storm\n"
    folder = lines(tmp_path / "text", eng_Latn=text, swe_Latn="vind\n", fra_Latn="", zzz="x\n")
    asked = options(evaluated, "--unlabelled", folder, "--out", tmp_path / "out", "--dry-run")
    done = isogloss(*asked)
    said = " ".join(done.stderr.split())
    assert "no text of 2 languages" in said
    read = {p.name.split("-")[0]: json.loads(p.read_text()) for p in some(
        (tmp_path / "out" / "unlabelled").iterdir())}  # fmt: skip
    assert {code: each["texts"] for code, each in read.items()} == {"eng_Latn": 2}
    isogloss(*asked, "--languages", "every")
    codes = {path.name.split("-")[0] for path in (tmp_path / "out" / "unlabelled").iterdir()}
    assert codes == {"eng_Latn", "swe_Latn"}
    isogloss(*asked, "--languages", "swe_Latn", "--texts", 1)


def refusal(*args: object) -> str:
    return " ".join(isogloss(*args, exit_code=2).stderr.split())


def test_folders_without_text_are_refused(evaluated: dict[str, Path], tmp_path: Path) -> None:
    empty = lines(tmp_path / "empty")
    assert "holds neither" in refusal(*options(evaluated, "--unlabelled", empty))
    absent = tmp_path / "absent"
    assert "no such folder" in refusal(*options(evaluated, "--unlabelled", absent))
    other = lines(tmp_path / "other", swe_Latn="vind\n", deu_Latn=" \n\n")
    assert "no text of deu_Latn" in refusal(*options(evaluated, "--unlabelled", other))
    twice = lines(tmp_path / "twice", deu="Suppe\n", deu_Latn="Suppe\n")
    assert "are both" in refusal(*options(evaluated, "--unlabelled", twice))
    binary = lines(tmp_path / "binary")
    (binary / "deu_Latn.txt").write_bytes(b"PK\x03\x04")
    assert "ZIP archive" in refusal(*options(evaluated, "--unlabelled", binary))
    assert PromptStore.open(evaluated["store"]).latest() == 1


def test_another_model_than_the_predictions_is_refused(
    evaluated: dict[str, Path], tmp_path: Path
) -> None:
    text = lines(tmp_path / "text", deu_Latn="Suppe\n")
    two = tmp_path / "two.jsonl"
    rows = answers("deu_Latn", 3, biased=True)
    two.write_bytes(to_bytes([*rows, *(replace(r, fingerprint="other") for r in rows)], ".jsonl"))
    asked = ("--store", evaluated["store"], "--unlabelled", text)
    assert "no routes" in refusal("calibrate", "--evaluations", two, *asked)
    changed = tmp_path / "changed.csv"
    other = save_tiny("xglm", tmp_path / "xglm")
    named = [replace(row, model=str(other)) for row in rows]
    changed.write_bytes(to_bytes(named, ".csv"))
    assert "has the fingerprint" in refusal("calibrate", "--evaluations", changed, *asked)


def test_a_model_that_overflows_is_told_of() -> None:
    broken = SoftPrompt(PROMPTS["a"].card, torch.full_like(PROMPTS["a"].vectors, 1e38))
    with pytest.raises(InvalidData, match=r"overflow on a text of deu_Latn.*--dtype float32"):
        hear(MODEL, Candidate("a", broken), ["Suppe"], "deu_Latn")
