"""What a release ships, added to a store that began with another release's prompts.

A route table belongs to one model's weights. Where a release brings retrained pocket models, a
store that was seeded before it has no table for them. `with_shipped` adds what is missing and takes
nothing away: shipped prompts become new versions of their names, and every table that chose one of
those names, shipped or a user's, goes on choosing the version it did. Servers of the older release
that read the same store therefore go on answering as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.routing.routes import RouteTable, parse_reference
from isogloss.prompts.store.changes import published
from isogloss.prompts.store.files import StoreFiles
from isogloss.prompts.store.state import StoreState


def add_shipped(store: StoreFiles, shipped: StoreFiles, note: str) -> StoreState:
    """Publish the route tables that a store lacks, and their prompts, in one generation.

    Nothing that is there goes away; where no table is missing, nothing happens.

    Raises:
        StoreError: a store cannot be read, or this one cannot be written; it is as it was.
    """
    offered = shipped.state()
    if not missing_tables(state := store.state(), offered):
        return state
    prompts = {
        name: shipped.read(offered.resolve(name)[2])
        for name, entry in offered.prompts.items()
        if entry.current is not None
    }
    given = {prompt.digest: prompt for prompt in prompts.values()}

    def change(state: StoreState) -> StoreState:
        tables = missing_tables(state, offered)
        read, now = store.reading(given), datetime.now(UTC)
        return with_shipped(state, tables, prompts, read, note, now)

    return store.commit(change, given)


def missing_tables(state: StoreState, shipped: StoreState) -> tuple[RouteTable, ...]:
    """Return the shipped tables for whose weights and task the store has none."""
    known = {table.key for table in state.routes}
    return tuple(table for table in shipped.routes if table.key not in known)


def with_shipped(
    state: StoreState,
    tables: Sequence[RouteTable],
    prompts: Mapping[str, Prompt],
    prompt_of: Callable[[str], Prompt],
    note: str,
    now: datetime,
) -> StoreState:
    """Return the next generation, with shipped tables and those of the prompts that fit them.

    Args:
        state: what it is added to.
        tables: the shipped tables that `state` lacks; where there are none, `state` is returned.
        prompts: all shipped prompts by name.
        prompt_of: reads any prompt, of the store or shipped, by its digest.
        note: why; kept with the generation.
        now: when.

    Raises:
        InvalidPrompt: a table and its prompts do not fit each other.
    """
    if not tables:
        return state
    keys = {table.key for table in tables}
    digests = {
        name: prompt.digest
        for name, prompt in prompts.items()
        if (prompt.card.model.fingerprint, prompt.card.task) in keys
    }
    kept = [_pinned(table, digests, state) for table in state.routes]
    return published(state, digests, [*kept, *tables], prompt_of, note, now)


def _pinned(table: RouteTable, names: Mapping[str, str], state: StoreState) -> RouteTable:
    """Say `name@version` where the table says just `name`, for names about to mean another."""

    def pin(reference: str) -> str:
        name, version = parse_reference(reference)
        if version is not None or name not in names:
            return reference
        return f"{name}@{state.resolve(reference)[1]}"

    return table.model_copy(
        update={
            "universal": pin(table.universal),
            "clades": {clade: pin(reference) for clade, reference in table.clades.items()},
            "evidence": tuple(
                one.model_copy(update={"prompt": _pinned_evidence(one.prompt, pin, state)})
                for one in table.evidence
            ),
        }
    )


def _pinned_evidence(reference: str, pin: Callable[[str], str], state: StoreState) -> str:
    """Evidence may speak of a prompt that was never published: then there is nothing to pin."""
    return pin(reference) if parse_reference(reference)[0] in state.prompts else reference
