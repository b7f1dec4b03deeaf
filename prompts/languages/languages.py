"""The languages Isogloss knows: codes, names, and their place in the Glottolog tree.

A code of the table, such as `fra_Latn`, is found as anybody writes it: see `language_codes`.

The table, `data/languages.csv`, is built from lang2vec's `fam` vectors by
`training/recipes/languages.py` and committed, so nothing here needs lang2vec.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from isogloss.prompts.console.refusals import shown, spelled_like
from isogloss.prompts.errors import InvalidData, UnknownLanguage
from isogloss.prompts.languages import codes as language_codes

_LINEAGE_SEPARATOR = ">"
# What a language is taken to be written in where nothing tells.
_USUAL_SCRIPTS = ("Hans", "Latn", "Arab")
_USUAL_OF = {"arb": "Arab", "kas": "Arab"}
_TRADITIONAL = frozenset(["HK", "MO", "TW"])  # where Chinese is written in Hant


@dataclass(frozen=True, slots=True)
class Language:
    """One language in one script: the same language in two scripts is two of these.

    `code` is SIB-200's ("fra_Latn"). `lineage` runs from the root of the Glottolog tree towards
    the language, in lang2vec's names; it is empty for isolates and constructed languages.
    `in_bloom` and `in_xglm` tell whether a backbone saw the language in pretraining.
    """

    code: str
    iso639_3: str
    name: str
    script: str
    lineage: tuple[str, ...]
    in_bloom: bool
    in_xglm: bool


UNDETERMINED = Language(
    code="und",
    iso639_3="und",
    name="Undetermined",
    script="Zyyy",
    lineage=(),
    in_bloom=False,
    in_xglm=False,
)


@functools.cache
def languages() -> Mapping[str, Language]:
    """Every language of the committed table, by code, in the table's (alphabetical) order."""
    table = resources.files("isogloss.prompts").joinpath("data", "languages.csv")
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    entries = [_from_row(row) for row in rows]
    return MappingProxyType({entry.code: entry for entry in entries})


def language(code: str) -> Language:
    """Return the language that a code of any standard means; `und` is UNDETERMINED.

    Where the table has the language in one script, that one is meant, whatever the code says of it.

    Raises:
        UnknownLanguage: the message names the code and those nearest to it.
    """
    if code.casefold() == UNDETERMINED.code:
        return UNDETERMINED
    if (entry := languages().get(code)) or (entry := _meant(code.strip(), strict=False)):
        return entry
    close = " or ".join(_close_codes(code, languages()))
    hint = f"; did you mean {close}?" if close else ""
    raise UnknownLanguage(f"unknown language code {shown(code)}{hint}")


@functools.lru_cache(4096)  # a data set's folders are named again and again
def canonical(code: str) -> str:
    """Return the table's code for a language in the script that a code names, else the code.

    `fr` and `pt-BR` are fra_Latn and por_Latn; `srp_Latn` stays, as the table has Serbian in
    Cyrillic, and so does whatever is no language.
    """
    entry = _meant(code, strict=True)
    return entry.code if entry else code


def named_languages(names: Iterable[str], where: str) -> dict[str, str]:
    """Return names, of folders for example, by the `canonical` code of the language they mean.

    Args:
        names: each is a language, or something else that keeps its name.
        where: what has these names, for the message.

    Raises:
        InvalidData: two names mean the same language.
    """
    by_code: dict[str, str] = {}
    for name in sorted(names):
        code = canonical(name)
        if code in by_code:
            raise InvalidData(
                f"{where}: {by_code[code]!r} and {name!r} are both {languages()[code].name}, "
                f"{code}; put their texts together, or rename one to what is no language code"
            )
        by_code[code] = name
    return by_code


def labelled(label: str, written: str, *, wikipedia: bool = False) -> Language:
    """Return the language that a detector's label means; UNDETERMINED for those the table lacks.

    Args:
        label: a code of any standard.
        written: the ISO 15924 script of the text, which decides where the label does not.
        wikipedia: the labels are Wikipedia's codes.
    """
    tag = language_codes.meaning(label, _by_language(), written=written, wikipedia=wikipedia)
    if tag is None:
        return UNDETERMINED
    entries = _by_language()[tag.language]
    entry = _in_script(entries, _script(tag)) or _in_script(entries, written)
    return entry or _usual(entries)


def deepest_clade(lineage: Sequence[str], routed: Container[str]) -> str | None:
    """Return the last clade of a root-first lineage that is in `routed`, or None."""
    return next((clade for clade in reversed(lineage) if clade in routed), None)


def _from_row(row: Mapping[str, str]) -> Language:
    return Language(
        code=row["code"],
        iso639_3=row["iso639_3"],
        name=row["name"],
        script=row["script"],
        lineage=tuple(filter(None, row["lineage"].split(_LINEAGE_SEPARATOR))),
        in_bloom=row["in_bloom"] == "1",
        in_xglm=row["in_xglm"] == "1",
    )


@functools.cache
def _by_language() -> Mapping[str, Sequence[Language]]:
    """Return the entries of each language, by ISO 639-3 code."""
    by_language: dict[str, list[Language]] = {}
    for entry in languages().values():
        by_language.setdefault(entry.iso639_3, []).append(entry)
    return MappingProxyType(by_language)


def _meant(code: str, *, strict: bool) -> Language | None:
    tag = language_codes.meaning(code, _by_language())
    if tag is None:
        return None
    entries, script = _by_language()[tag.language], _script(tag)
    if not script:
        return _usual(entries)
    return _in_script(entries, script) or (entries[0] if len(entries) == 1 and not strict else None)


def _script(tag: language_codes.Tag) -> str:
    """Return the script that a code names, if only by its country; Han alone is of either kind."""
    if tag.language == "zho" and not tag.script:
        return "Hant" if tag.region in _TRADITIONAL else ""
    return "" if tag.script == "Hani" else tag.script


def _in_script(entries: Sequence[Language], script: str) -> Language | None:
    return next((entry for entry in entries if entry.script == script), None)


def _usual(entries: Sequence[Language]) -> Language:
    usual = (_USUAL_OF.get(entries[0].iso639_3), *_USUAL_SCRIPTS)
    in_order = (entry for script in usual for entry in entries if entry.script == script)
    return next(in_order, entries[0])


def _close_codes(code: str, known: Mapping[str, Language]) -> list[str]:
    """Return codes someone may have meant: the same language, the same name, a like spelling."""
    if len(code) > language_codes.LONGEST_CODE:
        return []
    asked = code.casefold().strip()
    tag = language_codes.meaning(asked.replace("_", "-").split("-")[0], _by_language())
    same = [
        entry.code
        for entry in known.values()
        if (tag and tag.language == entry.iso639_3) or asked == entry.name.casefold()
    ]
    named = [entry.code for entry in known.values() if asked in entry.name.casefold().split()]
    meant = list(dict.fromkeys([*same, *named]))
    return (meant or spelled_like(code, known, cutoff=0.7))[:3]
