"""`isogloss bench mixture` on a model whose answers are known, and `precision` on a pocket one."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from isogloss.deploy.bench import commands
from isogloss.deploy.bench.accuracy import (
    bench_mixture,
    bench_precision,
    mixture_tables,
    opening,
    precision_tables,
)
from isogloss.deploy.bench.settings import MixtureSettings, PrecisionSettings, parse_precisions
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.store.store import PromptStore
from isogloss.serving.pipeline.engine import build_classifier
from tests.fakes import (
    MODEL,
    FakeBackbone,
    FakeDetector,
    route_table,
    soft_prompt,
)
from tests.training.tiny import write_tsv

# Romance's prompt says "sports" to everything, Atlantic-Congo's "politics".
PROMPTS = {"everywhere": soft_prompt(1.0), "romance": soft_prompt(-4.0), "congo": soft_prompt(3.0)}
SURE, TORN = "fra_Latn: un", "swh_Latn 0.4 fra_Latn 0.35 spa_Latn 0.25: deux"
WORDS = 7


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PromptStore:
    with_fake = partial(build_classifier, detector=lambda name: FakeDetector())
    monkeypatch.setattr("isogloss.deploy.bench.accuracy.build_classifier", with_fake)
    monkeypatch.setattr(Backbone, "load", lambda model, **_: FakeBackbone(model))
    store = PromptStore.open(tmp_path / "store", create=True)
    clades = {"Romance": "romance", "Atlantic-Congo": "congo"}
    store.publish(PROMPTS, [route_table("everywhere", clades)])
    return store


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Of four sentences in French, two may be Swahili; all are about sports."""
    folder = tmp_path / "data"
    for code in ("fra_Latn", "spa_Latn"):
        texts = [SURE, SURE, TORN, TORN]
        rows = [(str(place), "sports", f"{t} et plus") for place, t in enumerate(texts)]
        write_tsv(folder / code / "test.tsv", rows)
    return str(folder)


def run(data: str, store: PromptStore, *arguments: object) -> dict[str, Any]:
    options = ["--model", MODEL, "--data", data, "--store", store.root, "--words", WORDS]
    done = CliRunner().invoke(
        commands.app, ["mixture", *map(str, [*options, "--languages", "every", *arguments])]
    )
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def test_what_a_mixture_gains_is_measured_against_one_prompt_and_the_truth(
    store: PromptStore, data: str
) -> None:
    report = run(data, store, "--thresholds", "0.3,0.9", "--json")
    (result,) = report["results"]
    assert (result["words"], result["texts"]) == (WORDS, 8)
    off, barely, mixed, oracle = (result["ways"][way] for way in ("off", "0.3", "0.9", "oracle"))
    assert off["accuracy"] == 0.5
    assert (barely["accuracy"], barely["mixed"], barely["accuracy_of_mixed"]) == (0.5, 0.0, None)
    assert (mixed["accuracy"], mixed["gain"]) == (1.0, 0.5)
    assert (mixed["prompts_per_text"], mixed["mixed"]) == (1.5, 0.5)
    assert (mixed["accuracy_of_mixed_off"], mixed["accuracy_of_mixed"]) == (0.0, 1.0)
    low, high = mixed["interval"]
    assert 0 <= low < 0.5 < high <= 1
    assert (oracle["accuracy"], oracle["mixed"]) == (1.0, 0.0)
    assert report["ratios"][MODEL]["prompts_per_text_0.9_at_7_words"] == 1.5


def test_the_table_says_the_same(store: PromptStore, data: str, tmp_path: Path) -> None:
    out = tmp_path / "mixture.json"
    report = run(data, store, "--out", out, "--sentences", 3, "--json")
    assert json.loads(out.read_text(encoding="utf-8")) == report
    assert report["results"][0]["texts"] == 6
    (table,) = mixture_tables(report)
    cells = [list(map(str, column.cells)) for column in table.columns]
    assert cells[1] == ["off", "0.9", "1.0", "oracle"]
    assert cells[2][:2] == ["66.7%", "100.0%"]
    assert cells[3][1] == "+33.33"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--words", "two"], "--words 'two': give whole numbers"),
        (["--thresholds", "0"], "--thresholds '0': give numbers above 0"),
        (["--thresholds", "half"], "--thresholds 'half'"),
        (["--languages", "fra_Latn,xxx_Latn"], "--languages: "),
    ],
)
def test_mistakes_show_at_once(
    store: PromptStore, data: str, options: list[str], said: str
) -> None:
    given = ["mixture", "--model", MODEL, "--data", data, "--store", str(store.root), *options]
    done = CliRunner().invoke(commands.app, given)
    assert done.exit_code == 2
    assert said in done.stderr


def test_languages_with_other_sentences_are_refused(store: PromptStore, data: str) -> None:
    write_tsv(Path(data) / "spa_Latn" / "test.tsv", [("9", "sports", SURE)])
    settings = MixtureSettings(
        model=MODEL, store=store.root, data=data, languages="fra_Latn,spa_Latn"
    )
    with pytest.raises(InvalidInput, match="spa_Latn has other sentences than fra_Latn"):
        bench_mixture(settings)


def test_scripts_without_spaces_are_cut_by_characters() -> None:
    assert opening("one two  three four", 3, "eng_Latn") == "one two three"
    assert opening("one", 3, "eng_Latn") == "one"
    assert opening("ภาษาไทย ไม่เว้นวรรค", 2, "tha_Thai") == "ภาษาไท"
    assert opening("한국어는 띄어 씁니다", 2, "kor_Hang") == "한국어는 띄어"


SENTENCES = {
    "eng_Latn": [
        ("The team won the match in the last minute.", "sports"),
        ("The new telescope found water on a distant planet.", "science/technology"),
        ("Trains to the coast leave every hour from the old station.", "travel"),
    ],
    "deu_Latn": [
        ("Die Ministerin trat nach der Wahl zurück.", "politics"),
        ("Das Krankenhaus impft ab Montag auch Kinder.", "health"),
        ("Der Film lief zum ersten Mal in einem kleinen Kino.", "entertainment"),
    ],
}


@pytest.fixture
def sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISOGLOSS_STORE", str(tmp_path / "store"))  # not the user's own
    for code, rows_of_code in SENTENCES.items():
        (tmp_path / code).mkdir()
        rows = [f"{i}\t{label}\t{text}" for i, (text, label) in enumerate(rows_of_code)]
        lines = "\n".join(["index_id\tcategory\ttext", *rows])
        (tmp_path / code / "test.tsv").write_text(lines + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.soak
def test_agreement_is_of_labels_and_scores_with_float32(sentences: Path) -> None:
    report = bench_precision(
        PrecisionSettings(
            models=("pocket-bloom",),
            data=str(sentences),
            languages="every",
            precisions=("int8",),
        )
    )
    exact, rounded = report["results"]
    assert (exact["agreement"], exact["score_moved"]["max"]) == (1.0, 0.0)
    assert exact["texts"] == rounded["texts"] == 6
    assert 0 < rounded["score_moved"]["mean"] < 0.1  # other numbers, near the exact ones
    assert rounded["agreement"] >= 5 / 6
    assert report["ratios"]["pocket-bloom"] == {"int8_agreement": rounded["agreement"]}
    (table,) = precision_tables(report)
    assert str(next(iter(table.columns[3].cells))) == "100.00%"


def test_a_mistyped_precision_is_named() -> None:
    assert parse_precisions(["int8", "bfloat16", "int8"]) == ("int8", "bfloat16")
    with pytest.raises(InvalidInput, match="'int4': name one of bfloat16, float16, int8, fp8"):
        parse_precisions(["int8", "int4"])
