"""Where prompts live: named prompts in immutable versions, and the routes between them.

    STORE/objects/<sha256>.safetensors   prompt files, named by their content, never changed
    STORE/generations/00000007.json      the whole state of generation 7, never changed
    STORE/tmp/                           files being written
    STORE/quarantine/                    damaged files that `verify --repair` moved aside

A change is published by the appearance of the next generation's file, which a hard link makes both
exclusive and atomic: of several writers one wins, the others see the new state and try again on top
of it. There is no lock, so nothing is left locked by a crash; readers never wait and never see half
a change; and because generations are contiguous, a reader that knows n mostly asks only whether n+1
is there (`prompts.store.generations.Follower`). A generation is its number and its manifest's
digest: a store that was restored counts the same numbers again (`prompts.store.numbering`). STORE
may be an address such as s3://bucket/prefix: `prompts.store.remote` says what is different. Old
generations, and files that no generation needs, go away by `prompts.store.collect` alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from isogloss.prompts.errors import InvalidInput, IsoglossError, NotFound
from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.routing.routes import RouteTable
from isogloss.prompts.routing.trials import TrialKind, TrialLimits
from isogloss.prompts.store.change_records import requested, short_hash
from isogloss.prompts.store.changes import published, rolled_back, routed, without
from isogloss.prompts.store.checks import check_clades
from isogloss.prompts.store.files import StoreFiles
from isogloss.prompts.store.filesystems import address_of, explained, is_store
from isogloss.prompts.store.seed import (
    default_store_path,
    release,
    remove_empty,
    seed_from,
    shipped_store,
)
from isogloss.prompts.store.state import StoreState
from isogloss.prompts.store.trial_changes import TrialPlan, begun, ended, promoted
from isogloss.prompts.store.upgrade import add_shipped

__all__ = ["PromptStore", "StoreState", "is_store", "open_default", "open_store"]

Routes = Sequence[RouteTable] | Callable[[StoreState], Sequence[RouteTable]]
"""Route tables, or how to make them from the state they will be published on top of."""

logger = logging.getLogger(__name__)


class PromptStore(StoreFiles):
    """A store, and every way to change it: each makes one new generation, or none.

    Under a `request_id` a change is made once, however often it is asked for (see
    `prompts.store.change_records`). Every change raises InvalidInput where its name is malformed or
    its id stands for another change, and StoreError where the store cannot be read or written: it
    is then as it was, unless the message says that the change may be there.
    """

    def publish(
        self,
        prompts: Mapping[str, Prompt],
        routes: Routes = (),
        note: str = "",
        *,
        clades: Sequence[str] = (),
        request_id: str | None = None,
    ) -> StoreState:
        """Publish prompts and route tables as one new generation, all or nothing.

        Each prompt becomes the current version of its name. Content that the name already had keeps
        its version number; where nothing at all would change, the newest state is returned and
        there is no new generation, so repeating a publish is harmless. Training state is left out.
        A route table replaces that of its model and task. The `clades` ("universal" is one) are
        routed to the prompts in the tables that there are, so that nobody's routes are lost.

        Raises:
            InvalidInput: there is nothing to publish, a clade is in no language's lineage, or the
                first routes of a model and task lack the universal prompt.
            InvalidPrompt: a prompt and a route table do not fit each other; the message says why.
        """
        if not prompts and not callable(routes) and not routes:
            raise InvalidInput("nothing to publish: give at least one prompt or route table")
        check_clades(clades)
        given = {prompt.digest: prompt for prompt in prompts.values()}
        digests = {name: prompt.digest for name, prompt in prompts.items()}

        def change(state: StoreState) -> StoreState:
            tables = [*(routes(state) if callable(routes) else routes)]
            if clades:
                tables += [routed(state, name, prompt, clades) for name, prompt in prompts.items()]
            read, now = self.reading(given), datetime.now(UTC)
            return published(state, digests, tables, read, note, now)

        target = _published(digests, () if callable(routes) else routes, clades)
        return self.commit(change, given, requested(request_id, "publication", target))

    def rollback(
        self, to: int | None = None, note: str = "", *, request_id: str | None = None
    ) -> StoreState:
        """Publish a new generation with the current versions and routes of an earlier one.

        Without `to`, the content before the newest: repeated rollbacks walk further back. Versions
        published since stay addressable as `name@version`. Every trial ends; generations in which
        trials alone differed are passed over.

        Raises:
            NotFound: there is no such generation, nothing before the newest, or a prompt it routes
                to was deleted since.
        """

        def change(state: StoreState) -> StoreState:
            target = self._before(state) if to is None else self._published_at(state, to)
            return rolled_back(state, target, note, datetime.now(UTC))

        target = "to the generation before" if to is None else f"to generation {to}"
        return self.commit(change, {}, requested(request_id, "rollback", target))

    def begin_trial(
        self,
        name: str,
        prompt: Prompt,
        *,
        kind: TrialKind,
        share: float,
        clades: Sequence[str] = (),
        limits: TrialLimits | None = None,
        note: str = "",
        request_id: str | None = None,
    ) -> StoreState:
        """Publish a prompt as a version of a name, beside what answers, and put it on trial.

        What the name means and what is routed stay. The clades must be routes of the table of the
        prompt's model and task ("universal" is one); without any, they are those whose route takes
        the name. Beginning again with the same prompt changes share, kind, clades and limits (the
        latter two where they are given); another prompt takes its place.

        Raises:
            InvalidInput: the share is malformed, there is no such route, or a clade has another
                trial, or is answered by this very prompt.
            InvalidPrompt: the prompt does not fit the route table, or does not follow the text.
        """
        plan = TrialPlan(kind, share, tuple(clades), limits)
        given = {prompt.digest: prompt}

        def change(state: StoreState) -> StoreState:
            read, now = self.reading(given), datetime.now(UTC)
            return begun(state, name, prompt, plan, read, note, now)

        target = f"of {name!r} ({prompt.digest}) as {kind} {short_hash(repr(plan))}"
        return self.commit(change, given, requested(request_id, "trial", target))

    def promote(self, name: str, note: str = "", *, request_id: str | None = None) -> StoreState:
        """End a name's trial: its candidate answers for the trial's clades from now on.

        It becomes what the bare name means, too, unless a route outside the trial takes that: then
        the clades are routed to `name@version`. See `prompts.store.trial_changes.promoted`.

        Raises:
            NotFound: the name is not on trial.
        """

        def change(state: StoreState) -> StoreState:
            return promoted(state, name, self.read, note, datetime.now(UTC))

        return self.commit(change, {}, requested(request_id, "promotion", f"of {name!r}"))

    def end_trial(
        self,
        name: str,
        note: str = "",
        *,
        candidate: str | None = None,
        begun_at: datetime | None = None,
        request_id: str | None = None,
    ) -> StoreState:
        """End a name's trial; the candidate stays addressable as `name@version`.

        With `candidate`, only a trial of that `name@version` ends, and with `begun_at` only the one
        that began then; where there is none any more, the newest state is returned, so that any
        number of servers may end it at once.

        Raises:
            NotFound: no candidate is given, and the name is not on trial.
        """

        def change(state: StoreState) -> StoreState:
            return ended(state, name, candidate, note, datetime.now(UTC), begun_at)

        return self.commit(change, {}, requested(request_id, "end of trial", f"of {name!r}"))

    def delete(self, name: str, note: str = "", *, request_id: str | None = None) -> StoreState:
        """Publish a new generation without a prompt, in any version.

        Its file stays until `prompts.store.collect.free_deleted`, for readers may not be that far.

        Raises:
            NotFound: there is no such prompt.
            InvalidInput: a route chooses the prompt.
        """

        def change(state: StoreState) -> StoreState:
            return without(state, name, note, datetime.now(UTC))

        return self.commit(change, {}, requested(request_id, "deletion", f"of {name!r}"))

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


def _published(
    digests: Mapping[str, str], tables: Sequence[RouteTable], clades: Sequence[str]
) -> str:
    """What a publication is of; tables that are made of the newest state are not part of it."""
    named = [f"{name!r} ({digest})" for name, digest in digests.items()]
    if len(named) == 1 and not tables and not clades:
        return f"of {named[0]}"
    content = short_hash("\n".join([*named, *clades, *(t.model_dump_json() for t in tables)]))
    if not named:
        return f"of {len(tables)} route tables ({content})"
    return f"of {len(named)} prompts, routed ({content})"


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
    try:
        if store.latest():  # where somebody is about to publish the first, hands off
            add_shipped(store, PromptStore(shipped), f"shipped with {release()}")
    except IsoglossError as problem:
        logger.warning(
            "the default store was not brought up to date with %s and keeps what it has: %s",
            release(),
            problem,
        )
    return store
