"""Detection among the languages that a request allows: the arithmetic, and every detector."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isogloss.prompts.errors import UnknownLanguage
from isogloss.prompts.languages.languages import UNDETERMINED, language, languages
from isogloss.serving.detection.bounds import bounds_of, within
from isogloss.serving.detection.detection import TOP, Detector
from isogloss.serving.detection.detectors import load_detector
from tests.fakes import FakeDetector
from tests.serving.detection.test_detect import SENTENCES, WITHOUT_LETTERS
from tests.serving.fasttext_model import write_fasttext
from tests.some import some

POSTERIOR = {"swh_Latn": 0.4, "kin_Latn": 0.1, "fra_Latn": 0.3, "eng_Latn": 0.2}
SHORT = "Habari za leo"
CODES = tuple(languages())


@pytest.mark.parametrize(
    ("named", "code", "confidence", "candidates"),
    [
        (["sw", "rw"], "swh_Latn", 0.8, {"swh_Latn": 0.8, "kin_Latn": 0.2}),
        (["rw", "French"], "fra_Latn", 0.75, {"fra_Latn": 0.75, "kin_Latn": 0.25}),
        (["rw", "zu"], "kin_Latn", 1.0, {"kin_Latn": 1.0}),
        (["zu", "xh"], "zul_Latn", 0.0, {}),
        (["sw", "swa", "Swahili", "swh_Latn", "rw"], "swh_Latn", 0.8, None),
        ({"sw": 1, "rw": 16}, "kin_Latn", 0.8, {"kin_Latn": 0.8, "swh_Latn": 0.2}),
        ({"sw": 1, "rw": 8, "kin": 8}, "kin_Latn", 0.8, None),
        ({"sw": 5e-324, "rw": 4e-323}, "kin_Latn", 2 / 3, None),
        ({"sw": 1.7e308, "swa": 1.7e308, "rw": 1.7e308}, "swh_Latn", 8 / 9, None),
        ({"zu": 1, "xh": 2, "ss": 2}, "xho_Latn", 0.0, {}),
        (["sw", "und"], "swh_Latn", 1.0, None),
    ],
)
def test_the_posterior_is_weighed_and_sums_to_one(
    named: list[str] | dict[str, float],
    code: str,
    confidence: float,
    candidates: dict[str, float] | None,
) -> None:
    found = within(POSTERIOR, bounds_of(named))
    assert found.language.code == code
    assert found.confidence == pytest.approx(confidence)
    if candidates is not None:
        assert dict(found.candidates) == pytest.approx(candidates)


def test_what_the_table_lacks_may_be_allowed_too() -> None:
    found = within({"und": 0.6, "swh_Latn": 0.2}, bounds_of(["sw", "und"]))
    assert (found.language, found.confidence) == (UNDETERMINED, 0.0)
    assert dict(found.candidates) == pytest.approx({"und": 0.75, "swh_Latn": 0.25})


def test_an_unknown_language_is_named_with_the_field() -> None:
    with pytest.raises(UnknownLanguage, match=r"^languages: unknown language 'Swahilli'; did you"):
        bounds_of(["rw", "Swahilli"])


_POSTERIORS = st.dictionaries(st.sampled_from(CODES), st.floats(0, 1), max_size=20)
_WEIGHTS = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
_BOUNDS = st.dictionaries(st.sampled_from(CODES), _WEIGHTS, min_size=1, max_size=50)


@given(_POSTERIORS, _BOUNDS)
def test_any_posterior_and_any_weights_give_one_of_the_languages(
    posterior: Mapping[str, float], weights: Mapping[str, float]
) -> None:
    found = within(posterior, bounds_of(weights))
    assert found.language.code in weights
    assert 0 <= found.confidence <= 1
    assert {code for code, _ in found.candidates} <= set(weights)
    assert len(found.candidates) <= TOP
    assert all(0 <= chance <= 1 and math.isfinite(chance) for _, chance in found.candidates)
    assert sum(chance for _, chance in found.candidates) <= 1 + 1e-9
    assert list(found.candidates) == sorted(found.candidates, key=lambda pair: -pair[1])


def _ours() -> Detector:
    return load_detector()


@pytest.mark.parametrize(("code", "text"), SENTENCES)
def test_our_own_sentences_among_their_neighbours(code: str, text: str) -> None:
    entry = language(code)
    alike = [each.code for each in languages().values() if each.script == entry.script][:40]
    (posterior,) = _ours().posteriors([text])
    found = within(posterior, bounds_of([*alike, code]))
    assert found.language == entry
    (free,) = _ours().detect([text])
    assert found.confidence >= free.confidence - 1e-6


def test_all_languages_are_no_bounds() -> None:
    texts = [text for _, text in SENTENCES] + [SHORT, "oui", "no"]
    posteriors = _ours().posteriors(texts)
    for free, posterior in some(zip(_ours().detect(texts), posteriors, strict=True)):
        assert sum(posterior.values()) == pytest.approx(1, abs=1e-5)
        found = within(posterior, bounds_of(dict.fromkeys(CODES, 1.0)))
        assert found.language == free.language
        assert found.confidence == pytest.approx(free.confidence, abs=1e-5)
        assert dict(found.candidates) == pytest.approx(dict(free.candidates), abs=1e-5)


def test_a_text_is_as_alone_whatever_stands_beside_it() -> None:
    texts = [text for _, text in SENTENCES]
    assert _ours().posteriors(texts) == [_ours().posteriors([text])[0] for text in texts]


def test_bounds_and_priors_move_a_short_text() -> None:
    (posterior,) = _ours().posteriors(["no"])
    spanish = within(posterior, bounds_of(["es", "it"]))
    assert spanish.language.code in ("spa_Latn", "ita_Latn")
    other = {"spa_Latn": "it", "ita_Latn": "es"}[spanish.language.code]
    moved = within(posterior, bounds_of({"es": 1, "it": 1} | {other: 1e9}))
    assert moved.language == language(other)


@pytest.mark.parametrize("text", [*WITHOUT_LETTERS, "Привет, как дела?"])
def test_a_text_of_none_of_them_takes_the_first(text: str) -> None:
    (posterior,) = _ours().posteriors([text])
    found = within(posterior, bounds_of(["sw", "rw"]))
    assert (found.language.code, found.confidence, found.candidates) == ("swh_Latn", 0.0, ())


def test_the_fakes_detector() -> None:
    text = "fra_Latn 0.5 swh_Latn 0.3 kin_Latn 0.2: bo"
    (posterior,) = FakeDetector().posteriors([text])
    found = within(posterior, bounds_of(["rw", "sw"]))
    assert found.language.code == "swh_Latn"
    assert found.confidence == pytest.approx(0.6)


needs_fasttext = pytest.mark.skipif(
    not any((Path(place) / "fasttext").is_dir() for place in sys.path),
    reason="fasttext-predict is an optional detector",
)


@needs_fasttext
def test_a_fasttext_models_labels_beyond_the_first_count(tmp_path: Path) -> None:
    codes = [code for code in CODES if code.endswith("_Latn")]
    labels = [f"__label__{code}" for code in [*codes, "rus_Cyrl"]]
    path = write_fasttext(tmp_path / "many.bin", {"bonjour": "__label__fra_Latn"}, labels)
    detector = load_detector(f"fasttext:{path}")
    (posterior,) = detector.posteriors(["bonjour"])
    assert len(posterior) == len(labels)
    assert sum(posterior.values()) == pytest.approx(1, abs=1e-3)
    found = within(posterior, bounds_of({"zu": 1, "xh": 3}))
    assert found.language.code == "xho_Latn"
    assert found.confidence == pytest.approx(0.75, abs=1e-3)


@needs_fasttext
def test_what_a_fasttext_model_adds_to_every_label_is_no_mass(tmp_path: Path) -> None:
    labels = [f"__label__{code}" for code in ("fra_Latn", "swh_Latn", "kin_Latn")]
    path = write_fasttext(tmp_path / "sure.bin", {"oui": "__label__fra_Latn"}, labels, 400.0)
    (posterior,) = load_detector(f"fasttext:{path}").posteriors(["oui"])
    assert posterior == {"fra_Latn": pytest.approx(1, abs=1e-4)}
    found = within(posterior, bounds_of(["sw", "rw"]))
    assert (found.language.code, found.confidence) == ("swh_Latn", 0.0)


@needs_fasttext
def test_the_name_of_a_fasttext_detector_says_whose_labels_they_are(tmp_path: Path) -> None:
    labels = ["__label__zgh_Tfng", "__label__fra_Latn"]
    path = write_fasttext(tmp_path / "flores.bin", {"azul": "__label__zgh_Tfng"}, labels)
    (found,) = load_detector(f"fasttext-flores:{path}").detect(["azul"])
    assert found.language.code == "tzm_Tfng"
    (found,) = load_detector(f"fasttext:{path}").detect(["azul"])
    assert found.language.code == "und"


def test_py3langid_within_bounds() -> None:
    pytest.importorskip("py3langid", reason="py3langid is an optional detector")
    (posterior,) = load_detector("py3langid").posteriors(
        ["Mama anapika chakula cha jioni na watoto wanacheza nje."]
    )
    assert within(posterior, bounds_of(["sw", "rw"])).language.code == "swh_Latn"
    assert within(posterior, bounds_of(["rw", "zu"])).language.code in ("kin_Latn", "zul_Latn")
    assert load_detector("py3langid").posteriors(["12 345"]) == [{}]
