"""Any number of texts as requests: of how many, and of how much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

MOST_TEXTS = 256
"""Of one request, as a server takes them."""
MOST_BYTES = 1 << 20
"""Of one request's texts in UTF-8. JSON makes at most six bytes of one, and a server takes eight
megabytes; as many characters are what may wait in it at a time."""


def batches(
    items: Iterable[Item],
    size_of: Callable[[Item], int],
    most: int = MOST_TEXTS,
    most_bytes: int = MOST_BYTES,
) -> Iterator[list[Item]]:
    """Yield items in lists that fit a request; one that is too large stands alone.

    The lists depend on where the first begins and on nothing else.
    """
    held: list[Item] = []
    held_bytes = 0
    for item in items:
        size = size_of(item)
        if held and (len(held) == most or held_bytes + size > most_bytes):
            yield held
            held, held_bytes = [], 0
        held.append(item)
        held_bytes += size
    if held:
        yield held


def bytes_of(text: str) -> int:
    """How many bytes a text has in UTF-8, halves of characters included."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
