"""The language table: its shape, lineages one can check by hand, and the build that made it."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest

from isogloss.prompts.errors import InvalidInput, UnknownLanguage
from isogloss.prompts.languages.languages import UNDETERMINED, deepest_clade, language, languages
from isogloss.training.recipes import languages as build_languages
from isogloss.training.typology.language_sources import read_sources

TABLE = Path(__file__).parents[3] / "prompts" / "data" / "languages.csv"
SIB200 = Path(__file__).parents[3] / ".." / "shared" / "data" / "sib200"

# The paper's 52 languages: (in BLOOM, in XGLM) -> codes.
PAPER = {
    (True, True): "arb_Arab eus_Latn ben_Beng cat_Latn zho_Hans eng_Latn fra_Latn hin_Deva "
    "ind_Latn por_Latn spa_Latn swh_Latn tam_Taml tel_Telu urd_Arab vie_Latn",
    (True, False): "aka_Latn asm_Beng bam_Latn sna_Latn tum_Latn fon_Latn guj_Gujr ibo_Latn "
    "zul_Latn kan_Knda kik_Latn kin_Latn lin_Latn mal_Mlym mar_Deva npi_Deva nso_Latn ory_Orya "
    "twi_Latn wol_Latn xho_Latn yor_Latn",
    (False, True): "bul_Cyrl mya_Mymr est_Latn fin_Latn deu_Latn ell_Grek hat_Latn ita_Latn "
    "jpn_Jpan kor_Hang quy_Latn rus_Cyrl tha_Thai tur_Latn",
}


def _committed() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))


@pytest.mark.parametrize(
    ("code", "clades"),
    [
        ("fra_Latn", "Indo-European Italic Romance Western_Romance Oil"),
        ("deu_Latn", "Indo-European Germanic West_Germanic"),
        ("hin_Deva", "Indo-European Indo-Iranian Indo-Aryan Western_Hindi"),
        ("npi_Deva", "Indo-European Indo-Iranian Indo-Aryan Indo-Aryan_Northern_zone"),
        ("pes_Arab", "Indo-European Indo-Iranian Iranian Farsic"),
        ("rus_Cyrl", "Indo-European Balto-Slavic Slavic East_Slavic"),
        ("lvs_Latn", "Indo-European Balto-Slavic Eastern_Baltic"),
        ("swh_Latn", "Atlantic-Congo Volta-Congo Benue-Congo Narrow_Bantu East_Bantu"),
        ("tum_Latn", "Atlantic-Congo Narrow_Bantu East_Bantu"),
        ("yor_Latn", "Atlantic-Congo Volta-Congo Benue-Congo Yoruboid"),
        ("twi_Latn", "Atlantic-Congo Kwa_Volta-Congo Akanic"),
        ("bam_Latn", "Mande Western_Mande Manding"),
        ("arb_Arab", "Afro-Asiatic Semitic Arabic"),
        ("tam_Taml", "Dravidian South_Dravidian Tamiloid"),
        ("ind_Latn", "Austronesian Malayo-Polynesian Malayic"),
        ("zho_Hans", "Sino-Tibetan Sinitic Mandarinic"),
        ("mya_Mymr", "Sino-Tibetan Lolo-Burmese Burmish"),
        ("tur_Latn", "Turkic Common_Turkic Oghuz"),
        ("fin_Latn", "Uralic Finnic"),
        ("vie_Latn", "Austroasiatic Vietic"),
        ("quy_Latn", "Quechuan Quechua_II"),
        ("kor_Hang", "Koreanic"),
    ],
)
def test_lineage_names_well_known_clades_root_first(code: str, clades: str) -> None:
    lineage, expected = language(code).lineage, clades.split()
    assert lineage[0] == expected[0]
    assert [clade for clade in lineage if clade in expected] == expected


@pytest.mark.parametrize("code", ["eus_Latn", "epo_Latn"])
def test_isolates_and_constructed_languages_have_no_lineage(code: str) -> None:
    assert language(code).lineage == ()


def test_only_isolates_and_constructed_languages_have_no_lineage() -> None:
    assert {e.code for e in languages().values() if not e.lineage} == {"eus_Latn", "epo_Latn"}


def test_a_clade_has_the_same_path_to_the_root_in_every_lineage() -> None:
    above: dict[str, set[tuple[str, ...]]] = {}
    for entry in languages().values():
        for depth, clade in enumerate(entry.lineage):
            above.setdefault(clade, set()).add(entry.lineage[:depth])
    assert not [clade for clade, paths in above.items() if len(paths) > 1]


def test_rows_are_unique_sorted_and_complete() -> None:
    rows = _committed()
    codes = [row["code"] for row in rows]
    assert codes == sorted(set(codes)) == list(languages())
    assert len(codes) >= 205
    assert len({row["name"] for row in rows}) == len(rows)
    assert all(all(value for key, value in row.items() if key != "lineage") for row in rows)
    for entry in languages().values():
        assert entry.code == f"{entry.iso639_3}_{entry.script}"
        assert not any(clade.startswith("F_") for clade in entry.lineage)


def test_pretraining_flags_agree_with_the_papers() -> None:
    for (in_bloom, in_xglm), codes in PAPER.items():
        for code in codes.split():
            assert (language(code).in_bloom, language(code).in_xglm) == (in_bloom, in_xglm), code
    assert sum(len(codes.split()) for codes in PAPER.values()) == 52
    assert sum(entry.in_bloom for entry in languages().values()) == 46
    assert sum(entry.in_xglm for entry in languages().values()) == 30


def test_one_language_in_two_scripts_is_two_entries_of_one_lineage() -> None:
    hans, hant = language("zho_Hans"), language("zho_Hant")
    assert hans != hant
    assert hans.lineage == hant.lineage


def test_und_is_a_language_without_a_lineage() -> None:
    assert language("und") is UNDETERMINED
    assert UNDETERMINED.lineage == ()
    assert "und" not in languages()


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("Frenh", "fra_Latn"),
        ("fra_Lat", "fra_Latn"),
        ("fre_Latin", "fra_Latn"),
        ("zho_Latn", "zho_Hans"),
    ],
)
def test_an_unknown_code_is_answered_with_close_ones(code: str, meant: str) -> None:
    with pytest.raises(UnknownLanguage) as raised:
        language(code)
    assert isinstance(raised.value, InvalidInput)
    assert repr(code) in str(raised.value)
    assert meant in str(raised.value)


def test_an_unknown_code_like_no_other_is_told_what_to_write() -> None:
    with pytest.raises(UnknownLanguage, match=r"^unknown language '\?\?'; write a code such as"):
        language("??")


@pytest.mark.parametrize(
    ("routed", "deepest"),
    [
        ({"Indo-European", "Romance"}, "Romance"),
        ({"Indo-European", "Germanic"}, "Indo-European"),
        ({"Turkic"}, None),
        (set(), None),
    ],
)
def test_deepest_clade(routed: set[str], deepest: str | None) -> None:
    assert deepest_clade(("Indo-European", "Italic", "Romance"), routed) == deepest
    assert deepest_clade((), routed) is None


@pytest.mark.soak  # lang2vec reads all of URIEL
def test_the_committed_table_is_what_lang2vec_gives() -> None:
    with warnings.catch_warnings():  # lang2vec 1.1.2 imports the deprecated pkg_resources
        warnings.simplefilter("ignore")
        pytest.importorskip("lang2vec", reason="lang2vec is needed only to rebuild the table")
        fam = build_languages.read_fam()
    rows = build_languages.build_rows(read_sources(), build_languages.lineages(*fam))
    assert rows == _committed()


def test_clades_that_are_not_nested_are_refused() -> None:
    member = np.array([[True, True], [True, False], [False, True]])
    with pytest.raises(ValueError, match="one: B does not lie under A"):
        build_languages.lineages(["one", "two", "three"], ["A", "B"], member)


@pytest.mark.skipif(not SIB200.is_dir(), reason="SIB-200 is not at ../shared/data/sib200")
def test_every_sib200_language_is_described() -> None:
    assert build_languages.missing(SIB200, read_sources()) == set()
