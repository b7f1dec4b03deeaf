"""English names of languages, as people write them.

A name is its words, in any order and case, with accents or without: "Chinese (Traditional)" is
"Traditional Chinese", and "Sotho, Northern" is "northern sotho". A word may name the script:
"Serbian (Latin)". The language table has one name for each language; others, and those of regions,
are in `data/language_names.csv`.
"""

from __future__ import annotations

import csv
import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources

from isogloss.prompts.languages.codes import Tag

LONGEST_NAME = 64
"""Characters; what is longer is no name of a language."""

Key = tuple[str, ...]
"""A name's words, sorted."""

_APOSTROPHES = re.compile("['\u2019\u02bc\u02bb\u2018`]")
_WORDS = re.compile(r"[^\W\d_]+")
# Words that tell no language from another.
_FILLERS = frozenset(["language", "individual", "macrolanguage", "script", "post"])
_SCRIPTS = {
    "arabic": "Arab",
    "cyrillic": "Cyrl",
    "devanagari": "Deva",
    "hebrew": "Hebr",
    "latin": "Latn",
    "roman": "Latn",
    "simplified": "Hans",
    "tifinagh": "Tfng",
    "traditional": "Hant",
}


def folded(name: str) -> str:
    """Return a name's words in lower case, without accents and fillers, with blanks between."""
    bare = unicodedata.normalize("NFD", _APOSTROPHES.sub("", name))
    plain = "".join(letter for letter in bare if not unicodedata.combining(letter))
    return " ".join(word for word in _WORDS.findall(plain.casefold()) if word not in _FILLERS)


def key(name: str) -> Key:
    """Return what all spellings of a name have in common; empty for what has no words."""
    return tuple(sorted(folded(name).split()))


def tag_of(name: str, index: Mapping[Key, Tag]) -> Tag | None:
    """Return what a name means, in which a word may be of the script; None for what is no name.

    Args:
        name: as someone wrote it.
        index: of names.
    """
    words = folded(name).split() if len(name) <= LONGEST_NAME else []
    if (tag := index.get(tuple(sorted(words)))) is not None:
        return tag
    for word in reversed(words):  # of "Arabic (Latin)" the last one
        others = tuple(sorted(other for other in words if other != word))
        if word in _SCRIPTS and (tag := index.get(others)) is not None:
            return replace(tag, script=_SCRIPTS[word])
    return None


@functools.cache
def further_names() -> Sequence[tuple[str, str]]:
    """Names that the language table has not, with the code of the language that each means."""
    table = resources.files("isogloss.prompts").joinpath("data", "language_names.csv")
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return tuple((row["name"], row["language"]) for row in rows)
