"""How generations are told apart and in which order they come; everything here is pure.

A generation is its number and the digest of its manifest: a store that was restored from a backup
counts the same numbers again, for other content. Numbers grow by one, so those of one history lie
close together; a file whose number lies far from the others' was put there by mistake, and nobody
counts it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

MAX_GENERATION = 99_999_999
"""The last number that a file's name has room for."""
MAX_MISSING = 16
"""Manifests lost or not copied yet in a row, behind which a store's history still goes on."""

_FILE = re.compile(r"[0-9]{8}\.json")
_LIKE_A_FILE = re.compile(r"[0-9]")
_DIGEST_SHOWN = len("sha256:") + 12


class GenerationId(NamedTuple):
    """What a generation is: generation 0, the empty store, has no digest."""

    number: int
    digest: str
    """Of its manifest's bytes; empty where these could not be read."""

    def __str__(self) -> str:
        digest = f" ({self.digest[:_DIGEST_SHOWN]})" if self.digest else ""
        return f"generation {self.number}{digest}"


@dataclass(frozen=True)
class Listing:
    """The names of a store's generations, read as every reader and publisher reads them."""

    numbers: tuple[int, ...]
    """Those that count, oldest first."""
    strays: tuple[str, ...]
    """Names of files that look like generations and do not count."""

    @property
    def newest(self) -> int:
        """The newest number, 0 where there is none."""
        return self.numbers[-1] if self.numbers else 0

    @property
    def may_grow(self) -> bool:
        """Whether a generation after the newest would be the newest: numbers end, and strays that
        lie ahead begin to count when the gap before them closes."""
        following = name_of(self.newest + 1)
        names = (*map(name_of, self.numbers), *self.strays, following)
        return listing_of(names).newest == self.newest + 1


def name_of(generation: int) -> str:
    """Return the name of a generation's file."""
    return f"{generation:08d}.json"


def number_of(name: str) -> int | None:
    """Return the generation that a file of this name is; None for any other file."""
    return (int(name[:8]) or None) if _FILE.fullmatch(name) else None


def listing_of(names: Iterable[str]) -> Listing:
    """Tell the generations that count from files that only look like some.

    Numbers with no more than MAX_MISSING missing between them belong together. Where that leaves
    several groups, the largest is the store's history, and of equal ones the first.
    """
    candidates = [name for name in names if _LIKE_A_FILE.match(name)]
    numbers = sorted(number for name in candidates if (number := number_of(name)))
    counted = max(_groups(numbers), key=len, default=())
    strays = set(candidates) - {name_of(number) for number in counted}
    return Listing(counted, tuple(sorted(strays)))


def _groups(numbers: list[int]) -> list[tuple[int, ...]]:
    """Split ascending numbers where too many are missing."""
    ends = [
        end
        for end, (one, other) in enumerate(itertools.pairwise(numbers), start=1)
        if other - one > MAX_MISSING + 1
    ]
    bounds = itertools.pairwise([0, *ends, len(numbers)])
    return [tuple(numbers[first:last]) for first, last in bounds]
