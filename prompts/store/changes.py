"""How publishing, rolling back and deleting turn one state of a store into the next.

Everything here is pure, as in `prompts.store.state`. The changes of trials are in
`prompts.store.trial_changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.prompts.format.prompt import Prompt
from isogloss.prompts.routing.routes import UNIVERSAL, RouteTable, parse_reference
from isogloss.prompts.routing.trials import still_on_trial
from isogloss.prompts.store.checks import check_table, check_trials
from isogloss.prompts.store.state import Deleted, PromptEntry, StoreState


def published(
    state: StoreState,
    digests: Mapping[str, str],
    tables: Sequence[RouteTable],
    prompt_of: Callable[[str], Prompt],
    note: str,
    now: datetime,
) -> StoreState:
    """Return the next generation, with these names' digests and these route tables.

    A table replaces that of the same model and task. Where a table stays but a name in it gets
    another prompt, what was measured with the old one is forgotten. Trials go on, but for
    clades that lose their route or are answered by the candidate now. `prompt_of` reads a
    prompt by its digest.

    Raises:
        InvalidInput: a name is malformed, or two tables are for the same model and task.
        InvalidPrompt: a route chooses a prompt that does not exist or does not fit its table,
            or what is on trial would fit it no longer.
    """
    entries = dict(state.prompts)
    for name, digest in digests.items():
        entries[name] = state.holding(name, digest, now).with_digest(digest, now)
    changed = {name for name, entry in entries.items() if entry != state.prompts.get(name)}
    kept = [table.forgetting(table.answered_by(changed)) for table in state.routes]
    routes = _merged(kept, tables)
    following = state.followed_by(note, now, prompts=entries, routes=routes)
    new = {table.key for table in tables}
    touched = [t for t in routes if t.key in new or _names(t) & set(digests)]
    for table in touched:
        check_table(table, following.digest_of, prompt_of)
    trials = still_on_trial(state.trials, routes, following.digest_of)
    for table in touched:
        check_trials(table, trials, following.digest_of, prompt_of)
    return following.with_trials(trials)


def routed(state: StoreState, name: str, prompt: Prompt, clades: Sequence[str]) -> RouteTable:
    """Return the route table of a prompt's model and task, with these clades routed to its name.

    Raises:
        InvalidInput: there is no such table yet, and the clades lack "universal".
    """
    card = prompt.card
    table = state.routes_for(card.model.fingerprint, card.task)
    if table is None:
        if UNIVERSAL not in clades:
            raise InvalidInput(
                f"there is no route table for {card.model.id} and task {card.task!r} yet, and it "
                "needs a universal prompt: publish one with --route universal first"
            )
        table = RouteTable(model=card.model, task=card.task, universal=name)
    return table.with_routes(name, clades)


def rolled_back(state: StoreState, target: StoreState, note: str, now: datetime) -> StoreState:
    """Return the next generation, with the current versions and routes of an earlier one.

    Versions published since stay addressable, and their numbers are never used again. Every
    trial ends, and none of that generation begins again: who rolls back wants what answered
    then, for every text, and what was on trial then was measured beside other traffic.
    """
    earlier = target.prompts
    entries = {
        name: PromptEntry(versions=entry.versions, current=_current(entry, earlier.get(name)))
        for name, entry in state.prompts.items()
    }
    following = state.followed_by(note, now, prompts=entries, routes=target.routes, trials=())
    _check_nothing_deleted(target, following)
    return following.model_copy(update={"restores": target.restores or target.generation})


def without(state: StoreState, name: str, note: str, now: datetime) -> StoreState:
    """Return the next generation, without any version of a name.

    Its numbers are never used again: published anew, the name counts on from there.

    Raises:
        NotFound: there is no such name.
        InvalidInput: a route chooses it, or it is on trial.
    """
    entry = state.entry(name)
    if any(trial.name == name for trial in state.trials):
        raise InvalidInput(
            f"prompt {name!r} is on trial: end it with `isogloss prompts rollback --trial "
            f"{name}` first"
        )
    for table in state.routes:
        chosen = {r for r in table.references if parse_reference(r)[0] == name}
        if clades := table.answered_by(chosen):
            raise InvalidInput(
                f"prompt {name!r} answers for {', '.join(clades)} ({table.model.id}, task "
                f"{table.task!r}): route them to another prompt first"
            )
    before = state.deleted.get(name)
    digests = [version.digest for version in entry.versions]
    lost = Deleted(
        newest=entry.newest,
        digests=tuple(dict.fromkeys([*(before.digests if before else ()), *digests])),
    )
    left = {other: entry for other, entry in state.prompts.items() if other != name}
    return state.followed_by(note, now, prompts=left, deleted={**state.deleted, name: lost})


def _current(entry: PromptEntry, earlier: PromptEntry | None) -> int | None:
    """Return the version that was current, where it was not deleted since."""
    number = earlier.current if earlier else None
    return number if number is not None and entry.version(number) else None


def _check_nothing_deleted(target: StoreState, following: StoreState) -> None:
    for table in target.routes:
        for reference in table.references:
            try:
                following.resolve(reference)
            except NotFound as error:
                raise NotFound(
                    f"generation {target.generation} routes to {reference!r}, which was deleted "
                    "since; publish it again, or roll back to another generation with --to"
                ) from error


def _merged(old: Iterable[RouteTable], new: Sequence[RouteTable]) -> tuple[RouteTable, ...]:
    """Return the tables in a fixed order, a new one in place of an old one with its key."""
    replaced = {table.key: table for table in new}
    if len(replaced) < len(new):
        raise InvalidInput("routes: two of the route tables are for the same model and task")
    tables = {**{table.key: table for table in old}, **replaced}
    return tuple(tables[key] for key in sorted(tables))


def _names(table: RouteTable) -> set[str]:
    return {parse_reference(reference)[0] for reference in table.references}
