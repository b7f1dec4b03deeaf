"""Which test sentences come from one article, so that they are not taken for independent ones.

SIB-200's sentences keep their numbers from FLORES-200, where an article's stand in a row. Its
translations have the same number in every language.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

_SAME_ARTICLE = 2  # numbers so far apart are of one article still, nearly always


def articles_of(index_ids: Iterable[str]) -> dict[str, int]:
    """The article of each sentence, counted from 0; one of its own for an id without a number."""
    known = sorted(set(index_ids))
    numbered = sorted((int(each), each) for each in known if _is_number(each))
    articles: dict[str, int] = {}
    article = 0
    for (before, _), (number, each) in pairwise([(-_SAME_ARTICLE - 1, ""), *numbered]):
        article += bool(articles) and number - before > _SAME_ARTICLE
        articles[each] = article
    for each in known:
        articles.setdefault(each, max(articles.values(), default=-1) + 1)
    return articles


def _is_number(index_id: str) -> bool:
    return index_id.isascii() and index_id.isdigit()
