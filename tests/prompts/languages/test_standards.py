"""Labels of detectors and names of data, each read by its own standard."""

from __future__ import annotations

from pathlib import Path

import pytest

from isogloss.prompts.errors import UnknownLanguage
from isogloss.prompts.languages.languages import canonical, labelled, languages, resolve
from isogloss.prompts.languages.standards import (
    CLD,
    FLORES,
    GENERAL,
    ISO_639_3,
    WIKIPEDIA,
    Standard,
)
from tests.some import some

DATA = Path(__file__).parents[3] / ".." / "shared" / "data"

# lid.176's labels, all of them. Those that the table lacks come last.
LID_176 = """
af=afr_Latn am=amh_Ethi ar=arb_Arab arz=arz_Arab as=asm_Beng ast=ast_Latn az=azj_Latn azb=azb_Arab
ba=bak_Cyrl be=bel_Cyrl bg=bul_Cyrl bh=bho_Deva bn=ben_Beng bo=bod_Tibt bs=bos_Latn ca=cat_Latn
ceb=ceb_Latn ckb=ckb_Arab cs=ces_Latn cy=cym_Latn da=dan_Latn de=deu_Latn el=ell_Grek en=eng_Latn
eo=epo_Latn es=spa_Latn et=est_Latn eu=eus_Latn fa=pes_Arab fi=fin_Latn fr=fra_Latn ga=gle_Latn
gd=gla_Latn gl=glg_Latn gn=grn_Latn gu=guj_Gujr he=heb_Hebr hi=hin_Deva hr=hrv_Latn ht=hat_Latn
hu=hun_Latn hy=hye_Armn id=ind_Latn ilo=ilo_Latn is=isl_Latn it=ita_Latn ja=jpn_Jpan jv=jav_Latn
ka=kat_Geor kk=kaz_Cyrl km=khm_Khmr kn=kan_Knda ko=kor_Hang ku=kmr_Latn ky=kir_Cyrl lb=ltz_Latn
li=lim_Latn lmo=lmo_Latn lo=lao_Laoo lt=lit_Latn lv=lvs_Latn mai=mai_Deva mg=plt_Latn min=min_Latn
mk=mkd_Cyrl ml=mal_Mlym mn=khk_Cyrl mr=mar_Deva ms=zsm_Latn mt=mlt_Latn my=mya_Mymr ne=npi_Deva
nl=nld_Latn nn=nno_Latn no=nob_Latn oc=oci_Latn or=ory_Orya pa=pan_Guru pl=pol_Latn ps=pbt_Arab
pt=por_Latn qu=quy_Latn ro=ron_Latn ru=rus_Cyrl sa=san_Deva sc=srd_Latn scn=scn_Latn sd=snd_Arab
sh=hrv_Latn si=sin_Sinh sk=slk_Latn sl=slv_Latn so=som_Latn sq=als_Latn sr=srp_Cyrl su=sun_Latn
sv=swe_Latn sw=swh_Latn ta=tam_Taml te=tel_Telu tg=tgk_Cyrl th=tha_Thai tk=tuk_Latn tl=tgl_Latn
tr=tur_Latn tt=tat_Cyrl ug=uig_Arab uk=ukr_Cyrl ur=urd_Arab uz=uzn_Latn vec=vec_Latn vi=vie_Latn
war=war_Latn yi=ydd_Hebr yo=yor_Latn yue=yue_Hant zh=zho_Hans
als=und an=und av=und bar=und bcl=und bpy=und br=und bxr=und cbk=und ce=und co=und cv=und diq=und
dsb=und dty=und dv=und eml=und frr=und fy=und gom=und gv=und hif=und hsb=und ia=und ie=und io=und
jbo=und krc=und kv=und kw=und la=und lez=und lrc=und mhr=und mrj=und mwl=und myv=und mzn=und nah=und
nap=und nds=und new=und os=und pam=und pfl=und pms=und pnb=und rm=und rue=und sah=und sco=und
tyv=und vep=und vls=und vo=und wa=und wuu=und xal=und xmf=und
"""
GLOTLID = """
cmn_Hani=zho_Hans zho_Hans=zho_Hans zho_Hant=zho_Hant yue_Hani=yue_Hant als_Latn=als_Latn
aln_Latn=und gsw_Latn=und sqi_Latn=als_Latn ekk_Latn=est_Latn lvs_Latn=lvs_Latn arb_Arab=arb_Arab
ara_Arab=arb_Arab swh_Latn=swh_Latn swc_Latn=und zsm_Latn=zsm_Latn msa_Latn=zsm_Latn
nob_Latn=nob_Latn nno_Latn=nno_Latn nor_Latn=nob_Latn pes_Arab=pes_Arab fas_Arab=pes_Arab
prs_Arab=prs_Arab fil_Latn=tgl_Latn tgl_Latn=tgl_Latn uzn_Cyrl=uzn_Latn uzn_Latn=uzn_Latn
uzs_Arab=und srp_Latn=srp_Cyrl srp_Cyrl=srp_Cyrl hbs_Latn=hrv_Latn hbs_Cyrl=srp_Cyrl
kmr_Latn=kmr_Latn ckb_Arab=ckb_Arab azj_Latn=azj_Latn azj_Cyrl=azj_Latn azb_Arab=azb_Arab
khk_Cyrl=khk_Cyrl npi_Deva=npi_Deva ory_Orya=ory_Orya pbt_Arab=pbt_Arab plt_Latn=plt_Latn
ydd_Hebr=ydd_Hebr gug_Latn=grn_Latn gaz_Latn=gaz_Latn fuv_Latn=fuv_Latn twi_Latn=twi_Latn
fat_Latn=aka_Latn tzm_Tfng=tzm_Tfng zgh_Tfng=und taq_Tfng=taq_Tfng kas_Deva=kas_Deva
wuu_Hani=und lzh_Hani=und nan_Latn=und zxx_Zzzz=und und_Latn=und mul_Latn=und mis_Zzzz=und
zxx=und bih_Deva=bho_Deva
"""
SIB_200_AND_FLORES = """
als_Latn=als_Latn zho_Hans=zho_Hans zho_Hant=zho_Hant zho_simpl=zho_Hans zho_trad=zho_Hant
arb_Arab=arb_Arab arb_Latn=arb_Latn est_Latn=est_Latn ekk_Latn=est_Latn cmn_Hans=zho_Hans
cmn_Hant=zho_Hant ajp_Arab=ajp_Arab apc_Arab=apc_Arab apc_Arab_sout3123=ajp_Arab
apc_Arab_nort3139=apc_Arab tzm_Tfng=tzm_Tfng zgh_Tfng=tzm_Tfng twi_Latn_akua1239=twi_Latn
fil_Latn=tgl_Latn gug_Latn=grn_Latn wuu_Hans=und nqo_Nkoo=nqo_Nkoo ara=arb_Arab als=als_Latn
"""
CLD3 = """
af=afr_Latn ar=arb_Arab bg=bul_Cyrl bg-Latn=bul_Cyrl ca=cat_Latn ceb=ceb_Latn co=und el=ell_Grek
el-Latn=ell_Grek en=eng_Latn eo=epo_Latn fil=tgl_Latn fy=und gd=gla_Latn haw=und hi=hin_Deva
hi-Latn=hin_Deva hmn=und ht=hat_Latn ig=ibo_Latn iw=heb_Hebr ja=jpn_Jpan ja-Latn=jpn_Jpan
jv=jav_Latn jw=jav_Latn ku=kmr_Latn la=und lb=ltz_Latn mg=plt_Latn mi=mri_Latn mn=khk_Cyrl
no=nob_Latn ny=nya_Latn ru-Latn=rus_Cyrl sm=smo_Latn sn=sna_Latn sr=srp_Cyrl st=sot_Latn
su=sun_Latn sw=swh_Latn xh=xho_Latn yi=ydd_Hebr zh=zho_Hans zh-Latn=zho_Hans zh-Hant=zho_Hant
zu=zul_Latn un=und xxx=und sr-ME=srp_Cyrl bh=bho_Deva in=ind_Latn ji=ydd_Hebr
"""


