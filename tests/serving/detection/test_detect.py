"""Language detection: our own sentences, odd input, and the promise made on SIB-200 test."""

from __future__ import annotations

import threading
import unicodedata
from pathlib import Path

import pytest

from isogloss.prompts.errors import NotFound
from isogloss.prompts.languages.languages import UNDETERMINED, language
from isogloss.prompts.languages.sib200 import PAPER_52
from isogloss.serving.detection.detection import TOP
from isogloss.serving.detection.detectors import DETECTORS, Detection, load_detector
from isogloss.serving.detection.evaluation.scores import (
    ROUTE_TABLES,
    Answered,
    by_language,
    overall,
)
from isogloss.serving.detection.evaluation.texts import read_split

SIB200 = Path(__file__).parents[3] / ".." / "shared" / "data" / "sib200"

SENTENCES = [
    ("eng_Latn", "The bakery on our street closes early on Mondays."),
    ("fra_Latn", "Ma voisine arrose ses tomates tous les soirs après le travail."),
    ("deu_Latn", "Der Zug nach Hamburg hatte gestern wieder eine Stunde Verspätung."),
    ("spa_Latn", "Mi abuela guarda las llaves viejas en una caja de galletas."),
    ("por_Latn", "O gato dormiu a tarde inteira em cima do meu caderno."),
    ("ita_Latn", "Domani mattina andiamo al mercato a comprare le arance."),
    ("fin_Latn", "Naapurin koira haukkuu aina kun postinkantaja tulee."),
    ("est_Latn", "Laste mänguväljak asub kohe meie maja taga."),
    ("tur_Latn", "Kardeşim yarın okuldan sonra top oynamaya gidecek."),
    ("ind_Latn", "Mahasiswa itu gagal karena tidak pernah datang ke kampus."),
    ("swh_Latn", "Mama anapika chakula cha jioni na watoto wanacheza nje."),
    ("zul_Latn", "Umama ufuna ukuthi ngiye esitolo ngiyothenga isinkwa."),
    ("yor_Latn", "Àwọn ọmọ náà ń ṣeré ní ìta ilé wa."),
    ("vie_Latn", "Hôm nay trời mưa to nên chúng tôi ở nhà đọc sách."),
    ("eus_Latn", "Gure etxeko leihotik mendi altuak ikusten dira."),
    ("rus_Cyrl", "Мой брат купил новый велосипед и катается каждый день."),
    ("bul_Cyrl", "Сестра ми учи в университета и живее близо до парка."),
    ("ell_Grek", "Το καράβι φεύγει από το λιμάνι στις οκτώ το πρωί."),
    ("arb_Arab", "ذهب الطلاب إلى المكتبة لأنهم يريدون قراءة كتب جديدة."),
    ("urd_Arab", "میرے والد ہر صبح باغ میں سیر کے لیے جاتے ہیں۔"),
    ("hin_Deva", "मेरी बहन हर सुबह बगीचे में पौधों को पानी देती है।"),
    ("mar_Deva", "आमच्या गावात दर रविवारी मोठा बाजार भरतो."),
    ("npi_Deva", "हाम्रो गाउँमा हरेक शनिबार ठूलो बजार लाग्छ।"),
    ("ben_Beng", "আমার ছোট ভাই প্রতিদিন বিকেলে মাঠে খেলতে যায়।"),
    ("tam_Taml", "என் தம்பி தினமும் மாலையில் பந்து விளையாடுகிறான்."),
    ("tha_Thai", "น้องสาวของฉันชอบกินข้าวผัดทุกวัน"),
    ("kor_Hang", "내 동생은 매일 아침 강아지와 산책을 합니다."),
    ("jpn_Jpan", "妹は毎朝、犬を連れて川沿いを散歩しています。"),
    ("zho_Hans", "我妹妹每天早上都在公园里跑步，然后去学校上课。"),
    ("zho_Hant", "我妹妹每天早上都在公園裡跑步，然後去學校上課。"),
]
WITHOUT_LETTERS = [
    "",
    "   \n\t",
    "12 345,67 %",
    "!?… — «»",
    "😀🎉🇫🇷",
    "https://example.org/une/page?lang=fr",
    "www.example.com someone@example.org",
    "HTTPS://EXAMPLE.ORG/A_PAGE",
    "someone.else+news@mail.example.co.uk",
    "@a_friend @another.friend",
    "#MondayMotivation #2024",
    "`print(x)`",
    "```python\nfor word in words:\n    print(word)\n```",
    "<div class='wide'><br/></div>",
    "total_sum+=price_of[k];{}",
    "👩‍👩‍👧 1️⃣ ☕️ ★ ∑ → €5",
    "\ud800\udfff\udc00",
    "\0\0",
    "™",
    "℃ № ① Ⅷ ㎞ 🅰 ℹ️ µ",
    "\u200b\u3164\ufeff",
    "\u0301\u0302",
    "&nbsp;&amp;",
    "ᚠᚢᚦᚨᚱᚲ",  # runes: letters, but of no script that the table has
]


