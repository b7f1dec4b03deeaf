"""Measuring detectors: what is counted, on a folder of our own and with a detector we know."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.languages.languages import language
from isogloss.serving.cli import commands
from isogloss.serving.detection.detection import NOTHING, Detection
from isogloss.serving.detection.evaluation import results
from isogloss.serving.detection.evaluation.measure import Measured, measure
from isogloss.serving.detection.evaluation.scores import (
    Answered,
    by_language,
    clade_of,
    confusion,
    group_of,
    overall,
    reliability,
)
from isogloss.serving.detection.evaluation.texts import Example, first_words, read_split, read_texts

TEXTS = {
    "fra_Latn": ["Le chat dort sur la chaise près du four", "Il pleut sur le jardin"],
    "spa_Latn": ["El gato duerme", "Llueve en el patio"],
    "bam_Latn": ["Muso bɛ taa sugu la", "Mũndũ nĩarathiĩ thoko"],
    "kan_Knda": ["ಬೆಕ್ಕು ಮನೆ ಒಳಗೆ ಮಲಗಿದೆ", "ಇಂದು ಮಳೆ"],
}
app = typer.Typer()
commands.register(app)


class Always:
    """A detector that says the same of every text."""

    def __init__(self, code: str, chance: float, *more: tuple[str, float]) -> None:
        self._detection = Detection(language(code), chance, ((code, chance), *more))

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        return [self._detection] * len(texts)

    def posteriors(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        return [dict(self._detection.candidates)] * len(texts)


@pytest.fixture
def sib200(tmp_path: Path) -> Path:
    folder = tmp_path / "sib200"
    for code, texts in TEXTS.items():
        (folder / code).mkdir(parents=True)
        with (folder / code / "test.tsv").open("w", encoding="utf-8", newline="") as out:
            rows = csv.writer(out, delimiter="\t")
            rows.writerow(["index_id", "category", "text"])
            rows.writerows([index, "topic", text] for index, text in enumerate(texts, 7))
    return folder


def _answers(code: str, *detections: Detection) -> list[Answered]:
    return [Answered(Example(code, k, "text"), each) for k, each in enumerate(detections)]


def _said(code: str, chance: float, *more: tuple[str, float]) -> Detection:
    return Detection(language(code), chance, ((code, chance), *more))


def test_sentences_and_their_first_words_are_read(sib200: Path) -> None:
    texts = read_texts(sib200, None)
    assert list(texts) == ["sentences", "five words"]
    assert texts["sentences"]["fra_Latn"][0] == Example("fra_Latn", 7, TEXTS["fra_Latn"][0])
    assert texts["five words"]["fra_Latn"][0].text == "Le chat dort sur la"


def test_folders_are_named_by_any_standard(sib200: Path) -> None:
    known = read_texts(sib200, None)
    (sib200 / "fra_Latn").rename(sib200 / "fr")
    assert read_texts(sib200, None) == known
    (sib200 / "fra").mkdir()
    (sib200 / "fra" / "test.tsv").touch()
    with pytest.raises(InvalidData, match="'fr' and 'fra' are both French"):
        read_texts(sib200, None)


def test_a_text_without_spaces_gives_its_first_letters() -> None:
    assert (
        first_words("妹は毎朝犬を連れて川沿いを散歩しています") == "妹は毎朝犬を連れて川沿いを散歩"
    )


def test_kikuyu_letters_show_what_is_not_bambara(sib200: Path) -> None:
    assert [example.mislabelled for example in read_split(sib200, "bam_Latn")] == [False, True]
    assert not any(example.mislabelled for example in read_split(sib200, "fra_Latn"))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"has no <code>/test\.tsv of any language"):
        read_texts(tmp_path, None)


def test_headlines_come_from_a_folder_of_ntrex(sib200: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="no newstest2019"):
        read_texts(sib200, tmp_path)
    (tmp_path / "DOCUMENT_IDS.tsv").write_text("a\na\n", encoding="utf-8")
    path = tmp_path / "newstest2019-ref.fra.txt"
    path.write_text("Un titre\nUne phrase\n", encoding="utf-8")
    found = read_texts(sib200, tmp_path)["headlines"]
    assert found == {"fra_Latn": [Example("fra_Latn", 0, "Un titre")]}


def test_languages_count_the_same_however_many_texts_they_have() -> None:
    french = _answers("fra_Latn", *[_said("fra_Latn", 1.0)] * 9, _said("spa_Latn", 1.0))
    score = overall(by_language([*french, *_answers("spa_Latn", _said("deu_Latn", 1.0))]))
    assert score.language == pytest.approx((0.9 + 0) / 2)
    assert score.clade["families"] == 1.0  # all are Indo-European
    assert score.clade["branches"] == pytest.approx((1.0 + 0) / 2)
    assert score.worst["branches"] == ("spa_Latn", 0.0)


def test_a_language_outside_the_tree_is_its_own_group() -> None:
    assert group_of(language("eus_Latn")) == "Basque"
    assert group_of(language("fra_Latn")) == "Romance"
    assert clade_of(language("eus_Latn")) == clade_of(language("und"))


def test_confusion_is_counted_by_branch() -> None:
    answers = _answers("fra_Latn", _said("spa_Latn", 0.9), _said("deu_Latn", 0.9), NOTHING)
    assert confusion(answers) == {
        ("Romance", "Romance"): 1,
        ("Romance", "Germanic"): 1,
        ("Romance", "Undetermined"): 1,
    }


def test_reliability_compares_what_is_said_with_what_is_so() -> None:
    right, wrong = _said("fra_Latn", 0.8), _said("spa_Latn", 0.8)
    found = reliability(_answers("fra_Latn", *[right] * 3, *[wrong] * 2), "language")
    assert [(each.low, each.answers) for each in found.bins] == [(0.8, 5)]
    assert found.bins[0].accuracy == pytest.approx(0.6)
    assert found.error == pytest.approx(0.2)


def test_every_candidate_is_a_claim() -> None:
    said = _said("spa_Latn", 0.55, ("fra_Latn", 0.35), ("deu_Latn", 0.05))
    found = reliability(_answers("fra_Latn", said), "candidates")
    assert [(each.low, each.accuracy) for each in found.bins] == [(0.0, 0), (0.3, 1), (0.5, 0)]
    assert found.error == pytest.approx((0.55 + 0.65 + 0.05) / 3)


def test_candidates_of_one_clade_speak_together() -> None:
    # Both Chinese codes take the same route whichever the text is in.
    said = _said("zho_Hant", 0.5, ("zho_Hans", 0.4), ("jpn_Jpan", 0.1))
    found = reliability(_answers("zho_Hans", said), "clade")
    assert found.bins[0].confidence == pytest.approx(0.9)
    assert found.bins[0].accuracy == 1.0


def test_mislabelled_texts_are_counted_apart(sib200: Path) -> None:
    found = measure("always", "1", Always("bam_Latn", 1.0), read_texts(sib200, None))
    shares = {
        (part.kind, part.languages): part.score.examples
        for part in found.parts
        if part.kind == "sentences"
    }
    assert shares == {
        ("sentences", "the 52"): 8,
        ("sentences", "the 52, less mislabelled"): 7,
        ("sentences", "all"): 8,
    }
    assert found.batch_us > 0
    assert found.single_us > 0


def _measured(sib200: Path) -> Measured:
    detector = Always("fra_Latn", 0.75, ("spa_Latn", 0.25))
    return measure("always", "1", detector, read_texts(sib200, None))


def test_tables_are_written(sib200: Path, tmp_path: Path) -> None:
    paths = results.write([_measured(sib200)], tmp_path / "out")
    tables = {
        path.stem: list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        for path in paths
    }
    assert tables["summary"][0]["right_language"] == "0.2500"
    assert tables["summary"][0]["worst_right_clade"] == "0.0000"
    french = next(row for row in tables["languages"] if row["language"] == "fra_Latn")
    assert french["right_language"] == "1.0000"
    assert sum(int(row["number_of_texts"]) for row in tables["confusion"]) == 16
    claims = {row["claim"] for row in tables["reliability"]}
    assert claims == {"language", "candidates", "clade"}
    assert tables["predictions"][0] == {
        "texts": "sentences",
        "language": "bam_Latn",
        "index": "7",
        "detected": "fra_Latn",
        "confidence": "0.750",
    }


def test_the_command_measures_and_writes(sib200: Path, tmp_path: Path) -> None:
    arguments = ["detect", "--evaluate", str(sib200), "--out", str(tmp_path / "out"), "--json"]
    answer = CliRunner().invoke(app, arguments, catch_exceptions=False)
    (found,) = json.loads(answer.stdout)["detectors"]
    assert found["detector"] == "isogloss"
    assert found["parts"][0]["right_clade"]["families"] > 0.5
    assert (tmp_path / "out" / "summary.csv").is_file()
    shown = CliRunner().invoke(app, arguments[:3], catch_exceptions=False).stdout
    assert "the 52, less mislabelled (4)" in shown
    assert "us a text in batches of 32" in shown


@pytest.mark.parametrize("more", [["--out", "x"], ["--detector", "a", "--detector", "b"]])
def test_options_of_an_evaluation_need_one(more: list[str]) -> None:
    answer = CliRunner().invoke(app, ["detect", "texto", *more])
    assert "are for --evaluate" in str(answer.exception)


def test_an_evaluation_takes_no_other_texts(sib200: Path) -> None:
    answer = CliRunner().invoke(app, ["detect", "texto", "--evaluate", str(sib200)])
    assert "give no others" in str(answer.exception)


def test_the_texts_may_have_gone_through_other_tools(sib200: Path) -> None:
    found = read_split(sib200, "fra_Latn")
    path = sib200 / "fra_Latn" / "test.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert read_split(sib200, "fra_Latn") == found
    path.write_bytes(b"index_id\ttext\nnine\tLe chat dort.\n")
    with pytest.raises(InvalidData, match="line 2: index_id 'nine' is no number"):
        read_split(sib200, "fra_Latn")
