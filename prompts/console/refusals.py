"""What a validation refused, in a few words: however much was sent, little of it is repeated."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_SHOWN_CHARS = 60
_SHOWN_PARTS = 6


class _Shortened(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = _SHOWN_CHARS
        self.maxlist = self.maxtuple = self.maxdict = self.maxlevel = 2

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


_shortened = _Shortened()


def shown(value: Any) -> str:
    """A value from outside, as a sentence may repeat it: its beginning and end, escaped."""
    return _shortened.repr(value)


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


def describe_first(found: Sequence[ErrorDetails]) -> str:
    """As `describe`, of problems that are listed already."""
    first = found[0]
    field = named(first["loc"], "document")
    return f"{field}: {first['msg'][:200]}, got {shown(first['input'])}"


def plain(part: str) -> str:
    """A name as it is, or shortened and escaped where it is long or would not show."""
    return part if len(part) <= _SHOWN_CHARS and part.isprintable() else shown(part)
