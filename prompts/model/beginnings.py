"""The beginning of a text, cut by characters: what is tokenized of one too long to be read whole.

Tokenizing costs by the character, and normalising writes some characters out: U+FDFA becomes 18. A
beginning is bounded in both.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate

_LONGEST = 18  # characters that NFKC makes of one
_ROOM = 2  # how much longer a beginning may become when it is written out


def beginning(text: str, characters: int) -> str:
    """The first `characters` of a text; fewer where normalising would more than double them.

    What is short enough whatever it holds is not looked at, and ordinary text is normal already.
    """
    piece = text[:characters]
    limit = _ROOM * characters
    if len(piece) * _LONGEST <= limit or piece.isascii():
        return piece
    if unicodedata.is_normalized("NFKC", piece):
        return piece
    ends = list(accumulate(map(_written_out, piece)))
    return piece[: bisect_right(ends, limit)]


@lru_cache(maxsize=1 << 16)
def _written_out(character: str) -> int:
    return len(unicodedata.normalize("NFKC", character))
