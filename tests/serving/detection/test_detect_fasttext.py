"""fastText models as detectors: real loading of a file in fastText's format."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.prompts.languages.languages import UNDETERMINED
from isogloss.serving.cli import commands
from isogloss.serving.detection.detectors import load_detector
from tests.serving.fasttext_model import write_fasttext

WORDS = {"bonjour": "__label__fra_Latn", "hello": "__label__en", "привет": "__label__rus_Cyrl"}
LABELS = [*WORDS.values(), "__label__zxx", "__label__xyz_Latn"]

needs_fasttext = pytest.mark.skipif(
    not any((Path(place) / "fasttext").is_dir() for place in sys.path),
    reason="fasttext-predict is an optional detector",
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_fasttext(tmp_path / "model.bin", WORDS, LABELS)


@needs_fasttext
def test_labels_become_languages_of_the_table(model: Path) -> None:
    found = load_detector(f"fasttext:{model}").detect(["bonjour", "hello", "привет", "12 😀", ""])
    codes = [detection.language.code for detection in found]
    assert codes == ["fra_Latn", "eng_Latn", "rus_Cyrl", "und", "und"]


@needs_fasttext
def test_confidence_is_the_models_own(model: Path) -> None:
    (found,) = load_detector(f"fasttext:{model}").detect(["bonjour"])
    expected = math.exp(10) / (math.exp(10) + 4)  # softmax of one logit of 10 and four of 0
    assert found.confidence == pytest.approx(expected, abs=1e-4)
    assert found.candidates[0] == ("fra_Latn", found.confidence)
    # Two labels of no language of the table are likelier together than any other.
    assert [code for code, _ in found.candidates][:2] == ["fra_Latn", "und"]
    assert found.candidates[1][1] == pytest.approx(2 * found.candidates[2][1], rel=0.01)


@needs_fasttext
def test_addresses_and_line_breaks_do_not_count(model: Path) -> None:
    texts = ["bonjour\nbonjour https://example.org/hello", "привет \ud800 @hello"]
    found = load_detector(f"fasttext:{model}").detect(texts)
    assert [detection.language.code for detection in found] == ["fra_Latn", "rus_Cyrl"]


@needs_fasttext
def test_labels_of_two_spellings_are_one_language(tmp_path: Path) -> None:
    labels = ["__label__fr", "__label__fra_Latn", "__label__en"]
    path = write_fasttext(tmp_path / "two.bin", {"bonjour": "__label__fr"}, labels)
    (found,) = load_detector(f"fasttext:{path}").detect(["bonjour"])
    assert [code for code, _ in found.candidates] == ["fra_Latn", "eng_Latn"]
    rest = math.exp(10) + 2
    assert found.confidence == pytest.approx((math.exp(10) + 1) / rest, abs=1e-4)


@needs_fasttext
@pytest.mark.parametrize("label", ["__label__xyz_Latn", "__label__gsw_Latn", "__label__zxx"])
def test_a_label_of_no_language_of_the_table_is_undetermined(tmp_path: Path, label: str) -> None:
    labels = [label, "__label__fra_Latn", "__label__fin_Latn"]
    path = write_fasttext(tmp_path / "other.bin", {"sali": label}, labels)
    (found,) = load_detector(f"fasttext:{path}").detect(["sali"])
    assert (found.language, found.confidence) == (UNDETERMINED, 0.0)
    (code, chance), *others = found.candidates
    assert code == "und"
    assert chance == pytest.approx(1, abs=1e-3)
    assert all(rest < 1e-3 for _, rest in others)


@needs_fasttext
def test_labels_of_glotlid(tmp_path: Path) -> None:
    words = {
        "国会": "__label__cmn_Hani",
        "國會": "__label__cmn_Hani",
        "tere": "__label__ekk_Latn",
        "labdien": "__label__lvs_Latn",
        "ngài": "__label__aln_Latn",
    }
    others = ["__label__eng_Latn", "__label__yue_Hani", "__label__arb_Arab"]
    path = write_fasttext(tmp_path / "glot.bin", words, sorted({*words.values(), *others}))
    found = load_detector(f"fasttext:{path}").detect(list(words))
    assert [each.language.code for each in found] == [
        *("zho_Hans", "zho_Hant", "est_Latn", "lvs_Latn", "und")
    ]
    assert min(each.confidence for each in found[:4]) > 0.99


@needs_fasttext
@pytest.mark.parametrize(
    ("kind", "more", "code"),
    [
        ("fasttext", ["sq", "en"], "und"),  # Wikipedia's Alemannic
        ("fasttext", ["en", "fr"], "und"),
        ("fasttext", ["eng", "fra"], "als_Latn"),
        ("fasttext", ["eng_Latn", "fra_Latn"], "als_Latn"),
        ("fasttext", ["en", "gsw"], "als_Latn"),
        ("fasttext-iso", ["en", "fr"], "als_Latn"),
        ("fasttext-wikipedia", ["eng", "fra"], "und"),
    ],
)
def test_other_labels_tell_whose_code_a_label_is(
    tmp_path: Path, kind: str, more: list[str], code: str
) -> None:
    labels = [f"__label__{name}" for name in ["als", *more]]
    path = write_fasttext(tmp_path / "als.bin", {"guete": "__label__als"}, labels)
    (found,) = load_detector(f"{kind}:{path}").detect(["guete"])
    assert found.language.code == code


@needs_fasttext
def test_what_hides_a_text_hides_it_from_no_detector(model: Path) -> None:
    texts = [
        " " * 5000 + "bonjour",
        "\u200b".join("bonjour"),
        "<p class='hello'>" * 900 + "bonjour",
    ]
    found = load_detector(f"fasttext:{model}").detect(texts)
    assert [each.language.code for each in found] == ["fra_Latn"] * 3


@needs_fasttext
def test_the_command_line_takes_a_model(model: Path) -> None:
    app = typer.Typer()
    commands.register(app)
    arguments = ["detect", "bonjour", "--detector", f"fasttext:{model}", "--json"]
    answer = CliRunner().invoke(app, arguments, catch_exceptions=False)
    (found,) = json.loads(answer.stdout)["results"]
    assert found["code"] == "fra_Latn"


@needs_fasttext
def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"'fasttext:.*absent\.bin': there is no such file; give"):
        load_detector(f"fasttext:{tmp_path / 'absent.bin'}")


@needs_fasttext
def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.bin"
    path.write_bytes(b"not a model, but long enough to look at")
    with pytest.raises(InvalidInput, match=r"not a fastText classifier \(.*wrong file format"):
        load_detector(f"fasttext:{path}")


@needs_fasttext
def test_a_model_of_other_labels_is_refused(tmp_path: Path) -> None:
    labels = ["__label__sports", "__label__politics"]
    path = write_fasttext(tmp_path / "topics.bin", {"goal": labels[0]}, labels)
    with pytest.raises(InvalidInput, match=r"none of its 2 labels \(__label__.*such as __label__"):
        load_detector(f"fasttext:{path}")


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fasttext", None)
    with pytest.raises(NotFound, match=r"needs a package: .*fasttext.*isogloss\[detect\]"):
        load_detector(f"fasttext:{tmp_path / 'model.bin'}")
