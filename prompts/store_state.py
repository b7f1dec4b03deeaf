"""What a prompt store holds at one generation, and how a change turns it into the next.

Everything here is pure: values in, a new value out. `prompts.store` puts them on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from prompts.errors import InvalidInput, NotFound
from prompts.routes import RouteTable, check_name, parse_reference
from prompts.soft_prompt import SoftPrompt
from prompts.table_checks import check_table
from prompts.trials import Trial

FORMAT_VERSION = 2
"""Of manifests: 2 where prompts were deleted, which releases of format 1 cannot know of; else 1."""

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]

_FROZEN = ConfigDict(frozen=True, extra="forbid")


class PromptVersion(BaseModel):
    """One immutable version of a named prompt."""

    model_config = _FROZEN

    version: int = Field(ge=1)
    digest: Digest
    published_at: AwareDatetime


class PromptEntry(BaseModel):
    """All versions of a name, first to last, and the one that the bare name means.

    They count from 1, or from what comes after the last one deleted under this name.
    `current` is None after a rollback to before the first version: the versions stay addressable as
    `name@version`, the bare name means nothing.
    """

    model_config = _FROZEN

    versions: tuple[PromptVersion, ...] = Field(min_length=1)
    current: int | None

    @model_validator(mode="after")
    def _versions_count_up(self) -> PromptEntry:
        numbers = [version.version for version in self.versions]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise ValueError(f"versions are numbered {numbers}, not one after the other")
        if self.current is not None and self.current not in numbers:
            raise ValueError(f"current is version {self.current}, there are {numbers}")
        return self

    def version(self, number: int) -> PromptVersion | None:
        """Return one version, or None where there is none of this number."""
        place = number - self.versions[0].version
        return self.versions[place] if 0 <= place < len(self.versions) else None

    @property
    def newest(self) -> int:
        """The highest version's number."""
        return self.versions[-1].version

    def with_digest(self, digest: str, now: datetime) -> PromptEntry:
        """Return the entry with this content as its current version.

        Content that the name had before becomes current again under its old number: a version is
        its content, so swapping back and forth makes no new versions.
        """
        for known in self.versions:
            if known.digest == digest:
                return PromptEntry(versions=self.versions, current=known.version)
        added = PromptVersion(version=self.newest + 1, digest=digest, published_at=now)
        return PromptEntry(versions=(*self.versions, added), current=added.version)


class Deleted(BaseModel):
    """What is left of a deleted prompt: numbers not to be used again, files that may be missing."""

    model_config = _FROZEN

    newest: int = Field(ge=1)
    digests: tuple[Digest, ...]


class StoreState(BaseModel):
    """One generation of a store: the whole of its state, and how it came to be.

    `parent` is the generation before it; `restores` the one whose content a rollback brought back;
    `deleted` holds what names lost, also of names that were published anew.
    """

    model_config = _FROZEN

    format_version: Literal[1, 2] = 1
    generation: int = Field(ge=0)
    parent: int | None = None
    restores: int | None = None
    note: str = ""
    published_at: AwareDatetime | None = None  # None: generation 0, the empty store
    prompts: Mapping[str, PromptEntry] = Field(default_factory=dict)
    routes: tuple[RouteTable, ...] = ()
    deleted: Mapping[str, Deleted] = Field(default_factory=dict)
    trials: tuple[Trial, ...] = ()

    @property
    def digests(self) -> frozenset[str]:
        """Every prompt file that a name and version of this state stand for."""
        return frozenset(v.digest for entry in self.prompts.values() for v in entry.versions)

    @property
    def dropped(self) -> frozenset[str]:
        """Files of deleted prompts that nothing in this state stands for: they may be removed."""
        return frozenset(d for one in self.deleted.values() for d in one.digests) - self.digests

    def to_json(self) -> bytes:
        """Return the manifest."""
        # Without them, earlier releases can read it.
        unused = {field for field in ("deleted", "trials") if not getattr(self, field)}
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
        another prompt, what was measured with the old one is forgotten. `prompt_of` reads a prompt
        by its digest.

        Raises:
            InvalidInput: a name is malformed, or two tables are for the same model and task.
            InvalidPrompt: a route chooses a prompt that does not exist or does not fit its table.
        """
        entries = dict(self.prompts)
        for name, digest in digests.items():
            entries[check_name(name)] = self._entry(name, digest, now)
        changed = {name for name, entry in entries.items() if entry != self.prompts.get(name)}
        kept = [table.forgetting(table.answered_by(changed)) for table in self.routes]
        routes = _merged(kept, tables)
        following = self._followed_by(entries, routes, note, now)
        new = {table.key for table in tables}
        for table in routes:
            if table.key in new or _names(table) & set(digests):
                check_table(table, lambda own: following.resolve(own)[2], prompt_of)
        return following

    def rolled_back(self, target: StoreState, note: str, now: datetime) -> StoreState:
        """Return the next generation, with the current versions and routes of an earlier one.

        Versions published since stay addressable, and their numbers are never used again.
        """
        earlier = target.prompts
        entries = {
            name: PromptEntry(versions=entry.versions, current=_current(entry, earlier.get(name)))
            for name, entry in self.prompts.items()
        }
        following = self._followed_by(entries, target.routes, note, now)
        _check_nothing_deleted(target, following)
        return following.model_copy(update={"restores": target.restores or target.generation})

    def without(self, name: str, note: str, now: datetime) -> StoreState:
        """Return the next generation, without any version of a name.

        Its numbers are never used again: published anew, the name counts on from there.

        Raises:
            NotFound: there is no such name.
            InvalidInput: a route chooses it.
        """
        entry = self.prompts[self._known(name)]
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
        following = self._followed_by(left, self.routes, note, now)
        return following.model_copy(
            update={"format_version": FORMAT_VERSION, "deleted": {**self.deleted, name: lost}}
        )

    def _followed_by(
        self,
        prompts: Mapping[str, PromptEntry],
        routes: tuple[RouteTable, ...],
        note: str,
        now: datetime,
    ) -> StoreState:
        return StoreState(
            format_version=self.format_version,
            generation=self.generation + 1,
            parent=self.generation,
            note=note,
            published_at=now,
            prompts=prompts,
            routes=routes,
            deleted=self.deleted,
        )

    def _known(self, name: str) -> str:
        if check_name(name) not in self.prompts:
            raise NotFound(
                f"no prompt {name!r} in generation {self.generation} of the store; there are: "
                f"{', '.join(sorted(self.prompts)) or 'none'}"
            )
        return name

    def _entry(self, name: str, digest: str, now: datetime) -> PromptEntry:
        if known := self.prompts.get(name):
            return known.with_digest(digest, now)
        number = self.deleted[name].newest + 1 if name in self.deleted else 1
        first = PromptVersion(version=number, digest=digest, published_at=now)
        return PromptEntry(versions=(first,), current=number)


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
