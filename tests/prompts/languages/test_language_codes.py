"""Codes of every standard, as people and programs write them."""

from __future__ import annotations

import csv
from importlib import resources

import pytest

from isogloss.prompts.errors import InvalidData, UnknownLanguage
from isogloss.prompts.languages.codes import LONGEST_CODE, Tag, parse
from isogloss.prompts.languages.languages import (
    canonical,
    labelled,
    language,
    languages,
    named_languages,
)
from isogloss.prompts.languages.standards import WIKIPEDIA
from tests.some import some

WRITTEN = """
fr=fra_Latn en=eng_Latn de=deu_Latn pt-BR=por_Latn pt_BR=por_Latn PT_br=por_Latn es-419=spa_Latn
zh=zho_Hans zh-CN=zho_Hans zh-Hans=zho_Hans zh_hans_SG=zho_Hans zh-TW=zho_Hant zh-HK=zho_Hant
zh-Hant=zho_Hant zh-Hant-HK=zho_Hant zh-yue=yue_Hant yue=yue_Hant yue-Hant-HK=yue_Hant cmn=zho_Hans
cmn-Hant=zho_Hant zh-cmn-Hans-CN=zho_Hans zho_Hani=zho_Hans nb=nob_Latn no=nob_Latn nn=nno_Latn
nb-NO=nob_Latn no-bok=nob_Latn iw=heb_Hebr he=heb_Hebr in=ind_Latn ji=ydd_Hebr jw=jav_Latn
mo=ron_Latn sh=hrv_Latn sh-Cyrl=srp_Cyrl sr=srp_Cyrl sr-Latn=srp_Cyrl sr-ME=srp_Cyrl fra=fra_Latn
fre=fra_Latn FRA_latn=fra_Latn fra-latn=fra_Latn ger=deu_Latn chi=zho_Hans per=pes_Arab may=zsm_Latn
alb=als_Latn sq=als_Latn sqi=als_Latn als=als_Latn ar=arb_Arab ara=arb_Arab ar-EG=arb_Arab
ar-arz=arz_Arab arz=arz_Arab fa=pes_Arab fa-AF=prs_Arab prs=prs_Arab ku=kmr_Latn ku-Arab=ckb_Arab
ckb=ckb_Arab az=azj_Latn az-Arab=azb_Arab et=est_Latn ekk=est_Latn lv=lvs_Latn lav=lvs_Latn
sw=swh_Latn ms=zsm_Latn mg=plt_Latn mn=khk_Cyrl ne=npi_Deva or=ory_Orya om=gaz_Latn ps=pbt_Arab
qu=quy_Latn uz=uzn_Latn uz-Cyrl=uzn_Latn yi=ydd_Hebr ay=ayr_Latn ff=fuv_Latn kr=knc_Latn gn=grn_Latn
gug=grn_Latn fil=tgl_Latn tl=tgl_Latn bh=bho_Deva ks=kas_Arab ks-Deva=kas_Deva ja=jpn_Jpan
ko=kor_Hang ko-Kore=kor_Hang de-1996=deu_Latn ca-valencia=cat_Latn en-US-u-ca-gregory=eng_Latn
en-x-own=eng_Latn pt_BR.UTF-8=por_Latn twi_Latn_akua1239=twi_Latn UND=und und=und
"""
PAIRS = [pair.split("=") for pair in WRITTEN.split()]


@pytest.mark.parametrize(("code", "meant"), PAIRS)
def test_a_code_of_any_standard_is_found(code: str, meant: str) -> None:
    assert language(code).code == meant


@pytest.mark.parametrize(
    "code",
    [
        *(
            "la",
            "gsw",
            "wuu",
            "nan",
            "zh-min-nan",
            "zh-min",
            "pnb",
            "mul",
            "xx",
            "x",
            "",
            "-",
            "_fr",
        ),
        *(
            "fr-",
            "fra_Lat",
            "fra_Latin",
            "zho_Latn",
            "ace_Cyrl",
            "frenchly",
            "fr fr",
            "ﬁn",
            "ｆｒ",
            "f\0r",
        ),
    ],
)
def test_what_is_no_language_of_the_table_is_refused(code: str) -> None:
    with pytest.raises(UnknownLanguage, match="unknown language "):
        language(code)


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("Frensh", "did you mean fra_Latn (French), nld_Latn (Dutch) or fin_Latn (Finnish)?"),
        ("old persian", "did you mean pes_Arab (Western Persian)?"),
        ("fra_Lat", "did you mean fra_Latn (French)?"),
        ("fr-Latinus", "did you mean fra_Latn (French)?"),
        (
            "zho_Latn",
            "did you mean zho_Hans (Chinese (Simplified)) or zho_Hant (Chinese (Traditional))?",
        ),
        ("ger_Latin", "did you mean deu_Latn (German)?"),
    ],
)
def test_a_refusal_names_what_may_be_meant(code: str, hint: str) -> None:
    with pytest.raises(UnknownLanguage) as raised:
        language(code)
    assert str(raised.value).endswith(hint)


def test_a_long_code_is_shown_short_and_compared_with_nothing() -> None:
    with pytest.raises(UnknownLanguage) as raised:
        language("fra_Latn" * 1_000_000)
    assert len(str(raised.value)) < 150
    assert "did you mean" not in str(raised.value)


