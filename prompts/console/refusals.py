"""What a person is told of what was refused: in a few words, harmless to a terminal.

However much was sent, little of it is repeated, and nothing of it acts on a terminal.
"""

from __future__ import annotations

import difflib
import functools
import re
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal obeys instead of showing it: controls but for tab and line feed; what turns the
direction of writing, or breaks lines, unseen; halves of characters, which is how bytes of arguments
and file names that are no UTF-8 come."""
LONGEST_WORD = 64

_SHOWN_CHARS = 60
_SHOWN_ITEMS = 2
_SHOWN_PARTS = 6


class _Shortened(reprlib.Repr):
    def __init__(self, characters: int) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = characters
        self.maxlist = self.maxtuple = self.maxdict = _SHOWN_ITEMS
        self.maxlevel = 2

    def repr_dict(self, value: dict[Any, Any], level: int) -> str:
        """As the base class does, which would sort all of it first."""
        first = dict(item for item, _ in zip(value.items(), range(self.maxdict + 1), strict=False))
        return super().repr_dict(first, level)

    def repr_int(self, value: int, level: int) -> str:
        """As the base class does; of more digits than Python writes, how many bits."""
        try:
            return super().repr_int(value, level)
        except ValueError:
            return f"a number of {value.bit_length()} bits"


def shown(value: Any, characters: int = _SHOWN_CHARS) -> str:
    """A value from outside, as a sentence may repeat it: its beginning and end, escaped.

    Args:
        value: anything.
        characters: that a text, or a number, takes at most.
    """
    return _shortened(characters).repr(value)


_shortened = functools.cache(_Shortened)


def printable(text: str) -> str:
    r"""Return text with escapes for what would act on a terminal instead of being seen.

    >>> printable("\x1b[2Jgone")
    '\\x1b[2Jgone'
    """
    return HARMFUL.sub(lambda match: _escape(match[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def spelled_like(word: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Up to three known words that a word may have meant, the likest first.

    Words longer than LONGEST_WORD are no misspelling of ours, and to compare them takes as long as
    they are.
    """
    if len(word) > LONGEST_WORD:
        return []
    return difflib.get_close_matches(word, known, n=3, cutoff=cutoff)


def named(path: Sequence[int | str], whole: str) -> str:
    """Where in a document something is; `whole`: what the document itself is called."""
    parts = [plain(str(part)) for part in path[:_SHOWN_PARTS]]
    return ".".join(parts + ["..."] * (len(path) > _SHOWN_PARTS)) or whole


def problems(error: ValidationError) -> list[ErrorDetails]:
    """What was refused, once: to list it takes as long as there is."""
    return error.errors(include_url=False, include_context=False)


def describe(error: ValidationError) -> str:
    """One line naming the first field a model refused, the reason and the value."""
    return describe_first(problems(error))


def describe_first(listed: Sequence[ErrorDetails]) -> str:
    """As `describe`, of problems that are listed already."""
    first = listed[0]
    field = named(first["loc"], "document")
    return f"{field}: {first['msg'][:200]}, got {shown(first['input'])}"


def plain(part: str) -> str:
    """A name as it is, or shortened and escaped where it is long or would not show."""
    return part if len(part) <= _SHOWN_CHARS and part.isprintable() else shown(part)
