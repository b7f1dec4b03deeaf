"""The log of a store: one immutable manifest per generation, each the whole state."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydantic import ValidationError

from prompts.errors import NotFound, StoreError
from prompts.places import Folder
from prompts.refusals import describe
from prompts.store_faults import explained
from prompts.store_state import FORMAT_VERSION, StoreState
from prompts.trials import still_on_trial

_MAX_MANIFEST_BYTES = 64 * 2**20
_FILE = re.compile(r"[0-9]{8}\.json")


class Generations:
    """Manifests in a folder, numbered without a gap; the highest is the current state.

    They count from 1; collection removes the oldest.
    """

    def __init__(self, folder: Folder, store: str) -> None:
        self._folder = folder
        self._store = store

    def latest(self, known: int = 0) -> int:
        """Return the newest generation's number, 0 where there is none.

        With `known`, a generation seen before, this costs two look-ups by name (far away: one).

        Raises:
            StoreError: the folder cannot be read, or `known` is no longer in it.
        """
        with explained("read", self._folder.location):
            newest = known
            while known and self._has(newest + 1):
                newest += 1
            if newest > known or (known and self._has(known)):
                return newest
            return self._newer(known)

    def numbers(self) -> list[int]:
        """Return every generation's number, oldest first.

        Raises:
            StoreError: the folder cannot be read.
        """
        with explained("read", self._folder.location):
            return sorted(_numbers(self._folder.names()))

    def written_s(self) -> dict[int, float]:
        """When each generation was written, as in `time.time()`.

        Raises:
            StoreError: the folder cannot be read.
        """
        with explained("read", self._folder.location):
            found = self._folder.written_s()
        return {int(name[:8]): s for name, s in found.items() if _FILE.fullmatch(name)}

    def read(self, generation: int) -> StoreState:
        """Return one generation; 0 is the empty store.

        Raises:
            NotFound: there is no such generation.
            StoreError: its manifest cannot be read, or is none this release knows.
        """
        if generation == 0:
            return StoreState(generation=0)
        return _parse(generation, self.location_of(generation), self.read_bytes(generation))

    def read_bytes(self, generation: int) -> bytes:
        """Return a manifest's bytes, whatever they are.

        Raises:
            NotFound: there is no such generation.
            StoreError: it cannot be read.
        """
        with explained("read", self.location_of(generation)):
            try:
                return self._folder.read(_name(generation), _MAX_MANIFEST_BYTES)
            except FileNotFoundError:
                kept = _numbers(self._folder.names()) or [0]
                raise NotFound(
                    f"prompt store {self._store} has no generation {generation}; the newest is "
                    f"{max(kept)}, the oldest that was kept {min(kept)}"
                ) from None

    def append(self, state: StoreState) -> bool:
        """Publish a generation; False if another writer published this number first.

        Raises:
            StoreError: it could not be written, or (the message says so) not be confirmed.
        """
        path = self.location_of(state.generation)
        with explained("publish", path):
            try:
                return self._folder.create(_name(state.generation), state.to_json())
            except OSError as error:
                if not self._has(state.generation):
                    raise
                raise StoreError(
                    f"prompt store: generation {state.generation} may be published as {path} but "
                    f"could not be confirmed: {error}; check the disk and publish again"
                ) from error

    def confirm(self, generation: int) -> None:
        """Put a generation on the disk that another writer may have left in memory.

        Raises:
            StoreError: it could not be confirmed.
        """
        with explained("confirm", self.location_of(generation)):
            self._folder.confirm(_name(generation))

    def replace(self, state: StoreState) -> None:
        """Put a manifest in place of a damaged one.

        Raises:
            StoreError: it could not be written.
        """
        with explained("repair", self.location_of(state.generation)):
            self._folder.write(_name(state.generation), state.to_json())

    def remove(self, generation: int) -> None:
        """Remove a generation, the oldest.

        Raises:
            StoreError: it could not be removed.
        """
        with explained("remove", self.location_of(generation)):
            self._folder.remove(_name(generation))

    def location_of(self, generation: int) -> str:
        """Path or address of a manifest, for people."""
        return f"{self._folder.location}/{_name(generation)}"

    def _newer(self, known: int) -> int:
        """Return the newest number where `known` is not there: it was collected, or is lost."""
        try:
            highest = self._highest()
        except FileNotFoundError:
            if not known:
                raise
            highest = 0
        if highest < known:
            raise StoreError(
                f"prompt store {self._store} has lost generation {known}: it was replaced or "
                "damaged; restore it, or restart what reads it"
            )
        return highest

    def _highest(self) -> int:
        return max(_numbers(self._folder.names()), default=0)

    def _has(self, generation: int) -> bool:
        return self._folder.has(_name(generation))


def _name(generation: int) -> str:
    return f"{generation:08d}.json"


def _numbers(names: Iterable[str]) -> list[int]:
    return [int(name[:8]) for name in names if _FILE.fullmatch(name)]


def _parse(generation: int, path: str, data: bytes) -> StoreState:
    remedy = f"restore the file; without it the store is at generation {generation - 1}"
    try:
        state = StoreState.model_validate_json(data)
    except ValidationError as error:
        if any(problem["loc"] == ("format_version",) for problem in error.errors()):
            remedy = f"this release reads format versions up to {FORMAT_VERSION}: upgrade isogloss"
        raise StoreError(f"manifest {path} is refused: {describe(error)}; {remedy}") from error
    if state.generation != generation:
        raise StoreError(
            f"manifest {path} is refused: it says generation {state.generation}; {remedy}"
        )
    if problem := _trial_problem(state):
        raise StoreError(f"manifest {path} is refused: {problem}; {remedy}")
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