def test_taking_a_code_apart() -> None:
    assert parse("ZH_hant_hk") == Tag("zh", "Hant", "HK")
    assert parse("sr-Latn-ME-x-own") == Tag("sr", "Latn", "ME")
    assert parse("ko-Kore") == Tag("ko", "Hang")
    assert parse("x" * (LONGEST_CODE + 1)) is None


def test_the_tables_codes_are_what_they_are() -> None:
    for code, entry in some(languages().items()):
        assert language(code) is entry
        assert canonical(code) == code
        assert canonical(code.lower().replace("_", "-")) == code


def test_every_fact_leads_to_a_language_and_names_its_standard() -> None:
    table = resources.files("prompts").joinpath("data", "language_codes.csv")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert len(rows) > 200
    held = {entry.iso639_3 for entry in languages().values()}
    for row in rows:
        assert row["standard"].startswith(("ISO 639-", "BCP 47"))
        assert row["code"] not in held, row
        if row["standard"].startswith("ISO"):
            where = row["where"] if len(row["where"]) == 4 else ""
            assert labelled(row["code"], where).iso639_3 in held, row
    alone = {entry.iso639_3 for entry in languages().values()} - {
        labelled(row["code"], "").iso639_3 for row in rows
    }
    assert "fra" not in alone
    assert {"ast", "ceb", "wol"} - alone == {"wol"}  # languages that only ISO 639-3 has


@pytest.mark.parametrize(
    ("label", "written", "meant"),
    [
        ("cmn_Hani", "Hans", "zho_Hans"),
        ("cmn_Hani", "Hant", "zho_Hant"),
        ("zho_Hani", "Hant", "zho_Hant"),
        ("zh-Hant", "Hans", "zho_Hant"),
        ("yue_Hani", "Hans", "yue_Hant"),
        ("wuu_Hani", "Hans", "und"),
        ("ekk_Latn", "Latn", "est_Latn"),
        ("pes_Arab", "Arab", "pes_Arab"),
        ("srp_Latn", "Latn", "srp_Cyrl"),
        ("hbs_Cyrl", "Cyrl", "srp_Cyrl"),
        ("als_Latn", "Latn", "als_Latn"),
        ("aln_Latn", "Latn", "und"),
        ("arb_Arab", "Latn", "arb_Arab"),
        ("ar", "Latn", "arb_Latn"),
        ("az", "Arab", "azb_Arab"),
        ("ks", "Deva", "kas_Deva"),
        ("iw", "Hebr", "heb_Hebr"),
        ("sr-ME", "Latn", "srp_Cyrl"),
        ("un", "Latn", "und"),
        ("zxx_Zzzz", "Latn", "und"),
        ("sports", "Latn", "und"),
    ],
)
def test_labels_of_detectors(label: str, written: str, meant: str) -> None:
    assert labelled(label, written).code == meant


@pytest.mark.parametrize(
    ("label", "written", "meant"),
    [
        *(("als", "Latn", "und"), ("als_Latn", "Latn", "als_Latn"), ("sq", "Latn", "als_Latn")),
        *(("simple", "Latn", "eng_Latn"), ("bh", "Deva", "bho_Deva"), ("no", "Latn", "nob_Latn")),
        *(("bat-smg", "Latn", "und"), ("roa-rup", "Latn", "und"), ("nah", "Latn", "und")),
        *(("eml", "Latn", "und"), ("nds-nl", "Latn", "und"), ("map-bms", "Latn", "und")),
        *(("zh-yue", "Hant", "yue_Hant"), ("zh-classical", "Hant", "und"), ("wuu", "Hans", "und")),
        *(("zh", "Hant", "zho_Hant"), ("be-x-old", "Cyrl", "bel_Cyrl"), ("sh", "Latn", "hrv_Latn")),
        *(("sh", "Cyrl", "srp_Cyrl"), ("arz", "Arab", "arz_Arab"), ("pnb", "Arab", "und")),
        *(("ku", "Arab", "ckb_Arab"), ("ku", "Latn", "kmr_Latn"), ("min", "Latn", "min_Latn")),
    ],
)
def test_labels_that_are_wikipedias(label: str, written: str, meant: str) -> None:
    assert labelled(label, written, WIKIPEDIA).code == meant


def test_names_of_a_data_set() -> None:
    found = named_languages(["fr", "pt-BR", "srp_Latn", "sr", "own_Code", "eng_Latn"], "here")
    assert found == {
        "fra_Latn": "fr",
        "por_Latn": "pt-BR",
        "srp_Latn": "srp_Latn",  # the table has Serbian in Cyrillic: these are two
        "srp_Cyrl": "sr",
        "own_Code": "own_Code",
        "eng_Latn": "eng_Latn",
    }


def test_names_of_a_data_set_may_be_english() -> None:
    names = ["French", "swahili", "Chinese (Traditional)", "Serbian (Latin)", "cmn", "my own"]
    assert named_languages(names, "here") == {
        "fra_Latn": "French",
        "swh_Latn": "swahili",
        "zho_Hant": "Chinese (Traditional)",
        "Serbian (Latin)": "Serbian (Latin)",
        "zho_Hans": "cmn",
        "my own": "my own",
    }


def test_two_names_for_one_language_are_refused() -> None:
    with pytest.raises(InvalidData, match=r"here: 'en-GB' and 'en-US' are both English, eng_Latn;"):
        named_languages(["en-US", "fr", "en-GB"], "here")
