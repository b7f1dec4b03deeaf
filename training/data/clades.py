"""Which clades a set of languages is evidence about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from isogloss.prompts.languages.languages import languages


def lineages_of(codes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Lineage of each language, root first; empty for codes the language table does not know."""
    known = languages()
    return {code: known[code].lineage if code in known else () for code in codes}


def name_of(code: str) -> str:
    """A language's English name, or its code where the table does not know it."""
    known = languages()
    return known[code].name if code in known else code


def branching_clades(
    lineages: Mapping[str, Sequence[str]], min_languages: int = 2
) -> dict[str, tuple[str, ...]]:
    """Clades with at least `min_languages` of these languages, parents first.

    A chain of clades with the very same languages (Italic > ... > Romance, where only Romance
    languages are at hand) counts once, under its highest name: evidence cannot tell the links
    apart, and the highest covers most relatives that are not at hand.
    """
    codes: dict[str, list[str]] = {}  # by clade
    depths: dict[str, int] = {}
    for code, lineage in lineages.items():
        for depth, clade in enumerate(lineage):
            codes.setdefault(clade, []).append(code)
            depths.setdefault(clade, depth)
    branching: dict[str, tuple[str, ...]] = {}
    for clade in sorted(codes, key=lambda name: (depths[name], name)):
        group = tuple(sorted(codes[clade]))
        if len(group) >= min_languages and group not in branching.values():
            branching[clade] = group
    return branching
