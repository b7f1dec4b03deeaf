"""Languages as people write them: codes, tags and English names, in any spelling."""

from __future__ import annotations

import csv
import re
from importlib import resources

import pytest

from isogloss.prompts.errors import UnknownLanguage
from isogloss.prompts.languages.codes import short_codes
from isogloss.prompts.languages.languages import (
    Language,
    canonical,
    language,
    languages,
    resolve,
)
from isogloss.prompts.languages.names import folded, further_names, key
from tests.some import some

# Each line: what is meant, then words after a colon, or names with | between them.
WRITTEN = """
fra_Latn: fr FR fra FRA fre Fre fr-FR fr_FR fr-ca fra-CA fr-Latn fr-Latn-FR fra_Latn FRA-LATN French
fra_Latn| french|FRENCH|French language|French (Canada)|Canadian French|fr-x-mine
eng_Latn: en eng EN-gb en-GB en_US en-001 en-Latn-GB en-GB-oxendict en-scotland eng-IN English
eng_Latn| british english|English (US)|english (united kingdom)|en-GB-u-ca-gregory
deu_Latn: de deu ger GER de-AT de-CH-1901 de-DE-1996 de-Latf German
deu_Latn| GERMAN|German (Austria)|Swiss High German
spa_Latn: es spa es-MX es-419 es_ES Spanish Castilian
spa_Latn| Spanish (Latin America)
por_Latn: pt por pt-BR pt_PT pt-br-ao1990 Portuguese
por_Latn| Brazilian Portuguese|Portuguese (Brazil)
ita_Latn: it ita it-CH Italian
nld_Latn: nl nld dut nl-BE Dutch Flemish
nld_Latn| Dutch (Belgium)
cat_Latn: ca cat ca-valencia ca-ES-valencia Catalan Valencian
ron_Latn: ro ron rum mo mol ro-MD Romanian Moldavian Moldovan
ces_Latn: cs ces cze Czech
slk_Latn: sk slk slo Slovak
slv_Latn: sl slv sl-rozaj sl-rozaj-biske-1994 sl-nedis Slovenian Slovene
pol_Latn: pl pol pl-PL Polish
hrv_Latn: hr hrv scr sh sh-Latn hbs Croatian Serbo-Croatian
bos_Latn: bs bos bs-Latn-BA Bosnian
srp_Cyrl: sr srp scc sr-Latn sr-Cyrl sr_Latn_RS sr-ME sr-Latn-ekavsk sh-Cyrl Serbian
srp_Cyrl| Serbian (Latin)|Serbian (Cyrillic)|Cyrillic Serbian|SRP_LATN
mkd_Cyrl: mk mkd mac Macedonian
bul_Cyrl: bg bul bg-BG Bulgarian
rus_Cyrl: ru rus ru-RU ru-petr1708 Russian
ukr_Cyrl: uk ukr Ukrainian
bel_Cyrl: be bel be-tarask Belarusian Byelorussian
ell_Grek: el ell gre el-monoton Greek
ell_Grek| Modern Greek|Greek, Modern (1453-)
als_Latn: sq sqi alb als als_Latn Albanian
als_Latn| Tosk Albanian|Albanian, Tosk
hye_Armn: hy hye arm hy-arevela Armenian
kat_Geor: ka kat geo ka-Geok Georgian
eus_Latn: eu eus baq Basque Euskara
cym_Latn: cy cym wel Welsh
gle_Latn: ga gle Irish
gle_Latn| Irish Gaelic
gla_Latn: gd gla Gaelic
gla_Latn| Scottish Gaelic|Scots Gaelic|Gaelic, Scottish
isl_Latn: is isl ice Icelandic
nob_Latn: nb nob no nor nb-NO no_NO no-bok NB Norwegian
nob_Latn| Norwegian Bokmål|norwegian bokmal|Bokmål
nno_Latn: nn nno nn-NO no-nyn Nynorsk
nno_Latn| Norwegian Nynorsk|norwegian (nynorsk)
dan_Latn: da dan da-DK Danish
swe_Latn: sv swe sv-FI Swedish
fin_Latn: fi fin Finnish
est_Latn: et est ekk et-EE Estonian
est_Latn| Standard Estonian
lvs_Latn: lv lav lvs lv-LV Latvian
lvs_Latn| Standard Latvian|Latvian, Standard
ltg_Latn: ltg lv-ltg Latgalian
lit_Latn: lt lit Lithuanian
hun_Latn: hu hun Hungarian
ltz_Latn: lb ltz i-lux Luxembourgish Letzeburgesch
oci_Latn: oc oci oc-aranes oc-gascon Occitan
oci_Latn| Occitan (post 1500)
tur_Latn: tr tur tr-CY Turkish
azj_Latn: az aze azj az-Latn az-AZ Azerbaijani
azj_Latn| North Azerbaijani|Azeri
azb_Arab: azb az-Arab az-IR aze_Arab
azb_Arab| South Azerbaijani|Azerbaijani (Arabic)|Southern Azerbaijani
crh_Latn: crh
crh_Latn| Crimean Tatar|Tatar, Crimean|Crimean Turkish
kaz_Cyrl: kk kaz Kazakh
kir_Cyrl: ky kir Kyrgyz Kirghiz
uzn_Latn: uz uzb uzn uz-Latn-UZ uz-uzn Uzbek
uzn_Latn| Northern Uzbek|Uzbek (Latin)
tuk_Latn: tk tuk Turkmen
tgk_Cyrl: tg tgk Tajik Tajiki
uig_Arab: ug uig Uyghur Uighur
khk_Cyrl: mn mon khk Mongolian
khk_Cyrl| Halh Mongolian|Khalkha Mongolian|mn-Cyrl
heb_Hebr: he heb iw IW iw-IL he-IL Hebrew
ydd_Hebr: yi yid ydd ji Yiddish
ydd_Hebr| Eastern Yiddish
arb_Arab: ar ara arb ar-SA ar-EG ar-arb AR Arabic
arb_Arab| Standard Arabic|Modern Standard Arabic
arb_Latn: ar-Latn arb_Latn
arb_Latn| Arabic (Latin)|Standard Arabic (Latin script)
arz_Arab: arz ar-arz
arz_Arab| Egyptian Arabic|Arabic, Egyptian|Arabic (Egypt)
ary_Arab: ary
ary_Arab| Moroccan Arabic|arabic (morocco)
apc_Arab: apc
apc_Arab| North Levantine Arabic|Levantine Arabic|Arabic, Levantine
acq_Arab: acq
acq_Arab| Ta'izzi-Adeni Arabic|taizzi adeni arabic|Ta\u2019izzi-Adeni Arabic
pes_Arab: fa fas per pes fa-IR Persian Farsi
pes_Arab| Western Persian|Iranian Persian|Persian (Iran)
prs_Arab: prs drw fa-AF Dari
prs_Arab| Dari Persian|Persian (Afghanistan)
pbt_Arab: ps pus pbt Pashto Pushto
pbt_Arab| Southern Pashto
kmr_Latn: ku kur kmr ku-TR ku-Latn Kurdish Kurmanji
kmr_Latn| Northern Kurdish
ckb_Arab: ckb ku-Arab ku-IQ ku-IR Sorani
ckb_Arab| Central Kurdish|Sorani Kurdish|Kurdish (Arabic)
urd_Arab: ur urd ur-PK ur-Aran Urdu
hin_Deva: hi hin hi-IN hi-Deva Hindi
bho_Deva: bho bh bih Bhojpuri
npi_Deva: ne nep npi Nepali
npi_Deva| Nepali (individual language)
kas_Arab: ks kas ks-Arab Kashmiri
kas_Arab| Kashmiri (Arabic)
kas_Deva: ks-Deva kas_Deva
kas_Deva| Kashmiri (Devanagari)|Kashmiri (Devanagari script)
pan_Guru: pa pan pa-Guru Punjabi Panjabi
pan_Guru| Eastern Panjabi|Eastern Punjabi
ben_Beng: bn ben bn-BD Bengali Bangla
ory_Orya: or ori ory Odia Oriya
asm_Beng: as asm Assamese
sin_Sinh: si sin Sinhala Sinhalese
mni_Beng: mni Meitei Manipuri
sat_Olck: sat Santali
san_Deva: sa san sa-vaidika Sanskrit
mya_Mymr: my mya bur Burmese Myanmar
mya_Mymr| Myanmar (Burmese)
bod_Tibt: bo bod tib Tibetan
khm_Khmr: km khm Khmer Cambodian
khm_Khmr| Central Khmer
lao_Laoo: lo lao Lao Laotian
tha_Thai: th tha th-TH Thai
vie_Latn: vi vie vi-VN Vietnamese
zho_Hans: zh zho chi cmn zh-CN zh_CN zh-SG zh-Hans zh-hans-cn ZH-HANS zh-Hani cmn_Hani zh-guoyu
zho_Hans: zh-cmn zh-cmn-Hans zh-cmn-Hans-CN Chinese Mandarin
zho_Hans| Mandarin Chinese|Chinese (Simplified)|Simplified Chinese|chinese, simplified
zho_Hans| Chinese (China)
zho_Hant: zh-TW zh-HK zh-MO zh_tw zh-Hant zh-Hant-HK cmn-Hant cmn-TW zho_Hant zh-Hanb
zho_Hant| Chinese (Traditional)|Traditional Chinese|CHINESE TRADITIONAL|Chinese (Taiwan)
zho_Hant| Mandarin (Traditional)
yue_Hant: yue zh-yue zh-yue-HK yue-HK yue_Hani yue-Hant Cantonese
yue_Hant| Yue Chinese|Chinese (Cantonese)
jpn_Jpan: ja jpn ja-JP ja-Hira ja-Hrkt Japanese
kor_Hang: ko kor ko-KR ko-Kore Korean
ind_Latn: id ind in id-ID Indonesian
ind_Latn| Bahasa Indonesia
zsm_Latn: ms msa may zsm ms-MY ms-zsm Malay
zsm_Latn| Standard Malay|Bahasa Melayu
jav_Latn: jv jav jw Javanese
tgl_Latn: tl tgl fil fil-PH Tagalog Filipino
ilo_Latn: ilo Ilocano Iloko
war_Latn: war Waray
war_Latn| Waray (Philippines)|Waray-Waray
plt_Latn: mg mlg plt Malagasy
plt_Latn| Plateau Malagasy
mri_Latn: mi mri mao Maori Māori
mri_Latn| Te Reo Māori
smo_Latn: sm smo Samoan
swh_Latn: sw swa swh sw-KE sw_TZ sw-swh Swahili swahili SWAHILI Kiswahili
swh_Latn| Swahili (Kenya)
kin_Latn: rw kin Kinyarwanda
run_Latn: rn run Rundi Kirundi
lug_Latn: lg lug Ganda Luganda
nya_Latn: ny nya Nyanja Chichewa Chewa
sna_Latn: sn sna Shona ChiShona
zul_Latn: zu zul Zulu isiZulu
xho_Latn: xh xho Xhosa IsiXhosa
ssw_Latn: ss ssw Swati Swazi Siswati
sot_Latn: st sot Sotho Sesotho
sot_Latn| Southern Sotho|Sotho, Southern
nso_Latn: nso Sepedi Pedi
nso_Latn| Northern Sotho|northern  sotho
tsn_Latn: tn tsn Tswana Setswana
tso_Latn: ts tso Tsonga Xitsonga
kon_Latn: kg kon kng kwy ldi Kikongo Kongo
lua_Latn: lua Luba-Kasai
lua_Latn| luba kasai|Luba-Lulua
luo_Latn: luo Luo Dholuo
luo_Latn| Luo (Kenya and Tanzania)
kam_Latn: kam Kamba
kam_Latn| Kamba (Kenya)
kik_Latn: ki kik Kikuyu Gikuyu
som_Latn: so som Somali
gaz_Latn: om orm gaz Oromo
gaz_Latn| West Central Oromo|Oromo, West Central
amh_Ethi: am amh Amharic
tir_Ethi: ti tir Tigrinya
hau_Latn: ha hau hau-NG Hausa
ibo_Latn: ig ibo Igbo
ibo_Latn| Ibo
yor_Latn: yo yor Yoruba Yorùbá
fuv_Latn: ff ful fuv ff-Latn Fula Fulah Fulani
fuv_Latn| Nigerian Fulfulde
knc_Latn: kr kau knc Kanuri
knc_Latn| Central Kanuri
aka_Latn: ak aka fat Akan Fante
twi_Latn: tw twi twi_Latn_akua1239 Twi
twi_Latn| Asante Twi
bam_Latn: bm bam Bambara
dik_Latn: din dik Dinka
dik_Latn| Southwestern Dinka
kbp_Latn: kbp Kabiye Kabiyè
nqo_Nkoo: nqo nqo-Nkoo N'Ko N\u2019Ko
tzm_Tfng: tzm Tamazight
tzm_Tfng| Central Atlas Tamazight|Tamazight, Central Atlas
taq_Latn: taq tmh Tamasheq
taq_Tfng: taq-Tfng
taq_Tfng| Tamasheq (Tifinagh)|Tamasheq (Tifinagh script)
hat_Latn: ht hat Haitian
hat_Latn| Haitian Creole
grn_Latn: gn grn gug Guarani Guaraní
quy_Latn: qu que quy Quechua
quy_Latn| Ayacucho Quechua
ayr_Latn: ay aym ayr Aymara
ayr_Latn| Central Aymara
epo_Latn: eo epo Esperanto
und: und UND Undetermined
"""


