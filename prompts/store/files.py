"""A store's folders as one: reading what it holds, and committing a change of it.

`prompts.store.store` says where what lies, and why a commit needs no lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from isogloss.prompts.errors import InvalidPrompt, StoreError
from isogloss.prompts.format.prompt import Prompt, read_prompt
from isogloss.prompts.format.soft_prompt import SoftPrompt, digest_of
from isogloss.prompts.store.change_records import ChangeRequest, find
from isogloss.prompts.store.checks import check_servable, names_of, newly_answering
from isogloss.prompts.store.filesystems import LocalBackend, backend_of, explained
from isogloss.prompts.store.generations import Generations
from isogloss.prompts.store.objects import Objects, default_cache
from isogloss.prompts.store.state import StoreState

Change = Callable[[StoreState], StoreState]
"""Makes the next generation of the newest; the same state again is no change."""

Guard = Callable[[StoreState, StoreState, Mapping[str, Prompt]], None]
"""Told of the newest state, of what a change makes of it and of the prompts it brings, by digest;
raises IsoglossError where that must not become the newest."""


class StoreFiles:
    """A store. Holds no state but its address: any number may be open on one folder or bucket.

    `guard` is asked before every change of this one, and before anything is written. Every method
    raises StoreError where what it needs cannot be read or written, or is damaged, and InvalidInput
    for a malformed digest.
    """

    guard: Guard | None = None

    def __init__(self, root: Path | str) -> None:
        self.backend = backend_of(root)
        self.location = self.backend.location
        cache = None if isinstance(self.backend, LocalBackend) else default_cache()
        self.objects = Objects(self.backend.folder("objects"), cache)
        self.generations = Generations(self.backend.folder("generations"), self.location)

    @property
    def root(self) -> Path:
        """The folder.

        Raises:
            StoreError: the store is not a local folder.
        """
        if isinstance(self.backend, LocalBackend):
            return self.backend.root
        raise StoreError(f"prompt store {self.location} is not a local folder; give one as --store")

    @classmethod
    def open(cls, path: Path | str, *, create: bool = False) -> Self:
        """Open a store at a path or an address; with `create`, make an empty one if there is none.

        Raises:
            StoreError: there is no store at `path`, or none can be made there.
        """
        store = cls(path)
        with explained("open", store.location):
            if store.backend.exists():
                return store
            if not create:
                raise StoreError(
                    f"no prompt store at {store.location}; give another --store, or make one with "
                    f"`isogloss prompts publish FILE --store {store.location}`"
                )
            store.backend.make()
        return store

    def latest(self) -> int:
        """Return the newest generation's number; 0 for an empty store.

        Whoever asks again and again has a `prompts.store.generations.Follower`.
        """
        return self.generations.latest()

    def state(self, generation: int | None = None) -> StoreState:
        """Return what the store holds, now or at an earlier generation; 0 is the empty store.

        Raises:
            NotFound: there is no such generation.
        """
        return self.generations.read(self.latest() if generation is None else generation)

    def history(self) -> Iterator[StoreState]:
        """Yield every generation that was kept, newest first."""
        for generation in reversed(self.generations.numbers()):
            yield self.state(generation)

    def read_bytes(self, digest: str) -> bytes:
        """Return a prompt file, its bytes verified against the digest."""
        return self.objects.read(digest)

    def read(self, digest: str) -> Prompt:
        """Return a prompt, its bytes verified against the digest.

        Raises:
            InvalidPrompt: this release cannot read the file.
        """
        return read_prompt(self.read_bytes(digest))

    def member(self, reference: str) -> tuple[str, int, SoftPrompt]:
        """Return name, version and prompt of what is to join an ensemble: `Ensemble.of` takes it.

        Raises:
            InvalidInput: the reference is malformed.
            NotFound: there is no such prompt or version.
            InvalidPrompt: it is an ensemble, or this release cannot read the file.
        """
        name, version, digest = self.state().resolve(reference)
        prompt = self.read(digest)
        if not isinstance(prompt, SoftPrompt):
            told = ", ".join(member.reference for member in prompt.members)
            raise InvalidPrompt(
                f"prompt {name}@{version} is several prompts that answer together; name those "
                f"instead: {told}"
            )
        return name, version, prompt

    def reading(self, given: Mapping[str, Prompt]) -> Callable[[str], Prompt]:
        """How to read a prompt by its digest, where those given may not be in the store yet."""
        return lambda digest: given.get(digest) or self.read(digest)

    def commit(
        self,
        change: Change,
        prompts: Mapping[str, Prompt],
        request: ChangeRequest | None = None,
    ) -> StoreState:
        """Publish `change` of the newest state, however many others publish at the same time.

        A change that is asked for by request is made once: asked again, it changes nothing, and the
        newest state tells in its records which generation it made.

        Raises:
            InvalidInput: the request's id stands for another change.
            InvalidPrompt: what would answer after the change could not.
            StoreError: the store cannot be read or written; a newest generation that cannot be read
                is not built upon, for what it holds would be lost.
        """
        change = change if request is None else _once(change, request)
        state = self._to_build_upon()
        # refused changes are refused before anything is written
        following = self._checked(state, change(state), prompts)
        self._write_objects(prompts)
        while not following.same_content(state):
            if self.generations.append(following):
                self._confirm_objects(following, prompts)
                return following.stored_as(digest_of(following.to_json()))
            state = self._to_build_upon()
            following = self._checked(state, change(state), prompts)
        if state.generation:
            self.generations.confirm(state.generation)
        return state

    def _to_build_upon(self) -> StoreState:
        listing = self.generations.listing()
        if not listing.may_grow:
            strays = ", ".join(listing.strays) or "no number is left"
            raise StoreError(
                f"prompt store {self.location} takes no generation after {listing.newest} "
                f"({strays}): run `isogloss prompts verify --repair --store {self.location}`, or "
                "publish to a new store"
            )
        return self.state(listing.newest)

    def _checked(
        self, state: StoreState, following: StoreState, prompts: Mapping[str, Prompt]
    ) -> StoreState:
        """Let a change pass, unless what would answer after it could not."""
        if following.same_content(state):
            return following
        for digest, reference in newly_answering(state, following).items():
            if digest not in prompts:
                check_servable(reference, self.read(digest))
        names = names_of(following)
        for digest, prompt in prompts.items():
            check_servable(names.get(digest, digest), prompt)
        if self.guard is not None:
            self.guard(state, following, prompts)
        return following

    def _write_objects(self, prompts: Mapping[str, Prompt]) -> None:
        with explained("write", self.location):
            self.backend.prepare()
        for digest, prompt in prompts.items():
            self.objects.write(digest, prompt.to_bytes())

    def _confirm_objects(self, state: StoreState, prompts: Mapping[str, Prompt]) -> None:
        """Collection may have taken what nothing referred to yet: from now on, something does."""
        try:
            for digest, prompt in prompts.items():
                self.objects.restore(digest, prompt.to_bytes())
        except StoreError as error:
            raise StoreError(
                f"prompt store: generation {state.generation} is published, but {error}; publish "
                "it again"
            ) from error


def _once(change: Change, request: ChangeRequest) -> Change:
    """Make a change unless it was made, and leave a record of it."""

    def made_once(state: StoreState) -> StoreState:
        now = datetime.now(UTC)
        if find(state.records, request, now) is not None:
            return state
        following = change(state)
        return following if following.same_content(state) else following.recording(request, now)

    return made_once
