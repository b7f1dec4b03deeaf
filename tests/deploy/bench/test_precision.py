"""`isogloss bench precision` on a few sentences of our own."""

from pathlib import Path

import pytest

from isogloss.deploy.bench.accuracy import bench_precision
from isogloss.deploy.bench.settings import PrecisionSettings, parse_precisions
from isogloss.prompts.errors import InvalidInput

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
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISOGLOSS_STORE", str(tmp_path / "store"))  # not the user's own
    for code, sentences in SENTENCES.items():
        (tmp_path / code).mkdir()
        rows = [f"{i}\t{label}\t{text}" for i, (text, label) in enumerate(sentences)]
        lines = "\n".join(["index_id\tcategory\ttext", *rows])
        (tmp_path / code / "test.tsv").write_text(lines + "\n", encoding="utf-8")
    return tmp_path


def test_agreement_is_of_labels_and_scores_with_float32(data: Path) -> None:
    report = bench_precision(
        PrecisionSettings(
            models=("pocket-bloom",),
            data=str(data),
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


def test_a_mistyped_precision_is_named() -> None:
    assert parse_precisions(["int8", "bfloat16", "int8"]) == ("int8", "bfloat16")
    with pytest.raises(InvalidInput, match="'int4': name one of bfloat16, float16, int8, fp8"):
        parse_precisions(["int8", "int4"])
