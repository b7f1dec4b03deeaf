"""Languages in an order that shows who is related to whom, under names a reader knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from isogloss.prompts.languages.languages import languages
from isogloss.training.data.clades import name_of

# Not families: their languages have nothing in common.
ISOLATE = "Isolate"  # a language without relatives, such as Basque
UNKNOWN = "Unknown"  # a code that the language table does not have
_MIN_BRANCHES = 2  # a family is shown by branches when so many of them ...
_MIN_MEMBERS = 2  # ... have so many languages each


@dataclass(frozen=True, slots=True)
class StudyLanguage:
    """One language among those of a study."""

    code: str
    name: str
    family: str  # root of its lineage in the Glottolog tree
    group: str  # the family, or its branch where the study has several: what figures group by
    clades: tuple[str, ...]  # its whole lineage, root first


def by_family(codes: Iterable[str]) -> tuple[StudyLanguage, ...]:
    """The languages in the order of every table and figure: largest families first, then by name.

    Indo-European's branches stand apart where at least two of them have two languages or more;
    its single languages come together.
    """
    lineages = {code: _lineage(code) for code in codes}
    families = Counter(lineage[0] for lineage in lineages.values())
    branches = Counter(lineage[:2] for lineage in lineages.values() if len(lineage) > 1)
    many = Counter(family for (family, _), size in branches.items() if size >= _MIN_MEMBERS)
    split = {family for family, count in many.items() if count >= _MIN_BRANCHES}
    found = []
    for code, lineage in lineages.items():
        apart = lineage[0] in split and branches[lineage[:2]] >= _MIN_MEMBERS
        single = f"Other {lineage[0]}" if lineage[0] in split else lineage[0]
        group = lineage[1] if apart else single
        found.append(StudyLanguage(code, name_of(code), _words(lineage[0]), _words(group), lineage))
    sizes = Counter(language.group for language in found)

    def order(language: StudyLanguage) -> tuple[int, str, int, str, str, str]:
        family, group = language.clades[0], language.group
        return (-families[family], family, -sizes[group], group, language.name, language.code)

    return tuple(sorted(found, key=order))


def is_family(name: str) -> bool:
    """Whether languages under this name are related."""
    return name not in (ISOLATE, UNKNOWN)


def family_heading(family: str, group: str) -> str:
    """What stands above a group's languages: a branch is named with its family."""
    return group if family in group else f"{family}: {group}"


def _lineage(code: str) -> tuple[str, ...]:
    entry = languages().get(code)
    if entry is None:
        return (UNKNOWN,)
    return entry.lineage or (ISOLATE,)


def _words(clade: str) -> str:
    return clade.replace("_", " ")
