"""The log of a store, one immutable manifest per generation, and whoever polls it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from isogloss.prompts.console.refusals import describe
from isogloss.prompts.errors import NotFound, StoreError
from isogloss.prompts.format.soft_prompt import digest_of
from isogloss.prompts.routing.trials import still_on_trial
from isogloss.prompts.store.filesystems import Folder, explained
from isogloss.prompts.store.numbering import (
    MAX_GENERATION,
    GenerationId,
    Listing,
    listing_of,
    name_of,
    number_of,
)
from isogloss.prompts.store.state import FORMAT_VERSION, StoreState

_MAX_MANIFEST_BYTES = 64 * 2**20


class DamagedManifest(StoreError):
    """A manifest was read and is none: reading it again changes nothing."""


class UnknownFormat(DamagedManifest):
    """A manifest is of a later release."""


class Generations:
    """Manifests in a folder, numbered without a gap; the highest is the current state.

    They count from 1; collection removes the oldest. Which numbers count is decided by
    `prompts.store.numbering.listing_of` alone, for readers and publishers alike. Every method
    raises StoreError where the folder cannot be read or written.
    """

    def __init__(self, folder: Folder, store: str) -> None:
        self.folder = folder
        self._store = store

    def listing(self) -> Listing:
        """Return what lies in the folder: generations that count, and files that do not."""
        with explained("read", self.folder.location):
            return listing_of(self.folder.names())

    def latest(self) -> int:
        """Return the newest generation's number, 0 where there is none."""
        return self.listing().newest

    def numbers(self) -> list[int]:
        """Return every generation's number, oldest first."""
        return list(self.listing().numbers)

    def written_s(self) -> dict[int, float]:
        """When each generation was written, as in `time.time()`."""
        with explained("read", self.folder.location):
            written_s = self.folder.written_s()
        return {number: written_s[name_of(number)] for number in listing_of(written_s).numbers}

    def has(self, generation: int) -> bool:
        """Tell whether a generation is there."""
        with explained("read", self.location_of(generation)):
            return generation <= MAX_GENERATION and self.folder.has(name_of(generation))

    def mark(self, generation: int = 0) -> str | None:
        """Return what differs once a generation's file was replaced, None where there is none.

        Of generation 0: what differs once any came or went; None where nobody can tell.
        """
        with explained("read", self.folder.location):
            return self.folder.mark(name_of(generation) if generation else None)

    def identity(self, generation: int) -> GenerationId:
        """Return what a generation is: its number and its manifest's digest, readable or not.

        Raises:
            NotFound: there is no such generation.
        """
        return GenerationId(generation, digest_of(self.read_bytes(generation)))

    def holds(self, wanted: GenerationId) -> bool:
        """Tell whether this very generation is in the store, not just one of its number."""
        try:
            return self.identity(wanted.number) == wanted
        except NotFound:
            return False

    def read(self, generation: int) -> StoreState:
        """Return one generation; 0 is the empty store.

        Raises:
            NotFound: there is no such generation.
            DamagedManifest: its manifest is none, or none this release knows.
        """
        if generation == 0:
            return StoreState(generation=0)
        data = self.read_bytes(generation)
        state = _parse(generation, self.location_of(generation), self._store, data)
        return state.stored_as(digest_of(data))

    def read_bytes(self, generation: int) -> bytes:
        """Return a manifest's bytes, whatever they are.

        Raises:
            NotFound: there is no such generation.
        """
        with explained("read", self.location_of(generation)):
            try:
                return self.folder.read(name_of(generation), _MAX_MANIFEST_BYTES)
            except FileNotFoundError:
                kept = listing_of(self.folder.names()).numbers or (0,)
                raise NotFound(
                    f"prompt store {self._store} has no generation {generation}; the newest is "
                    f"{kept[-1]}, the oldest that was kept {kept[0]}"
                ) from None

    def append(self, state: StoreState) -> bool:
        """Publish a generation; False if another writer published this number first.

        Raises:
            StoreError: it could not be written, or (the message says so) not be confirmed.
        """
        path = self.location_of(state.generation)
        with explained("publish", path):
            try:
                return self.folder.create(name_of(state.generation), state.to_json())
            except OSError as error:
                if not self.folder.has(name_of(state.generation)):
                    raise
                raise StoreError(
                    f"prompt store: generation {state.generation} may be published as {path} but "
                    f"could not be confirmed: {error}; check the disk and publish again"
                ) from error

    def confirm(self, generation: int) -> None:
        """Put a generation on the disk that another writer may have left in memory."""
        with explained("confirm", self.location_of(generation)):
            self.folder.confirm(name_of(generation))

    def replace(self, state: StoreState) -> None:
        """Put a manifest in place of a damaged one."""
        with explained("repair", self.location_of(state.generation)):
            self.folder.write(name_of(state.generation), state.to_json())

    def remove(self, generation: int) -> None:
        """Remove a generation, the oldest."""
        with explained("remove", self.location_of(generation)):
            self.folder.remove(name_of(generation))

    def location_of(self, generation: int) -> str:
        """Path or address of a manifest, for people."""
        return f"{self.folder.location}/{name_of(generation)}"

    def read_stray(self, name: str) -> bytes:
        """Return the bytes of a file that is no generation."""
        with explained("read", f"{self.folder.location}/{name}"):
            return self.folder.read(name, _MAX_MANIFEST_BYTES)

    def remove_stray(self, name: str) -> None:
        """Remove a file that is no generation."""
        with explained("remove", f"{self.folder.location}/{name}"):
            if number_of(name) in self.listing().numbers:
                return  # it counts by now
            self.folder.remove(name)


