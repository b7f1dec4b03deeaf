"""Which sentences are of one article, and so no independent evidence.

SIB-200's sentences are FLORES', which took about three consecutive sentences of each article and
numbered all in turn. Neighbours share a subject, and mostly the label: what is learnt from one, or
chosen by one, is half known of the next. An article, with all its translations, is therefore what
is held out, drawn, or resampled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_SENTENCES = 5
"""Of an article. Where a user's rows are numbered in turn and sorted by label, each run of one
label is cut into pieces of so many: intervals are a little too wide then, never too narrow."""

_NUMBER = re.compile(r"[0-9]{1,9}")


def articles_of(index_ids: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """The article of every sentence: the id of its first one.

    Whole numbers that follow one another and bear one label are one article; any other id is an
    article of its own.

    Args:
        index_ids: of sentences; one that stands twice (translations) counts once.
        labels: of the same.

    >>> articles_of(["7", "8", "9", "12", "x"], ["a", "a", "b", "b", "b"])
    {'7': '7', '8': '7', '9': '9', '12': '12', 'x': 'x'}
    """
    label_of = dict(zip(index_ids, labels, strict=True))
    numbers = {int(name): name for name in label_of if _NUMBER.fullmatch(name)}
    article = {name: name for name in label_of}
    first = 0  # number of the first sentence of the article under way
    for number in sorted(numbers):
        before = numbers.get(number - 1)
        follows = before is not None and label_of[before] == label_of[numbers[number]]
        if not follows or number - first >= MOST_SENTENCES:
            first = number
        article[numbers[number]] = numbers[first]
    return article