def _detect(text: str) -> Detection:
    return load_detector().detect([text])[0]


@pytest.mark.parametrize(("code", "text"), SENTENCES)
def test_our_own_sentences(code: str, text: str) -> None:
    found = _detect(text)
    assert found.language == language(code)
    assert found.confidence > 0.5


@pytest.mark.parametrize("text", ["Bonjour !", "où est la gare", "MERCI BEAUCOUP POUR TOUT"])
def test_short_and_shouted_french_is_romance(text: str) -> None:
    assert "Romance" in _detect(text).language.lineage


@pytest.mark.parametrize("text", WITHOUT_LETTERS)
def test_text_without_letters_is_undetermined(text: str) -> None:
    assert _detect(text) == Detection(UNDETERMINED, 0.0)


def test_addresses_do_not_speak_for_the_text_around_them() -> None:
    text = "Ամեն օր https://www.example.com/the/english/words/of/an/address"
    assert _detect(text).language.code == "hye_Armn"
    assert _detect("这里https://example.com/english说明怎么安装").language.code == "zho_Hans"


@pytest.mark.parametrize(
    "text",
    [
        "Ma voisine arrose ses tomates tous les soirs https://example.com/watering-the-garden",
        "someone.with.a.long.english.name@example.org arrose ses tomates tous les soirs",
        "@TheEnglishGardener ma voisine arrose ses tomates tous les soirs #GrowYourOwn",
        "Ma voisine écrit `while watering: open_the_tap()` avant d'arroser ses tomates",
        "<p class='text-of-the-page'>Ma voisine arrose ses tomates tous les soirs</p>",
        "✨🍅 Ma voisine arrose 3 tomates tous les soirs (100 %) 🍅✨",
    ],
)
def test_words_decide_whatever_stands_around_them(text: str) -> None:
    found = _detect(text)
    assert found.language.code == "fra_Latn"
    assert found.confidence > 0.5


def test_a_hashtag_in_other_letters_is_a_word() -> None:
    assert _detect("#ಚುನಾವಣೆ").language.code == "kan_Knda"


@pytest.mark.parametrize("text", ["he/she", "1st-class", "student(s)", "C'est l'été; il fait beau"])
def test_ordinary_punctuation_is_not_code(text: str) -> None:
    assert _detect(text).language.script == "Latn"


def test_a_few_latin_names_do_not_outweigh_the_script() -> None:
    assert _detect("使用 TensorFlow 训练模型").language.script in ("Hans", "Hant")
    assert _detect("今日は TOKYO DOME でライブがあります").language.code == "jpn_Jpan"


def test_very_long_text_is_read_from_its_start() -> None:
    text = SENTENCES[1][1] + " "
    assert _detect(text * 20_000).language.code == "fra_Latn"
    assert _detect("é" * 1_000_000).language.script == "Latn"
    assert _detect("สวัสดี" * 200_000).language.code == "tha_Thai"


@pytest.mark.parametrize("text", ["Ma voisine \ud83d arrose ses tomates", "a\ud800", "\udfff été"])
def test_unpaired_surrogates_do_no_harm(text: str) -> None:
    assert _detect(text).language.script == "Latn"


