"""Language codes as standards, people and detectors write them, and the language each means.

The facts are in `data/language_codes.csv`, each with the standard that says so: ISO 639-1, 639-2
and 639-3, and BCP 47's irregular tags. What some write otherwise is in `prompts.languages.
standards`. Where a macrolanguage and one of its languages are one entry of the language table,
either code means it; which language a macrolanguage means may depend on script or country (`aze` is
Azerbaijani of the north, `aze-Arab` of the south).
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from types import MappingProxyType

from isogloss.prompts.languages.standards import GENERAL, Standard

LONGEST_CODE = 35
"""Characters of the longest code that BCP 47 asks programs to read."""
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_EXTENDED = re.compile(r"[a-z]{3}")  # a language of a macrolanguage: zh-yue
_OF_SEVERAL = frozenset(["ar", "lv", "ms", "sw", "uz", "zh"])  # what may be so extended
_SCRIPT = re.compile(r"[a-z]{4}")
# ISO 15924's codes of scripts that the language table has under another.
_VARIANTS = {
    "Aran": "Arab",
    "Cyrs": "Cyrl",
    "Geok": "Geor",
    "Hanb": "Hant",
    "Hira": "Jpan",
    "Hrkt": "Jpan",
    "Kana": "Jpan",
    "Kore": "Hang",
    "Latf": "Latn",
    "Latg": "Latn",
}
_REGION = re.compile(r"[a-z]{2}|[0-9]{3}")
# With a digit any will do, Glottocodes too; words only as BCP 47's registry has them, for others
# are likelier a script spelled out.
_VARIANT = re.compile(r"[0-9][a-z0-9]{3}|(?=[a-z]*[0-9])[a-z0-9]{5,8}")
_REGISTERED = """
akuapem aluku anpezo aranes arevela arevmda arkaika asante auvern balanka barla basiceng bauddha
bciav bcizbl biscayan biske blasl bohoric boont bornholm cisaup cornu creiss dajnko ekavsk emodeng
fascia fodom fonipa fonkirsh fonnapa fonupa fonxsamp gallo gascon gherd grclass grital grmistr hanoi
hepburn heploc hognorsk hsistemo huett ijekavsk itihasa ivanchov jauer jyutping kkcor kleinsch
kociewie kscor laukika lemosin lengadoc leidentr lipaw mdcegyp mdctrans metelko monoton ndyuka nedis
newfound nicard njiva nulik osojs oxendict pamaka peano pehoeji pinyin polyton provenc puter rigik
rozaj rumgr saigon scotland scouse simple solba sotav spanglis surmiran sursilv sutsilv synnejyl
tailo tarask tongyong tunumiir uccor ucrcor ulster unifon vaidika valbadia valencia vallader
vecdruka viennese vivaraup wadegile xsistemo
"""
_VARIANT_WORDS = frozenset(_REGISTERED.split())
_ENCODING = re.compile(r"\.utf-?8\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tag:
    """A code taken apart: `language` in lower case, `script` as "Latn", `region` as "BR"."""

    language: str
    script: str = ""
    region: str = ""


def parse(code: str) -> Tag | None:
    """Take a code apart, whatever its case and separators; None for what cannot be one."""
    if len(code) > LONGEST_CODE or not code.isascii():
        return None
    parts = _ENCODING.sub("", code).lower().replace("_", "-").split("-")
    language, *rest = parts
    if not _LANGUAGE.fullmatch(language):
        return None
    if rest and language in _OF_SEVERAL and _EXTENDED.fullmatch(rest[0]):
        language = rest.pop(0)
    script = rest.pop(0).title() if rest and _SCRIPT.fullmatch(rest[0]) else ""
    script = _VARIANTS.get(script, script)
    region = rest.pop(0).upper() if rest and _REGION.fullmatch(rest[0]) else ""
    while rest and (rest[0] in _VARIANT_WORDS or _VARIANT.fullmatch(rest[0])):
        rest.pop(0)
    if rest and len(rest[0]) != 1:  # one letter begins an extension, which is of no language
        return None
    return Tag(language, script, region)


def meaning(
    code: str, held: Container[str], *, written: str = "", standard: Standard = GENERAL
) -> Tag | None:
    """Return which of the languages in `held`, by ISO 639-3 code, a code means; None for none.

    Args:
        code: as someone wrote it.
        held: languages to choose from.
        written: the script of the text, where the code names none and it is known.
        standard: whose code it is: `als` is Alemannic among Wikipedia's.
    """
    whole = code.lower().replace("_", "-")
    if whole in standard.labels:
        tag = parse(standard.labels[whole])
    else:
        tag = Tag(whole) if (whole, "") in _codes() else parse(code)
    if tag is None:
        return None
    return follow(tag if tag.script else replace(tag, script=written), held)


def follow(tag: Tag, held: Container[str]) -> Tag | None:
    """Go from code to code until one is held: `zh` to `zho`, `no` to `nor` to `nob`."""
    table, language = _codes(), tag.language
    for _ in range(len(table)):
        if language in held:
            return Tag(language, tag.script, tag.region)
        narrowed = [place for place in (tag.script, tag.region) if place] + [""]
        follows = [table[language, where] for where in narrowed if (language, where) in table]
        if not follows:
            return None
        language = follows[0]
    raise AssertionError(f"data/language_codes.csv leads from {tag.language} in a circle")


def short_codes() -> list[str]:
    """Return the codes of ISO 639-1 that there are."""
    return [code for code, where in _codes() if len(code) == 2 and not where]


@functools.cache
def _codes() -> Mapping[tuple[str, str], str]:
    """Return (code, where) -> the next code."""
    table = resources.files("isogloss.prompts").joinpath("data", "language_codes.csv")
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return MappingProxyType({(row["code"], row["where"]): row["language"] for row in rows})
