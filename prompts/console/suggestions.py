"""Did you mean ...?: what is spelled like something that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_WORD = 64
"""Longer words are no misspelling of ours, and to compare them takes as long as they are."""


def spelled_like(word: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Up to three known words that a word resembles, the likest first."""
    if len(word) > LONGEST_WORD:
        return []
    return difflib.get_close_matches(word, known, n=3, cutoff=cutoff)