TATOEBA_ONLY = """
ang arq ber bre cbk cha cor csb dsb dtp fry gsw hsb ido ile ina kzj lat lfn max mhr nds nov orv pam
pms swg tzl wuu
"""
NTREX_ONLY = "div fuc hmn mey nde shi srp-Latn tah ton ven"
PY3LANGID_ONLY = "an br bcl ext fy gcf gcr gom grc guw hbo la pcm sdh se uzs wa wuu vo zxx"


def _cases() -> list[tuple[Standard, str, str]]:
    tables = ((WIKIPEDIA, LID_176), (ISO_639_3, GLOTLID), (FLORES, SIB_200_AND_FLORES), (CLD, CLD3))
    pairs = [(each, pair.partition("=")) for each, table in tables for pair in table.split()]
    return [(standard, label, meant) for standard, (label, _, meant) in pairs]


@pytest.mark.parametrize(("standard", "label", "meant"), _cases(), ids=str)
def test_a_label_is_read_by_its_own_standard(standard: Standard, label: str, meant: str) -> None:
    assert labelled(label, "", standard).code == meant
    assert labelled(label.upper(), "", standard).code == meant


def test_lid_176_is_whole() -> None:
    assert len(LID_176.split()) == len({pair.split("=")[0] for pair in LID_176.split()}) == 176