@dataclass(frozen=True)
class PollResult:
    """What a store holds: its newest generation, and files that look like some and do not count."""

    newest: GenerationId
    """Number 0: there is none."""
    strays: tuple[str, ...] = ()


class Follower:
    """Polls one store, cheaply: what is its newest generation? For one thread at a time.

    What is newest is decided by a listing, as everywhere. Between listings a poll asks for three
    facts: whether there is a next generation, whether the newest is still the same file, and
    whether any file came or went. So a store that was restored, emptied or switched to another is
    noticed whatever its numbers are.
    """

    def __init__(
        self, generations: Generations, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._generations = generations
        self._clock = clock
        self._last: PollResult | None = None
        self._marks: tuple[str | None, str | None] = (None, None)  # of the folder, of the newest
        self._checked_s = 0.0

    def poll(self) -> PollResult:
        """Return what the store holds now; far away, a few seconds ago where no number is new.

        Raises:
            StoreError: the store cannot be read.
        """
        if self._last is None or self._may_have_changed(self._last):
            self._last = self._list(self._last)
        return self._last

    def _may_have_changed(self, last: PollResult) -> bool:
        if self._generations.has(last.newest.number + 1):
            return True
        if self._clock() - self._checked_s < self._generations.folder.patience_s:
            return False
        folder = self._generations.mark()
        if folder is None or folder != self._marks[0]:
            return True
        newest = self._generations.mark(last.newest.number)
        return newest is None or newest != self._marks[1]

    def _list(self, before: PollResult | None) -> PollResult:
        """List the store, and read the newest manifest unless it is the one read before.

        Marks are taken first: what changes meanwhile shows at the next poll.
        """
        self._checked_s, folder = self._clock(), self._generations.mark()
        listing = self._generations.listing()
        mark = self._generations.mark(listing.newest)
        if before and listing.newest == before.newest.number and mark == self._marks[1] is not None:
            newest = before.newest
        else:
            newest = self._identified(listing.newest)
        self._marks = (folder, mark if newest.digest else None)
        return PollResult(newest, listing.strays)

    def _identified(self, number: int) -> GenerationId:
        try:
            return self._generations.identity(number) if number else GenerationId(0, "")
        except (NotFound, StoreError):  # whoever loads it says why
            return GenerationId(number, "")


def _parse(generation: int, path: str, store: str, data: bytes) -> StoreState:
    remedy = f"restore it, or run `isogloss prompts verify --repair --store {store}`"
    try:
        state = StoreState.model_validate_json(data)
    except ValidationError as error:
        if any(problem["loc"] == ("format_version",) for problem in error.errors()):
            raise UnknownFormat(
                f"manifest {path} is refused: {describe(error)}; this release reads format "
                f"versions up to {FORMAT_VERSION}: upgrade isogloss"
            ) from error
        raise DamagedManifest(f"manifest {path} is refused: {describe(error)}; {remedy}") from error
    if state.generation != generation:
        raise DamagedManifest(
            f"manifest {path} is refused: it says generation {state.generation}; {remedy}"
        )
    if problem := _trial_problem(state):
        raise DamagedManifest(f"manifest {path} is refused: {problem}; {remedy}")
    return state


def _trial_problem(state: StoreState) -> str | None:
    """Say which trial has no candidate in the state, or no route that it could be tried on."""
    for trial in state.trials:
        try:
            if still_on_trial([trial], state.routes, state.digest_of) != (trial,):
                return f"{trial.candidate!r} is on trial where it has no route to be tried on"
        except NotFound as error:
            return f"{trial.candidate!r} is on trial, but {error}"
    return None