@pytest.mark.parametrize(
    "odd",
    [
        " " * 1200 + SENTENCES[2][1],
        "-" * 50_000 + "\n" + SENTENCES[2][1],
        "<p class='the train of the text'>" * 2500 + SENTENCES[2][1],
        "\u200b".join(SENTENCES[2][1]),
        "\u00ad".join(SENTENCES[2][1]),
        "\ufe0f\u2060".join(SENTENCES[2][1]),
        SENTENCES[2][1].encode().decode("latin-1"),
        unicodedata.normalize("NFD", SENTENCES[2][1]),
    ],
)
def test_odd_texts_are_in_the_language_of_their_words(odd: str) -> None:
    assert _detect(odd) == _detect(SENTENCES[2][1])


def test_shouted_text_is_as_sure() -> None:
    assert _detect(SENTENCES[2][1].upper()).confidence > 0.99


def test_a_batch_equals_its_texts_one_by_one() -> None:
    texts = [text for _, text in SENTENCES] + WITHOUT_LETTERS + ["x", "é" * 5000]
    detector = load_detector()
    assert detector.detect(texts) == [_detect(text) for text in texts]
    assert detector.detect(texts[::-1]) == detector.detect(texts)[::-1]
    assert detector.detect([]) == []


def test_candidates_are_posteriors_best_first() -> None:
    found = _detect("Dnes")
    chances = [chance for _, chance in found.candidates]
    assert found.candidates[0] == (found.language.code, found.confidence)
    assert 1 <= len(chances) <= TOP
    assert chances == sorted(chances, reverse=True)
    assert 0 < sum(chances) <= 1 + 1e-6


def test_a_script_of_one_language_is_certain() -> None:
    assert _detect("ಕನ್ನಡ").candidates == (("kan_Knda", 1.0),)


def test_less_text_means_less_confidence() -> None:
    whole = SENTENCES[1][1]
    assert _detect("Ma").confidence < 0.8
    assert _detect(whole).confidence > 0.99


def test_threads_share_a_detector() -> None:
    texts = [text for _, text in SENTENCES]
    expected = load_detector().detect(texts)
    answers: list[list[Detection]] = []

    def work() -> None:
        answers.extend(load_detector().detect(texts) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 20


def test_an_unknown_detector_is_refused_with_those_there_are() -> None:
    with pytest.raises(NotFound, match="'nope'; there are isogloss, py3langid, fasttext:PATH"):
        load_detector("nope")


def test_a_detector_whose_package_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Detection:
        raise ImportError("No module named 'absent'")

    monkeypatch.setitem(DETECTORS, "absent", absent)
    with pytest.raises(NotFound, match="'absent' needs a package: No module named 'absent'"):
        load_detector("absent")


def test_py3langid_is_a_detector_too() -> None:
    pytest.importorskip("py3langid", reason="py3langid is an optional detector")
    detector = load_detector("py3langid")
    texts = [
        "Der Zug nach Hamburg hatte Verspätung.",
        "😀",
        "我妹妹每天在花园里跑步",
        "我妹妹每天在花園裡跑步",
    ]
    found = detector.detect(texts)
    codes = [detection.language.code for detection in found]
    assert codes == ["deu_Latn", "und", "zho_Hans", "zho_Hant"]


def test_py3langid_says_when_it_knows_a_language_that_we_do_not() -> None:
    pytest.importorskip("py3langid", reason="py3langid is an optional detector")
    latin = "Gallia est omnis divisa in partes tres, quarum unam incolunt Belgae."
    (found,) = load_detector("py3langid").detect([latin])
    assert (found.language, found.confidence) == (UNDETERMINED, 0.0)
    assert found.candidates[0][0] == "und"


@pytest.mark.skipif(not SIB200.is_dir(), reason="SIB-200 is not at ../shared/data/sib200")
def test_sib200_test_sentences_land_in_the_right_clade() -> None:
    detector = load_detector()
    answers = [
        Answered(example, detection)
        for code in PAPER_52
        for examples in [read_split(SIB200, code)[::2]]
        for example, detection in zip(
            examples, detector.detect([example.text for example in examples]), strict=True
        )
        if not example.mislabelled
    ]
    score = overall(by_language(answers))
    assert score.languages == 52
    for table in ROUTE_TABLES:
        assert score.clade[table] >= 0.99, table
        assert score.worst[table][1] >= 0.95, score.worst[table]
