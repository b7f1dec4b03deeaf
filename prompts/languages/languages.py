"""The languages Isogloss knows: codes, names, and their place in the Glottolog tree.

A language is found as anybody writes it, by code or by name: `resolve` reads what a person or a
program writes, `canonical` a folder's name, and `labelled` a detector's label. All three ask the
same tables: codes, names, and what a standard means by a code that others read otherwise.

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

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.errors import InvalidData, UnknownLanguage
from isogloss.prompts.languages import codes as language_codes
from isogloss.prompts.languages import names
from isogloss.prompts.languages.nearest import hint, nearest
from isogloss.prompts.languages.standards import GENERAL, Standard

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


def resolve(name: str, standard: Standard = GENERAL) -> Language:
    """Return the language that a code or an English name means; `und` is UNDETERMINED.

    Where the table has the language in one script, that one is meant, whatever the code says of it.

    Args:
        name: any of `fra_Latn`, `fr`, `fr-CA`, `FRE`, "French", "french (Canada)".
        standard: whose code it is.

    Raises:
        UnknownLanguage: the message names it and those nearest to it.
    """
    if entry := languages().get(name) or _entry(name.strip(), standard):
        return entry
    if name.strip().casefold() in (UNDETERMINED.code, UNDETERMINED.name.casefold()):
        return UNDETERMINED
    raise _unknown(name, standard)


def language(name: str) -> Language:
    """Return the language that a code or name means where nobody says whose it is: see `resolve`.

    Raises:
        UnknownLanguage: it is none.
    """
    return resolve(name)


def canonical(name: str) -> str:
    """Return the table's code for a language in the script that a name says, else the name.

    `fr`, `pt-BR` and `French` are fra_Latn and por_Latn; `srp_Latn` stays, as the table has Serbian
    in Cyrillic, and so does whatever is no language.
    """
    entry = _entry(name, GENERAL, strict=True)
    return entry.code if entry else name


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


def labelled(label: str, written: str, standard: Standard = GENERAL) -> Language:
    """Return the language that a detector's label means; UNDETERMINED for those the table lacks.

    Args:
        label: a code.
        written: the ISO 15924 script of the text, which decides where the label does not.
        standard: whose code it is.
    """
    tag = language_codes.meaning(label, _by_language(), written=written, standard=standard)
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


def _entry(name: str, standard: Standard, *, strict: bool = False) -> Language | None:
    return _meant(name, standard, strict) if len(name) <= names.LONGEST_NAME else None


@functools.lru_cache(4096)  # a data set's folders are named again and again
def _meant(name: str, standard: Standard, strict: bool) -> Language | None:
    tag = _tag(name, standard)
    if tag is None:
        return None
    entries, script = _by_language()[tag.language], _script(tag)
    if not script:
        return _usual(entries)
    return _in_script(entries, script) or (entries[0] if len(entries) == 1 and not strict else None)


def _tag(name: str, standard: Standard) -> language_codes.Tag | None:
    """Return what a code means, else an English name, of the languages that the table has."""
    tag = language_codes.meaning(name, _by_language(), standard=standard)
    if tag is None and standard.has_names and (said := names.tag_of(name, _by_name())):
        tag = language_codes.follow(said, _by_language())
    return tag


@functools.cache
def _by_name() -> Mapping[names.Key, language_codes.Tag]:
    """Return what each English name means, also of languages that the table lacks."""
    further = {names.key(name): language_codes.parse(code) for name, code in names.further_names()}
    by_name = {words: tag for words, tag in further.items() if tag}
    for entry in languages().values():
        by_name[names.key(entry.name)] = language_codes.Tag(entry.iso639_3, entry.script)
    return MappingProxyType(by_name)


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


def _unknown(name: str, standard: Standard) -> UnknownLanguage:
    """Say what is wrong with a name, and what may have been meant."""
    begin = names.folded(name[: names.LONGEST_NAME]).split(" ")[0]
    tag = _tag(begin, standard) if len(name) <= names.LONGEST_NAME else None
    same = _by_language()[tag.language] if tag else ()
    remedy = "write a code such as fra_Latn or fr, or an English name"
    close = hint(nearest(name, same, _spellings()), remedy)
    lacking = _lacking().get(name.strip().casefold(), "")
    known = f" ({lacking}, which is not among the {len(languages())})" if lacking else ""
    return UnknownLanguage(f"unknown language {shown(name)}{known}; {close}")


@functools.cache
def _spellings() -> Mapping[str, Language]:
    """Return every language's codes and names, folded; of one in two scripts, the usual one's."""
    spellings: dict[str, Language] = {}
    further = [(code, code) for code in language_codes.short_codes()]
    for name, code in (*further, *names.further_names()):
        if entry := _entry(code, GENERAL):
            spellings[names.folded(name)] = entry
    for entry in languages().values():
        usual = _usual(_by_language()[entry.iso639_3])
        spellings |= {entry.iso639_3: usual, entry.code.casefold(): entry}
        spellings[names.folded(entry.name)] = entry
    return MappingProxyType(spellings)


@functools.cache
def _lacking() -> Mapping[str, str]:
    """Return the names of languages that the table lacks, by their codes and names."""
    lacking: dict[str, str] = {}
    for name, code in names.further_names():
        if not _entry(code, GENERAL):
            lacking |= {code: name, name.casefold(): name}
    return MappingProxyType(lacking)