def test_one_code_is_two_languages() -> None:
    assert resolve("als") == resolve("als", GENERAL) == resolve("sq", WIKIPEDIA)
    with pytest.raises(UnknownLanguage, match="unknown language 'als'"):
        resolve("als", WIKIPEDIA)
    assert resolve("als", FLORES).name == "Tosk Albanian"


def test_labels_are_codes_and_no_english_names() -> None:
    assert labelled("french", "Latn").code == "und"
    for standard in (WIKIPEDIA, FLORES, ISO_639_3, CLD):
        with pytest.raises(UnknownLanguage, match="did you mean fra_Latn"):
            resolve("French", standard)


def test_a_standards_own_codes_lead_to_a_language_or_to_none_on_purpose() -> None:
    for standard in (WIKIPEDIA, FLORES, ISO_639_3, CLD):
        for label, tag in some(standard.labels.items()):
            assert label == label.lower().replace("_", "-")
            assert not tag or 2 <= len(tag.split("-")[0]) <= 3


def test_py3langids_labels() -> None:
    langid = pytest.importorskip("py3langid.langid", reason="py3langid is an optional detector")
    model = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)
    labels = [str(label) for label in model.labels]
    lacking = {label for label in labels if labelled(label, "", CLD).code == "und"}
    assert lacking == set(PY3LANGID_ONLY.split())
    assert labelled("zh", "Hant", CLD).code == "zho_Hant"


def _folder(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"{name} is not at ../shared/data/{name}")
    return DATA / name


def test_folders_of_sib_200_are_the_tables() -> None:
    names = {path.name for path in _folder("sib200").iterdir() if path.is_dir()}
    assert {canonical(name) for name in some(names)} == names == set(languages())
    assert {resolve(name, FLORES).code for name in names} == names


def test_files_of_ntrex() -> None:
    names = {path.name.split(".")[1] for path in _folder("ntrex").glob("newstest2019-*.txt")}
    lacking = {name for name in some(names) if canonical(name) not in languages()}
    assert lacking == set(NTREX_ONLY.split())


def test_files_of_tatoeba() -> None:
    names = {path.suffix[1:] for path in _folder("tatoeba").glob("tatoeba.*-eng.*")}
    lacking = {name for name in some(names) if canonical(name) not in languages()}
    assert lacking == set(TATOEBA_ONLY.split())


def test_files_of_the_wordnets() -> None:
    names = {path.stem for path in _folder("wordnet").glob("*.tsv")} - {"definitions.eng"}
    assert {canonical(name) for name in some(names)} == names <= set(languages())