def _pairs() -> list[tuple[str, str]]:
    pairs = []
    for line in WRITTEN.strip().splitlines():
        meant, kind, rest = re.split("([:|]) ", line, maxsplit=1)
        pairs += [(each, meant) for each in rest.split("|" if kind == "|" else " ")]
    return pairs


@pytest.mark.parametrize(("written", "meant"), _pairs())
def test_what_people_write_is_read(written: str, meant: str) -> None:
    assert language(written).code == meant
    assert language(f"  {written} ").code == meant


def test_the_table_of_spellings_has_hundreds() -> None:
    assert len(set(_pairs())) > 600


def test_a_language_is_itself_by_code_name_and_tag() -> None:
    for entry in some(languages().values()):
        spoken = [entry.code, entry.code.lower(), entry.code.upper(), entry.code.replace("_", "-")]
        spoken += [entry.name, entry.name.upper(), folded(entry.name), " ".join(key(entry.name))]
        spoken += [f"{entry.iso639_3}-{entry.script}-{region}" for region in ("001", "ZZ")]
        assert {language(each) for each in spoken} == {entry}, spoken
        assert {canonical(each) for each in spoken} == {entry.code}, spoken


def test_a_short_code_and_a_script_are_a_language_too() -> None:
    for code in some(short_codes()):
        short = resolve(code)
        for entry in languages().values():
            if entry.iso639_3 == short.iso639_3 and entry.iso639_3 not in ("azb", "ckb", "prs"):
                assert language(f"{code}-{entry.script}") == entry
                assert language(f"{code}_{entry.script}_ZZ".lower()) == entry


def test_no_two_languages_have_one_name() -> None:
    entries: dict[tuple[str, ...], str] = {}
    for entry in languages().values():
        assert entries.setdefault(key(entry.name), entry.code) == entry.code
    for name, code in some(further_names()):
        meant = _or_none(code)
        assert _or_none(name) == meant, (name, code)
        assert meant is None or language(name.casefold()) == meant


def test_every_name_says_where_it_is_from() -> None:
    table = resources.files("isogloss.prompts").joinpath("data", "language_names.csv")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert len(rows) > 300
    assert {row["standard"] for row in rows} == {
        *("ISO 639-1", "ISO 639-3", "usage", "usage, of a region or script")
    }


def _or_none(name: str) -> Language | None:
    try:
        return resolve(name)
    except UnknownLanguage:
        return None
