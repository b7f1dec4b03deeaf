"""What a prompt store holds at one generation, and how a change turns it into the next.

Everything here is pure: values in, a new value out. `prompts.store.store` puts them on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr

from isogloss.prompts.errors import InvalidInput, NotFound
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.routing.routes import RouteTable, check_name, parse_reference
from isogloss.prompts.routing.trials import Trial, still_on_trial
from isogloss.prompts.store.change_records import (
    ChangeRecord,
    ChangeRequest,
    find,
    unexpired,
    with_record,
)
from isogloss.prompts.store.entries import Deleted, PromptEntry, PromptVersion
from isogloss.prompts.store.numbering import MAX_GENERATION, GenerationId
from isogloss.prompts.store.table_checks import check_table, check_trials

FORMAT_VERSION = 4
"""The newest of manifests. Each has the least that can say what it holds, for earlier releases:
4 where changes were asked for by id, 3 where something is on trial, 2 where prompts were deleted,
else 1."""

_FROZEN = ConfigDict(frozen=True, extra="forbid")
_LATER_FIELDS = ("deleted", "trials", "records")
"""What earlier releases do not know, by format version from 2 on."""


class StoreState(BaseModel):
    """One generation of a store: the whole of its state, and how it came to be.

    `parent` is the generation before it; `restores` the one whose content a rollback brought back;
    `deleted` holds what names lost, also of names that were published anew; `trials` are in the
    order of their names; `records` are of the last changes that were asked for by id.
    """

    model_config = _FROZEN

    format_version: Literal[1, 2, 3, 4] = 1
    generation: int = Field(ge=0, le=MAX_GENERATION)
    parent: int | None = Field(default=None, ge=0, le=MAX_GENERATION)
    restores: int | None = Field(default=None, ge=0, le=MAX_GENERATION)
    note: str = ""
    published_at: AwareDatetime | None = None  # None: generation 0, the empty store
    prompts: Mapping[str, PromptEntry] = Field(default_factory=dict)
    routes: tuple[RouteTable, ...] = ()
    deleted: Mapping[str, Deleted] = Field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
    records: tuple[ChangeRecord, ...] = ()
    _digest: str = PrivateAttr("")

    @property
    def identity(self) -> GenerationId:
        """Number and digest of its manifest; what was not stored yet has no digest."""
        return GenerationId(self.generation, self._digest)

    def stored_as(self, digest: str) -> Self:
        """Return the same generation, with the digest of the manifest that holds it."""
        stored = self.model_copy()
        stored._digest = digest
        return stored

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy; with an update it is another generation, which is not stored yet."""
        copied = super().model_copy(update=update, deep=deep)
        if update:
            copied._digest = ""
        return copied

    @property
    def digests(self) -> frozenset[str]:
        """Every prompt file that a name and version of this state stand for."""
        return frozenset(v.digest for entry in self.prompts.values() for v in entry.versions)

    @property
    def dropped(self) -> frozenset[str]:
        """Files of deleted prompts that nothing in this state stands for: they may be removed."""
        return frozenset(d for one in self.deleted.values() for d in one.digests) - self.digests

    @property
    def answering(self) -> tuple[Mapping[str, int], tuple[RouteTable, ...]]:
        """What bare names mean, and the routes: what answers, trials aside."""
        current = {name: own.current for name, own in self.prompts.items() if own.current}
        return current, self.routes

    def to_json(self) -> bytes:
        """Return the manifest."""
        # Without them, earlier releases can read it.
        unused = {field for field in _LATER_FIELDS if not getattr(self, field)}
        return self.model_dump_json(indent=1, exclude=unused).encode()

    def resolve(self, reference: str) -> tuple[str, int, str]:
        """Return name, version and digest of "name" or "name@version".

        Raises:
            InvalidInput: the reference is malformed.
            NotFound: there is no such prompt or version.
        """
        name, number = parse_reference(reference)
        entry = self.prompts[self._known(name)]
        number = entry.current if number is None else number
        found = entry.version(number) if number is not None else None
        if found is None:
            raise NotFound(
                f"prompt {reference!r} has no such version in generation {self.generation}; "
                f"{name}@{entry.versions[0].version} to {name}@{entry.newest} exist"
            )
        return name, found.version, found.digest

    def routes_for(self, fingerprint: str, task: str) -> RouteTable | None:
        """Return the route table of a model (by fingerprint) and a task, or None."""
        return next((table for table in self.routes if table.key == (fingerprint, task)), None)

    def same_content(self, other: StoreState) -> bool:
        """Tell whether prompts, routes and trials are equal."""
        return (self.prompts, self.routes, self.trials) == (
            other.prompts,
            other.routes,
            other.trials,
        )

    def published(
        self,
        digests: Mapping[str, str],
        tables: Sequence[RouteTable],
        prompt_of: Callable[[str], SoftPrompt],
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
        entries = dict(self.prompts)
        for name, digest in digests.items():
            entries[name] = self.holding(name, digest, now).with_digest(digest, now)
        changed = {name for name, entry in entries.items() if entry != self.prompts.get(name)}
        kept = [table.forgetting(table.answered_by(changed)) for table in self.routes]
        routes = _merged(kept, tables)
        following = self.followed_by(note, now, prompts=entries, routes=routes)
        new = {table.key for table in tables}
        touched = [t for t in routes if t.key in new or _names(t) & set(digests)]
        for table in touched:
            check_table(table, following.digest_of, prompt_of)
        trials = still_on_trial(self.trials, routes, following.digest_of)
        for table in touched:
            check_trials(table, trials, following.digest_of, prompt_of)
        return following.with_trials(trials)

    def rolled_back(self, target: StoreState, note: str, now: datetime) -> StoreState:
        """Return the next generation, with the current versions and routes of an earlier one.

        Versions published since stay addressable, and their numbers are never used again. Every
        trial ends, and none of that generation begins again: who rolls back wants what answered
        then, for every text, and what was on trial then was measured beside other traffic.
        """
        earlier = target.prompts
        entries = {
            name: PromptEntry(versions=entry.versions, current=_current(entry, earlier.get(name)))
            for name, entry in self.prompts.items()
        }
        following = self.followed_by(note, now, prompts=entries, routes=target.routes, trials=())
        _check_nothing_deleted(target, following)
        return following.model_copy(update={"restores": target.restores or target.generation})

    def without(self, name: str, note: str, now: datetime) -> StoreState:
        """Return the next generation, without any version of a name.

        Its numbers are never used again: published anew, the name counts on from there.

        Raises:
            NotFound: there is no such name.
            InvalidInput: a route chooses it, or it is on trial.
        """
        entry = self.prompts[self._known(name)]
        if any(trial.name == name for trial in self.trials):
            raise InvalidInput(
                f"prompt {name!r} is on trial: end it with `isogloss prompts rollback --trial "
                f"{name}` first"
            )
        for table in self.routes:
            chosen = {r for r in table.references if parse_reference(r)[0] == name}
            if clades := table.answered_by(chosen):
                raise InvalidInput(
                    f"prompt {name!r} answers for {', '.join(clades)} ({table.model.id}, task "
                    f"{table.task!r}): route them to another prompt first"
                )
        before = self.deleted.get(name)
        digests = [version.digest for version in entry.versions]
        lost = Deleted(
            newest=entry.newest,
            digests=tuple(dict.fromkeys([*(before.digests if before else ()), *digests])),
        )
        left = {other: own for other, own in self.prompts.items() if other != name}
        return self.followed_by(note, now, prompts=left, deleted={**self.deleted, name: lost})

    def followed_by(
        self,
        note: str,
        now: datetime,
        *,
        prompts: Mapping[str, PromptEntry] | None = None,
        routes: tuple[RouteTable, ...] | None = None,
        deleted: Mapping[str, Deleted] | None = None,
        trials: tuple[Trial, ...] | None = None,
    ) -> StoreState:
        """Return the next generation; what is not given stays as it is."""
        following = StoreState(
            generation=self.generation + 1,
            parent=self.generation,
            note=note,
            published_at=now,
            prompts=self.prompts if prompts is None else prompts,
            routes=self.routes if routes is None else routes,
            deleted=self.deleted if deleted is None else deleted,
            records=unexpired(self.records, now),
        )
        return following.with_trials(self.trials if trials is None else trials)

    def with_trials(self, trials: tuple[Trial, ...]) -> StoreState:
        """Return the same generation with these on trial."""
        return self._with(trials=tuple(sorted(trials, key=lambda trial: trial.name)))

    def record_of(self, request: ChangeRequest, now: datetime) -> ChangeRecord | None:
        """Return the record of a change that was made already, None where it was not.

        Raises:
            InvalidInput: the request's id stands for another change.
        """
        return find(self.records, request, now)

    def generation_of(self, request: ChangeRequest | None) -> int:
        """Return the generation that a request made: this one, unless there is a record of it."""
        made = (own.generation for own in self.records if request and own.id == request.id)
        return next(made, self.generation)

    def recording(self, request: ChangeRequest, now: datetime) -> StoreState:
        """Return the same generation, with the record that this request made it."""
        return self._with(records=with_record(self.records, request, self.generation, now))

    def _with(self, **changes: Any) -> StoreState:
        """Return a changed copy in the format that can say what it holds."""
        changed = self.model_copy(update=changes)
        formats = [n for n, field in enumerate(_LATER_FIELDS, 2) if getattr(changed, field)]
        return changed.model_copy(update={"format_version": max(formats, default=1)})

    def digest_of(self, reference: str) -> str:
        """Return the digest of "name" or "name@version"; raises what `resolve` does."""
        return self.resolve(reference)[2]

    def holding(self, name: str, digest: str, now: datetime) -> PromptEntry:
        """Return a name's entry with this content among its versions; what is current stays.

        A new name means nothing yet: `current` is None.

        Raises:
            InvalidInput: the name is malformed.
        """
        if known := self.prompts.get(check_name(name)):
            return known.holding(digest, now)
        number = self.deleted[name].newest + 1 if name in self.deleted else 1
        first = PromptVersion(version=number, digest=digest, published_at=now)
        return PromptEntry(versions=(first,), current=None)

    def _known(self, name: str) -> str:
        if check_name(name) not in self.prompts:
            raise NotFound(
                f"no prompt {name!r} in generation {self.generation} of the store; there are: "
                f"{', '.join(sorted(self.prompts)) or 'none'}"
            )
        return name


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
