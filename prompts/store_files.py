"""A store's folders as one: reading what it holds, and committing a change of it.

`prompts.store` says where what lies, and why a commit needs no lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

from prompts.errors import StoreError
from prompts.generations import Generations
from prompts.object_cache import default_cache
from prompts.objects import Objects
from prompts.places import LocalPlace, place_of
from prompts.servable import check_servable, names_of, newly_answering
from prompts.soft_prompt import SoftPrompt
from prompts.store_faults import explained
from prompts.store_state import StoreState

Guard = Callable[[StoreState, StoreState, Mapping[str, SoftPrompt]], None]
"""Told of the newest state, of what a change makes of it and of the prompts it brings, by digest;
raises IsoglossError where that must not become the newest."""


class StoreFiles:
    """A store. Holds no state but its place: any number may be open on one folder or address.

    `guard` is asked before every change of this one, and before anything is written.
    """

    guard: Guard | None = None

    def __init__(self, root: Path | str) -> None:
        self.place = place_of(root)
        self.location = self.place.location
        cache = None if isinstance(self.place, LocalPlace) else default_cache()
        self.objects = Objects(self.place.folder("objects"), cache)
        self.generations = Generations(self.place.folder("generations"), self.location)

    @property
    def root(self) -> Path:
        """The folder.

        Raises:
            StoreError: the store is not a local folder.
        """
        if isinstance(self.place, LocalPlace):
            return self.place.root
        raise StoreError(f"prompt store {self.location} is not a local folder; give one as --store")

    @classmethod
    def open(cls, path: Path | str, *, create: bool = False) -> Self:
        """Open a store at a path or an address; with `create`, make an empty one if there is none.

        Raises:
            StoreError: there is no store at `path`, or none can be made there.
        """
        store = cls(path)
        with explained("open", store.location):
            if store.place.exists():
                return store
            if not create:
                raise StoreError(
                    f"no prompt store at {store.location}; give another --store, or make one with "
                    f"`isogloss prompts publish FILE --store {store.location}`"
                )
            store.place.make()
        return store

    def latest(self, known: int = 0) -> int:
        """Return the newest generation's number; 0 for an empty store.

        With `known`, a generation seen before, this costs two look-ups by name: poll it freely.

        Raises:
            StoreError: the store cannot be read, or `known` is no longer in it.
        """
        return self.generations.latest(known)

    def state(self, generation: int | None = None) -> StoreState:
        """Return what the store holds, now or at an earlier generation; 0 is the empty store.

        Raises:
            NotFound: there is no such generation.
            StoreError: its manifest cannot be read.
        """
        return self.generations.read(self.latest() if generation is None else generation)

    def history(self) -> Iterator[StoreState]:
        """Yield every generation that was kept, newest first.

        Raises:
            StoreError: a manifest cannot be read.
        """
        for generation in reversed(self.generations.numbers()):
            yield self.state(generation)

    def read_bytes(self, digest: str) -> bytes:
        """Return a prompt file, its bytes verified against the digest.

        Raises:
            InvalidInput: `digest` is malformed.
            StoreError: the object is missing, unreadable or damaged.
        """
        return self.objects.read(digest)

    def read(self, digest: str) -> SoftPrompt:
        """Return a prompt, its bytes verified against the digest.

        Raises:
            InvalidInput: `digest` is malformed.
            InvalidPrompt: this release cannot read the file.
            StoreError: the object is missing, unreadable or damaged.
        """
        return SoftPrompt.from_bytes(self.read_bytes(digest))

    def commit(
        self, change: Callable[[StoreState], StoreState], prompts: Mapping[str, SoftPrompt]
    ) -> StoreState:
        """Publish `change` of the newest state, however many others publish at the same time."""
        state = self.state()
        # refused changes are refused before anything is written
        following = self._checked(state, change(state), prompts)
        self._write_objects(prompts)
        while not following.same_content(state):
            if self.generations.append(following):
                self._confirm_objects(following, prompts)
                return following
            state = self.state(self.latest(known=following.generation))
            following = self._checked(state, change(state), prompts)
        if state.generation:
            self.generations.confirm(state.generation)
        return state

    def _checked(
        self, state: StoreState, following: StoreState, prompts: Mapping[str, SoftPrompt]
    ) -> StoreState:
        """Let a change pass, unless what would answer after it could not."""
        for digest, reference in newly_answering(state, following).items():
            if digest not in prompts:
                check_servable(reference, self.read(digest))
        names = names_of(following)
        for digest, prompt in prompts.items():
            check_servable(names.get(digest, digest), prompt)
        if self.guard is not None:
            self.guard(state, following, prompts)
        return following

    def _write_objects(self, prompts: Mapping[str, SoftPrompt]) -> None:
        with explained("write", self.location):
            self.place.prepare()
        for digest, prompt in prompts.items():
            self.objects.write(digest, prompt.to_bytes())

    def _confirm_objects(self, state: StoreState, prompts: Mapping[str, SoftPrompt]) -> None:
        """Collection may have taken what nothing referred to yet: from now on, something does."""
        try:
            for digest, prompt in prompts.items():
                self.objects.restore(digest, prompt.to_bytes())
        except StoreError as error:
            raise StoreError(
                f"prompt store: generation {state.generation} is published, but {error}; publish "
                "it again"
            ) from error
