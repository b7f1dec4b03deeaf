"""One reader's eye on a store: what its newest generation is, asked again and again, and cheaply.

What is newest is decided by a listing, as everywhere. Between listings a look asks for three facts:
whether there is a next generation, whether the newest is still the same file, and whether any file
came or went. So a store that was restored, emptied or switched to another is noticed whatever its
numbers are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from isogloss.prompts.errors import NotFound, StoreError
from isogloss.prompts.store.generations import Generations
from isogloss.prompts.store.numbering import GenerationId


@dataclass(frozen=True)
class Sighting:
    """What a store holds: its newest generation, and files that look like some and do not count."""

    newest: GenerationId
    """Number 0: there is none."""
    strays: tuple[str, ...] = ()


class Follower:
    """Looks at one store. For one thread at a time."""

    def __init__(
        self, generations: Generations, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._generations = generations
        self._clock = clock
        self._seen: Sighting | None = None
        self._marks: tuple[str | None, str | None] = (None, None)  # of the folder, of the newest
        self._checked_s = 0.0

    def look(self) -> Sighting:
        """Return what the store holds now; far away, a few seconds ago where no number is new.

        Raises:
            StoreError: the store cannot be read.
        """
        if self._seen is None or self._may_have_changed(self._seen):
            self._seen = self._look_closely(self._seen)
        return self._seen

    def _may_have_changed(self, seen: Sighting) -> bool:
        if self._generations.has(seen.newest.number + 1):
            return True
        if self._clock() - self._checked_s < self._generations.folder.patience_s:
            return False
        folder = self._generations.mark()
        if folder is None or folder != self._marks[0]:
            return True
        newest = self._generations.mark(seen.newest.number)
        return newest is None or newest != self._marks[1]

    def _look_closely(self, before: Sighting | None) -> Sighting:
        """List the store, and read the newest manifest unless it is the one read before.

        Marks are taken first: what changes meanwhile shows at the next look.
        """
        self._checked_s, folder = self._clock(), self._generations.mark()
        listing = self._generations.listing()
        mark = self._generations.mark(listing.newest)
        if before and listing.newest == before.newest.number and mark == self._marks[1] is not None:
            newest = before.newest
        else:
            newest = self._identified(listing.newest)
        self._marks = (folder, mark if newest.digest else None)
        return Sighting(newest, listing.strays)

    def _identified(self, number: int) -> GenerationId:
        try:
            return self._generations.identity(number) if number else GenerationId(0, "")
        except (NotFound, StoreError):  # whoever loads it says why
            return GenerationId(number, "")
