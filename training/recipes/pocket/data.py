"""Reads the parallel text and the WordNets that the pocket models learn from.

Everything is read as `Meaning`s: one thing said in several languages. SIB-200's dev and test
splits are never opened, and its labels are dropped on reading: they are for prompts only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from isogloss.prompts.files.tables import read_table
from isogloss.prompts.files.texts import read_lines
from isogloss.prompts.languages.sib200 import TEXTS

# The 52 languages of the paper: SIB-200's code, then NTREX's and Tatoeba's where they have it.
_CODES = """
aka_Latn - -        arb_Arab arb ara    asm_Beng - -        bam_Latn - -
eus_Latn eus eus    ben_Beng ben ben    bul_Cyrl bul bul    mya_Mymr mya -
cat_Latn cat cat    sna_Latn sna-Latn - tum_Latn - -        zho_Hans zho-CN cmn
eng_Latn eng -      est_Latn est est    fin_Latn fin fin    fon_Latn - -
fra_Latn fra fra    deu_Latn deu deu    ell_Grek ell ell    guj_Gujr guj -
hat_Latn - -        hin_Deva hin hin    ibo_Latn ibo -      ind_Latn ind ind
zul_Latn zul -      ita_Latn ita ita    jpn_Jpan jpn jpn    kan_Knda kan -
kik_Latn - -        kin_Latn kin -      kor_Hang kor kor    lin_Latn - -
mal_Mlym mal mal    mar_Deva mar mar    npi_Deva nep -      nso_Latn nso -
ory_Orya - -        por_Latn por por    quy_Latn - -        rus_Cyrl rus rus
spa_Latn spa spa    swh_Latn swa swh    tam_Taml tam tam    tel_Telu tel tel
tha_Thai tha tha    tur_Latn tur tur    twi_Latn - -        urd_Arab urd urd
vie_Latn vie vie    wol_Latn wol -      xho_Latn xho xho    yor_Latn yor -
"""
_COLUMNS = _CODES.split()
ENGLISH = "eng_Latn"
LANGUAGES: tuple[str, ...] = tuple(_COLUMNS[::3])
_NTREX = {code: name for code, name in zip(LANGUAGES, _COLUMNS[1::3], strict=True) if name != "-"}
_TATOEBA = {code: name for code, name in zip(LANGUAGES, _COLUMNS[2::3], strict=True) if name != "-"}

# WordNet's lexicographer files 04 to 43, as words of the vocabulary; 00 to 03 say no topic.
_TOPIC_WORDS = """
act animal object property body knowledge communication event feeling food group place
motivation nature person nature plant ownership process quantity relation shape
state substance time body change knowledge communication competition consumption contact
creation feeling motion perception ownership social state weather
"""
_TOPICS = {f"{number:02d}": word for number, word in enumerate(_TOPIC_WORDS.split(), start=4)}


@dataclass(frozen=True)
class Meaning:
    """One meaning: sentences by language, and for a synset its lemmas and topic words."""

    source: str
    texts: Mapping[str, tuple[str, ...]]
    lemmas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    topics: tuple[str, ...] = ()
    document: str = ""


def read_meanings(data: Path) -> list[Meaning]:
    """All of them, in a fixed order; a source whose folder is missing contributes none."""
    readers = (_read_sib200, _read_ntrex, _read_tatoeba, _read_wordnet)
    return [meaning for reader in readers for meaning in reader(data)]


def _read_sib200(data: Path) -> Iterator[Meaning]:
    sentences: dict[int, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for code in LANGUAGES:
        path = data / "sib200" / code / "train.tsv"
        if not path.is_file():
            continue
        for row in read_table(path, TEXTS):
            sentences[int(row.cells["index_id"])][code] = (row.cells["text"],)
    # Neighbouring numbers come from one article: two apart still do, nearly always.
    documents = dict.fromkeys(sorted(sentences), 0)
    for before, after in pairwise(documents):
        documents[after] = documents[before] + (after - before > 2)
    for number, texts in sorted(sentences.items()):
        yield Meaning("sib200", texts, document=f"sib200.{documents[number]}")


def _read_ntrex(data: Path) -> Iterator[Meaning]:
    folder = data / "ntrex"
    columns: dict[str, list[str]] = {}
    for code, name in _NTREX.items():
        for path in sorted(folder.glob(f"newstest2019-*.{name}.txt")):
            columns[code] = _lines(path)
    if not columns:
        return
    documents = _lines(folder / "DOCUMENT_IDS.tsv")
    for row, document in enumerate(documents):
        texts = {code: (column[row],) for code, column in columns.items() if column[row].strip()}
        yield Meaning("ntrex", texts, document=f"ntrex.{document}")


def _read_tatoeba(data: Path) -> Iterator[Meaning]:
    by_english: dict[str, dict[str, tuple[str, ...]]] = {}
    known = {name: code for code, name in _TATOEBA.items()}
    for path in sorted((data / "tatoeba").glob("tatoeba.*-eng.eng")):
        name = path.name.split(".")[1].removesuffix("-eng")
        other = path.with_name(f"tatoeba.{name}-eng.{name}")
        for english, translation in zip(_lines(path), _lines(other), strict=True):
            texts = by_english.setdefault(english, {"eng_Latn": (english,)})
            if name in known:
                texts[known[name]] = (*texts.get(known[name], ()), translation)
    for texts in by_english.values():
        yield Meaning("tatoeba", texts)


def _read_wordnet(data: Path) -> Iterator[Meaning]:
    lemmas: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for code in LANGUAGES:
        path = data / "wordnet" / f"{code}.tsv"
        for line in _lines(path) if path.is_file() else ():
            synset, lemma = line.split("\t")[:2]
            # The open wordnets mark word boundaries inside a lemma as `+` (Chinese) or `_`.
            lemma = lemma.replace("+", "").replace("_", " ")
            if lemma not in lemmas[synset][code]:
                lemmas[synset][code].append(lemma)
    path = data / "wordnet" / "definitions.eng.tsv"
    for line in _lines(path) if path.is_file() else ():
        synset, file, _, definition = line.split("\t")
        topics = (_TOPICS[file],) if file in _TOPICS else ()
        # "(computer science) a ..." names the field that a definition belongs to.
        if definition.startswith("(") and ")" in definition:
            topic, definition = definition[1:].split(")", 1)
            topics = (*topics, topic)
        words = {code: tuple(found[:6]) for code, found in lemmas[synset].items()}
        yield Meaning("wordnet", {"eng_Latn": (definition.strip(),)}, words, topics)


def _lines(path: Path) -> list[str]:
    return "".join(read_lines(path)).rstrip("\n").split("\n")
