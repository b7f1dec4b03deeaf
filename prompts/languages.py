"""The languages Isogloss knows: codes, names, and their place in the Glottolog tree.

The table, `data/languages.csv`, is built from lang2vec's `fam` vectors by
`training/build_languages.py` and committed, so nothing here needs lang2vec.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from prompts.errors import UnknownLanguage
from prompts.refusals import shown
from prompts.suggestions import spelled_like

_LINEAGE_SEPARATOR = ">"


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
    table = resources.files("prompts").joinpath("data", "languages.csv")
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    found = [_from_row(row) for row in rows]
    return MappingProxyType({entry.code: entry for entry in found})


def language(code: str) -> Language:
    """Return the language with this code; `und` is UNDETERMINED.

    Raises UnknownLanguage, which names the code and those nearest to it.
    """
    if code == UNDETERMINED.code:
        return UNDETERMINED
    known = languages()
    if code not in known:
        close = " or ".join(_close_codes(code, known))
        hint = f"; did you mean {close}?" if close else ""
        raise UnknownLanguage(f"unknown language code {shown(code)}{hint}")
    return known[code]


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


def _close_codes(code: str, known: Mapping[str, Language]) -> list[str]:
    """Return codes someone may have meant: the same ISO code, the same name, a like spelling."""
    asked = code.casefold()
    language_part = asked.replace("-", "_").split("_")[0]
    same = [
        entry.code
        for entry in known.values()
        if language_part == entry.iso639_3 or asked == entry.name.casefold()
    ]
    spelled = spelled_like(code, known, cutoff=0.7)
    return list(dict.fromkeys([*same, *spelled]))[:3]
