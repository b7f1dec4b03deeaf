"""Where prompts live: named prompts in immutable versions, and the routes between them.

    STORE/objects/<sha256>.safetensors   prompt files, named by their content, never changed
    STORE/generations/00000007.json      the whole state of generation 7, never changed
    STORE/tmp/                           files being written
    STORE/quarantine/                    damaged files that `verify --repair` moved aside

A change is published by the appearance of the next generation's file, which a hard link makes both
exclusive and atomic: of several writers one wins, the others see the new state and try again on top
of it. There is no lock, so nothing is left locked by a crash; readers never wait and never see half
a change; and because generations are contiguous, a reader that knows n mostly asks only whether n+1
is there (`prompts.store.following`). A generation is its number and its manifest's digest: a store
that was restored counts the same numbers again (`prompts.store.numbering`). Under the id of a
`request` a change is made once (`prompts.store.change_records`). STORE may be an address such as
s3://bucket/prefix: `prompts.store.remote` says what is different. Old generations, and files that
no generation needs, go away by `prompts.store.collecting` alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from isogloss.prompts.errors import InvalidInput, IsoglossError, NotFound
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.routing.trials import TrialKind, TrialLimits
from isogloss.prompts.store.change_records import ChangeRequest
from isogloss.prompts.store.faults import explained
from isogloss.prompts.store.files import StoreFiles
from isogloss.prompts.store.filesystems import address_of
from isogloss.prompts.store.seed import (
    default_store_path,
    is_store,
    release,
    remove_empty,
    seed_from,
    shipped_store,
)
from isogloss.prompts.store.state import StoreState
from isogloss.prompts.store.trial_state import TrialPlan, begun, ended, promoted
from isogloss.prompts.store.upgrade import missing_tables, with_shipped

__all__ = [
    "PromptStore",
    "StoreState",
    "default_store_path",
    "is_store",
    "open_default",
    "open_store",
]

Routes = Sequence[RouteTable] | Callable[[StoreState], Sequence[RouteTable]]
"""Route tables, or how to make them from the state they will be published on top of."""

logger = logging.getLogger(__name__)


class PromptStore(StoreFiles):
    """A store, and every way to change it: each makes one new generation, or none."""

    def publish(
        self,
        prompts: Mapping[str, SoftPrompt],
        routes: Routes = (),
        note: str = "",
        *,
        request: ChangeRequest | None = None,
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
            return state.published(digests, tables, self._reading(given), note, datetime.now(UTC))

        return self.commit(change, given, request)

    def rollback(
        self, to: int | None = None, note: str = "", *, request: ChangeRequest | None = None
    ) -> StoreState:
        """Publish a new generation with the current versions and routes of an earlier one.

        Without `to`, the content before the newest: repeated rollbacks walk further back. Versions
        published since stay addressable as `name@version`. Every trial ends; generations in which
        trials alone differed are passed over.

        Raises:
            NotFound: there is no such generation, nothing before the newest, or a prompt it routes
                to was deleted since.
            StoreError: the store cannot be read or written.
        """

        def change(state: StoreState) -> StoreState:
            target = self._before(state) if to is None else self._published_at(state, to)
            return state.rolled_back(target, note, datetime.now(UTC))

        return self.commit(change, {}, request)

    def begin_trial(
        self,
        name: str,
        prompt: SoftPrompt,
        *,
        kind: TrialKind,
        share: float,
        clades: Sequence[str] = (),
        limits: TrialLimits | None = None,
        note: str = "",
        request: ChangeRequest | None = None,
    ) -> StoreState:
        """Publish a prompt as a version of a name, beside what answers, and put it on trial.

        What the name means and what is routed stay. The clades must be routes of the table of the
        prompt's model and task ("universal" is one); without any, they are those whose route takes
        the name. Beginning again with the same prompt changes share, kind, clades and limits (the
        latter two where they are given); another prompt takes its place.

        Raises:
            InvalidInput: the share or the name is malformed, there is no such route, or a clade has
                another trial, or is answered by this very prompt.
            InvalidPrompt: the prompt does not fit the route table, or does not follow the text.
            StoreError: the store cannot be read or written.
        """
        plan = TrialPlan(kind, share, tuple(clades), limits)
        given = {prompt.digest: prompt}

        def change(state: StoreState) -> StoreState:
            read, now = self._reading(given), datetime.now(UTC)
            return begun(state, name, prompt, plan, read, note, now)

        return self.commit(change, given, request)

    def promote(
        self, name: str, note: str = "", *, request: ChangeRequest | None = None
    ) -> StoreState:
        """End a name's trial: its candidate answers for the trial's clades from now on.

        It becomes what the bare name means, too, unless a route outside the trial takes that: then
        the clades are routed to `name@version`. See `prompts.store.trial_state.promoted`.

        Raises:
            InvalidInput: the name is malformed.
            NotFound: the name is not on trial.
            StoreError: the store cannot be read or written.
        """

        def change(state: StoreState) -> StoreState:
            return promoted(state, name, self.read, note, datetime.now(UTC))

        return self.commit(change, {}, request)

    def end_trial(
        self,
        name: str,
        note: str = "",
        *,
        candidate: str | None = None,
        begun_at: datetime | None = None,
        request: ChangeRequest | None = None,
    ) -> StoreState:
        """End a name's trial; the candidate stays addressable as `name@version`.

        With `candidate`, only a trial of that `name@version` ends, and with `begun_at` only the one
        that began then; where there is none any more, the newest state is returned, so that any
        number of servers may end it at once.

        Raises:
            InvalidInput: the name is malformed.
            NotFound: no candidate is given, and the name is not on trial.
            StoreError: the store cannot be read or written.
        """

        def change(state: StoreState) -> StoreState:
            return ended(state, name, candidate, note, datetime.now(UTC), begun_at)

        return self.commit(change, {}, request)

    def delete(
        self, name: str, note: str = "", *, request: ChangeRequest | None = None
    ) -> StoreState:
        """Publish a new generation without a prompt, in any version.

        Its file stays until `prompts.store.collecting.free_deleted`, for readers may not be that
        far.

        Raises:
            NotFound: there is no such prompt.
            InvalidInput: the name is malformed, or a route chooses the prompt.
            StoreError: the store cannot be read or written.
        """
        return self.commit(lambda state: state.without(name, note, datetime.now(UTC)), {}, request)

    def add_shipped(self, shipped: PromptStore, note: str) -> StoreState:
        """Publish the route tables that this store lacks, and their prompts, in one generation.

        Nothing that is here goes away (see `prompts.store.upgrade`); where no table is missing,
        nothing happens.

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
            read, now = self._reading(given), datetime.now(UTC)
            return with_shipped(state, tables, prompts, read, note, now)

        return self.commit(change, given)

    def _reading(self, given: Mapping[str, SoftPrompt]) -> Callable[[str], SoftPrompt]:
        """How to read a prompt by its digest, where these may not be in the store yet."""
        return lambda digest: given.get(digest) or self.read(digest)

    def _published_at(self, state: StoreState, generation: int) -> StoreState:
        if generation < 1:
            raise NotFound(
                f"prompt store {self.location}: nothing was published before generation "
                f"{state.restores or state.generation}; generations count from 1"
            )
        return self.state(generation)

    def _before(self, state: StoreState) -> StoreState:
        """Return what answered before the newest change: trials that are over change nothing."""
        generation = (state.restores or state.generation) - 1
        target = self._published_at(state, generation)
        while not state.trials and target.answering == state.answering:
            generation -= 1
            target = self._published_at(state, generation)
        return target


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
