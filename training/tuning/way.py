"""In which of four ways a prompt was made, for its card and for whoever chooses among prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue

from isogloss.prompts.languages.languages import deepest_clade
from isogloss.training.data.clades import lineages_of
from isogloss.training.tuning.config import TrainingConfig

Way = Literal["english", "diverse", "clade", "taught"]


def way_of(config: TrainingConfig) -> dict[str, JsonValue]:
    """How the prompt of these settings is made, and the deepest clade that holds all its sources.

    `english`: from English labels alone (the paper). `diverse`: from labels in languages of several
    families. `clade`: from labels in languages of one family, or in one language other than
    English. `taught`: from a teacher's answers, without labels. The clade is None where the sources
    have none in common, or are not in the language table.
    """
    clade = common_clade(config.sources)
    return {"way": _way(config, clade), "clade": clade}


def common_clade(codes: Sequence[str]) -> str | None:
    """The last clade that all of these languages' lineages, which run from the root, share.

    >>> common_clade(["fra_Latn", "hin_Deva"])
    'Indo-European'
    """
    first, *others = lineages_of(codes).values()
    return deepest_clade(first, {clade for clade in first if all(clade in own for own in others)})


def _way(config: TrainingConfig, clade: str | None) -> Way:
    if config.teacher is not None:
        return "taught"
    if config.sources == ("eng_Latn",):
        return "english"
    return "diverse" if clade is None and len(config.sources) > 1 else "clade"
