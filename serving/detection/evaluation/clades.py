"""What counts as the right clade: where a route table would send a text of the true language."""

from __future__ import annotations

from collections.abc import Mapping

from isogloss.prompts.languages.languages import Language, deepest_clade, languages
from isogloss.serving.detection.evaluation.texts import PAPER_52

_ROOTS = frozenset(entry.lineage[0] for entry in languages().values() if entry.lineage)
_BRANCHES = frozenset(
    ["Romance", "Germanic", "Slavic", "Indo-Aryan", "Iranian", "Narrow_Bantu", "Semitic"]
)
BRANCHES, FINEST = "branches", "all clades"
ROUTE_TABLES: Mapping[str, frozenset[str]] = {
    "families": _ROOTS,
    BRANCHES: _ROOTS | _BRANCHES,
    # As fine as a table made from the 52 can be: every clade above any of them.
    FINEST: frozenset(clade for code in PAPER_52 for clade in languages()[code].lineage),
}
UNIVERSAL = "none"


def clade_of(language: Language, table: str = FINEST) -> str:
    """Return the clade by which a table routes a language, or UNIVERSAL where it has none."""
    return deepest_clade(language.lineage, ROUTE_TABLES[table]) or UNIVERSAL


def group_of(language: Language) -> str:
    """Return a language's branch or family, or its own name where it is in neither."""
    clade = clade_of(language, BRANCHES)
    return language.name if clade == UNIVERSAL else clade
