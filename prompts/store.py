"""Where prompts live: named prompts in immutable versions, and the routes between them.

    STORE/objects/<sha256>.safetensors   prompt files, named by their content, never changed
    STORE/generations/00000007.json      the whole state of generation 7, never changed
    STORE/tmp/                           files being written
    STORE/quarantine/                    damaged files that `verify --repair` moved aside

A change is published by the appearance of the next generation's file, which a hard link makes both
exclusive and atomic: of several writers one wins, the others see the new state and try again on top
of it. There is no lock, so nothing is left locked by a crash; readers never wait and never see half
a change; and because generations are contiguous, a reader that knows n only asks whether n+1 is
there. STORE may be an address such as s3://bucket/prefix: `prompts.remote` says what is different.
Old generations, and files that no generation needs, go away by `prompts.collecting` alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from prompts.errors import InvalidInput, IsoglossError, NotFound, StoreError
from prompts.generations import Generations
from prompts.object_cache import default_cache
from prompts.objects import Objects
from prompts.places import LocalPlace, address_of, place_of
from prompts.routes import RouteTable
from prompts.seed import (
    default_store_path,
    is_store,
    release,
    remove_empty,
    seed_from,
    shipped_store,
)
from prompts.soft_prompt import SoftPrompt
from prompts.store_faults import explained
from prompts.store_state import PromptEntry, PromptVersion, StoreState
from prompts.upgrade import missing_tables, with_shipped

__all__ = [
    "PromptEntry",
    "PromptStore",
    "PromptVersion",
    "StoreState",
    "default_store_path",
    "is_store",
    "open_default",
    "open_store",
]

Routes = Sequence[RouteTable] | Callable[[StoreState], Sequence[RouteTable]]
"""Route tables, or how to make them from the state they will be published on top of."""

logger = logging.getLogger(__name__)


class PromptStore:
    """A store. Holds no state but its place: any number may be open on one folder or address."""

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

    def publish(
        self, prompts: Mapping[str, SoftPrompt], routes: Routes = (), note: str = ""
    ) -> StoreState:
        """Publish prompts and route tables as one new generation, all or nothing.

        Each prompt becomes the current version of its name. Content that the name already had keeps
        its version number; where nothing at all would change, the newest state is returned and
        there is no new generation, so repeating a publish is harmless. Training state is left out.
        A route table replaces that of its model and task.

        Raises:
            InvalidInput: a name is malformed, or there is nothing to publish.
            InvalidPrompt: a prompt and a route table do not fit each other; the message says why.
            StoreError: the store cannot be written. It is then as it was; only if the message says
                so the change may be there, and publishing again settles it.
        """
        if not prompts and not callable(routes) and not routes:
            raise InvalidInput("nothing to publish: give at least one prompt or route table")
        given = {prompt.digest: prompt for prompt in prompts.values()}
        digests = {name: prompt.digest for name, prompt in prompts.items()}

        def change(state: StoreState) -> StoreState:
            tables = routes(state) if callable(routes) else routes
            return state.published(
                digests, tables, lambda d: given.get(d) or self.read(d), note, datetime.now(UTC)
            )

        return self._commit(change, given)

    def rollback(self, to: int | None = None, note: str = "") -> StoreState:
        """Publish a new generation with the current versions and routes of an earlier one.

        Without `to`, the content before the newest: repeated rollbacks walk further back. Versions
        published since stay addressable as `name@version`.

        Raises:
            NotFound: there is no such generation, nothing before the newest, or a prompt it routes
                to was deleted since.
            StoreError: the store cannot be read or written.
        """

        def change(state: StoreState) -> StoreState:
            generation = (state.restores or state.generation) - 1 if to is None else to
            if generation < 1:
                raise NotFound(
                    f"prompt store {self.location}: nothing was published before generation "
                    f"{state.restores or state.generation}; generations count from 1"
                )
            return state.rolled_back(self.state(generation), note, datetime.now(UTC))

        return self._commit(change, {})

    def delete(self, name: str, note: str = "") -> StoreState:
        """Publish a new generation without a prompt, in any version.

        Its file stays until `prompts.collecting.free_deleted`, for readers may not be that far.

        Raises:
            NotFound: there is no such prompt.
            InvalidInput: the name is malformed, or a route chooses the prompt.
            StoreError: the store cannot be read or written.
        """
        return self._commit(lambda state: state.without(name, note, datetime.now(UTC)), {})

    def add_shipped(self, shipped: PromptStore, note: str) -> StoreState:
        """Publish the route tables that this store lacks, and their prompts, in one generation.

        Nothing that is here goes away (see `prompts.upgrade`); where no table is missing, nothing
        happens.

        Raises:
            StoreError: a store cannot be read, or this one cannot be written; it is as it was.
        """
        offered = shipped.state()
        if not missing_tables(state := self.state(), offered):
            return state
        prompts = {
            name: shipped.read(offered.resolve(name)[2])
            for name, entry in offered.prompts.items()
            if entry.current is not None
        }
        given = {prompt.digest: prompt for prompt in prompts.values()}

        def change(state: StoreState) -> StoreState:
            tables = missing_tables(state, offered)
            read, now = lambda d: given.get(d) or self.read(d), datetime.now(UTC)
            return with_shipped(state, tables, prompts, read, note, now)

        return self._commit(change, given)

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

    def _commit(
        self, change: Callable[[StoreState], StoreState], prompts: Mapping[str, SoftPrompt]
    ) -> StoreState:
        """Publish `change` of the newest state, however many others publish at the same time."""
        state = self.state()
        following = change(state)  # refused changes are refused before anything is written
        self._write_objects(prompts)
        while not following.same_content(state):
            if self.generations.append(following):
                self._confirm_objects(following, prompts)
                return following
            state = self.state(self.latest(known=following.generation))
            following = change(state)
        if state.generation:
            self.generations.confirm(state.generation)
        return state

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


def open_store(path: Path | str | None = None, *, create: bool = False) -> PromptStore:
    """Open the store a person named, or the default store where they named none.

    An address in $ISOGLOSS_STORE is opened as it is: only a folder begins with what ships.

    Raises:
        StoreError: it cannot be opened.
    """
    named = path or address_of(default_store_path())
    return open_default() if named is None else PromptStore.open(named, create=create)


def open_default(path: Path | None = None, shipped: Path | None = None) -> PromptStore:
    """Open the default store; a new or empty one becomes a copy of what ships with Isogloss.

    One that began with an earlier release gets this release's prompts where it has none for the
    weights that ship now. If that is impossible a warning says why, and the store is as it was.

    Raises:
        StoreError: it cannot be opened or made.
    """
    path = path or default_store_path()
    shipped = shipped or shipped_store()
    if not is_store(shipped):
        return PromptStore.open(path, create=True)
    with explained("seed", path):
        if is_store(path) and not PromptStore(path).latest():
            remove_empty(path)
        if not is_store(path):
            seed_from(shipped, path)
    store = PromptStore.open(path, create=True)
    _bring_up_to_date(store, PromptStore(shipped))
    return store


def _bring_up_to_date(store: PromptStore, shipped: PromptStore) -> None:
    try:
        if store.latest():  # where somebody is about to publish the first, hands off
            store.add_shipped(shipped, f"shipped with {release()}")
    except IsoglossError as problem:
        logger.warning(
            "the default store was not brought up to date with %s and keeps what it has: %s",
            release(),
            problem,
        )
