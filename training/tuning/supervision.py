"""What taught a prompt, for its card and for whoever chooses among prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import JsonValue

from isogloss.prompts.languages.languages import deepest_clade
from isogloss.training.data.clades import lineages_of
from isogloss.training.tuning.config import TrainingConfig

Supervision = Literal["english", "diverse", "clade", "taught"]


def supervision_facts(config: TrainingConfig) -> dict[str, JsonValue]:
    """What teaches the prompt of these settings (the card's `way`), and its sources' clade.

    `english`: English labels alone (the paper). `diverse`: labels in languages of several families.
    `clade`: labels in languages of one family, or in one language other than English. `taught`: a
    teacher's answers, without labels. The clade is the deepest that holds all sources; None where
    they have none in common, or are not in the language table.
    """
    clade = common_clade(config.sources)
    return {"way": _supervision(config, clade), "clade": clade}


def common_clade(codes: Sequence[str]) -> str | None:
    """The last clade that all of these languages' lineages, which run from the root, share.

    >>> common_clade(["fra_Latn", "hin_Deva"])
    'Indo-European'
    """
    first, *others = lineages_of(codes).values()
    shared = {clade for clade in first if all(clade in lineage for lineage in others)}
    return deepest_clade(first, shared)


def _supervision(config: TrainingConfig, clade: str | None) -> Supervision:
    if config.teacher is not None:
        return "taught"
    if config.sources == ("eng_Latn",):
        return "english"
    return "diverse" if clade is None and len(config.sources) > 1 else "clade"
