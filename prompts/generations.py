"""The log of a store: one immutable manifest per generation, each the whole state."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import ValidationError

from prompts import durable
from prompts.errors import NotFound, StoreError
from prompts.store_faults import explained
from prompts.store_state import FORMAT_VERSION, StoreState
from prompts.tensor_file import describe

_MAX_MANIFEST_BYTES = 64 * 2**20
_FILE = re.compile(r"[0-9]{8}\.json")


class Generations:
    """Manifests in a folder, numbered from 1 without a gap; the highest is the current state."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self._folder = folder
        self._temporary = temporary

    def latest(self, known: int = 0) -> int:
        """Return the newest generation's number, 0 where there is none.

        With `known`, a generation seen before, this costs two look-ups by name.

        Raises:
            StoreError: the folder cannot be read, or `known` is no longer in it.
        """
        with explained("read", self._folder):
            if known == 0:
                return self._highest()
            if not self._has(known):
                raise StoreError(
                    f"prompt store {self._folder.parent} has lost generation {known}: it was "
                    "replaced or damaged; restore it, or restart what reads it"
                )
            while self._has(known + 1):
                known += 1
            return known

    def read(self, generation: int) -> StoreState:
        """Return one generation; 0 is the empty store.

        Raises:
            NotFound: there is no such generation.
            StoreError: its manifest cannot be read, or is none this release knows.
        """
        if generation == 0:
            return StoreState(generation=0)
        path = self._path(generation)
        with explained("read", path):
            try:
                data = durable.read_limited(path, _MAX_MANIFEST_BYTES)
            except FileNotFoundError:
                raise NotFound(
                    f"prompt store {self._folder.parent} has no generation {generation}; the "
                    f"newest is {self._highest()}"
                ) from None
        return _parse(generation, path, data)

    def append(self, state: StoreState) -> bool:
        """Publish a generation; False if another writer published this number first.

        Raises:
            StoreError: it could not be written, or (the message says so) not be confirmed.
        """
        path = self._path(state.generation)
        data = state.model_dump_json(indent=1).encode()
        with explained("publish", path):
            try:
                return durable.write_exclusively(path, data, self._temporary)
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
        path = self._path(generation)
        with explained("confirm", path):
            durable.sync_existing(path)

    def _highest(self) -> int:
        names = os.listdir(self._folder)
        return max((int(name[:8]) for name in names if _FILE.fullmatch(name)), default=0)

    def _has(self, generation: int) -> bool:
        try:
            os.stat(self._path(generation))
        except FileNotFoundError:
            return False
        return True

    def _path(self, generation: int) -> Path:
        return self._folder / f"{generation:08d}.json"


def _parse(generation: int, path: Path, data: bytes) -> StoreState:
    remedy = f"restore the file; without it the store is at generation {generation - 1}"
    try:
        state = StoreState.model_validate_json(data)
    except ValidationError as error:
        if any(problem["loc"] == ("format_version",) for problem in error.errors()):
            remedy = f"this release reads format version {FORMAT_VERSION}: upgrade isogloss"
        raise StoreError(f"manifest {path} is refused: {describe(error)}; {remedy}") from error
    if state.generation != generation:
        raise StoreError(
            f"manifest {path} is refused: it says generation {state.generation}; {remedy}"
        )
    return state
