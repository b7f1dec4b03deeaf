"""What a prompt store holds at one generation: its names' versions, routes, trials and records.

Everything here is pure: values in, a new value out. `prompts.store.changes` makes the next state of
one, `prompts.store.store` puts it on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from isogloss.prompts.errors import NotFound
from isogloss.prompts.routing.routes import RouteTable, check_name, parse_reference
from isogloss.prompts.routing.trials import Trial
from isogloss.prompts.store.change_records import (
    ChangeRecord,
    ChangeRequest,
    unexpired,
    with_record,
)
from isogloss.prompts.store.numbering import MAX_GENERATION, GenerationId

FORMAT_VERSION = 5
"""The newest of manifests. Each has the least that can say what it holds, for earlier releases:
5 where routes have label priors, 4 where changes were asked for by id, 3 where something is on
trial, 2 where prompts were deleted, else 1."""

_FROZEN = ConfigDict(frozen=True, extra="forbid")
_LATER_FIELDS = ("deleted", "trials", "records")
"""What earlier releases do not know, by format version from 2 on."""


Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class PromptVersion(BaseModel):
    """One immutable version of a named prompt."""

    model_config = _FROZEN

    version: int = Field(ge=1)
    digest: Digest
    published_at: AwareDatetime


class PromptEntry(BaseModel):
    """All versions of a name, first to last, and the one that the bare name means.

    They count from 1, or from what comes after the last one deleted under this name.
    `current` is None after a rollback to before the first version, and while the first is on trial:
    the versions are addressable as `name@version`, the bare name means nothing.
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
        index = number - self.versions[0].version
        return self.versions[index] if 0 <= index < len(self.versions) else None

    @property
    def newest(self) -> int:
        """The highest version's number."""
        return self.versions[-1].version

    def number_of(self, digest: str) -> int | None:
        """Return the version that has this content, or None."""
        return next((each.version for each in self.versions if each.digest == digest), None)

    def holding(self, digest: str, now: datetime) -> PromptEntry:
        """Return the entry with this content among its versions; what is current stays.

        Content that the name had before keeps its old number: a version is its content, so swapping
        back and forth makes no new versions.
        """
        if self.number_of(digest) is not None:
            return self
        added = PromptVersion(version=self.newest + 1, digest=digest, published_at=now)
        return PromptEntry(versions=(*self.versions, added), current=self.current)

    def with_digest(self, digest: str, now: datetime) -> PromptEntry:
        """Return the entry with this content as its current version."""
        held = self.holding(digest, now)
        return PromptEntry(versions=held.versions, current=held.number_of(digest))


class Deleted(BaseModel):
    """What is left of a deleted prompt: numbers not to be used again, files that may be missing."""

    model_config = _FROZEN

    newest: int = Field(ge=1)
    digests: tuple[Digest, ...]


class StoreState(BaseModel):
    """One generation of a store: the whole of its state, and how it came to be.

    `parent` is the generation before it; `restores` the one whose content a rollback brought back;
    `deleted` holds what names lost, also of names that were published anew; `trials` are in the
    order of their names; `records` are of the last changes that were asked for by id.
    """

    model_config = _FROZEN

    format_version: Literal[1, 2, 3, 4, 5] = 1
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
    def has_priors(self) -> bool:
        """Whether some route's scores have a label prior taken off, which older releases lack."""
        return any(table.priors for table in self.routes)

    @property
    def answering(self) -> tuple[Mapping[str, int], tuple[RouteTable, ...]]:
        """What bare names mean, and the routes: what answers, trials aside."""
        current = {name: entry.current for name, entry in self.prompts.items() if entry.current}
        return current, self.routes

    def to_json(self) -> bytes:
        """Return the manifest."""
        # Without them, earlier releases can read it.
        unused: dict[str, Any] = {f: True for f in _LATER_FIELDS if not getattr(self, f)}
        if not self.has_priors:
            unused["routes"] = {"__all__": {"priors"}}
        return self.model_dump_json(indent=1, exclude=unused).encode()

    def resolve(self, reference: str) -> tuple[str, int, str]:
        """Return name, version and digest of "name" or "name@version".

        Raises:
            InvalidInput: the reference is malformed.
            NotFound: there is no such prompt or version.
        """
        name, number = parse_reference(reference)
        entry = self.entry(name)
        number = entry.current if number is None else number
        version = entry.version(number) if number is not None else None
        if version is None:
            raise NotFound(
                f"prompt {reference!r} has no such version in generation {self.generation}; "
                f"{name}@{entry.versions[0].version} to {name}@{entry.newest} exist"
            )
        return name, version.version, version.digest

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

    def generation_of(self, request_id: str | None) -> int:
        """Return the generation that a request made: this one, unless there is a record of it."""
        made = (each.generation for each in self.records if each.id == request_id)
        return next(made, self.generation)

    def recording(self, request: ChangeRequest, now: datetime) -> StoreState:
        """Return the same generation, with the record that this request made it."""
        return self._with(records=with_record(self.records, request, self.generation, now))

    def _with(self, **changes: Any) -> StoreState:
        """Return a changed copy in the format that can say what it holds."""
        changed = self.model_copy(update=changes)
        formats = [n for n, field in enumerate(_LATER_FIELDS, 2) if getattr(changed, field)]
        least = FORMAT_VERSION if changed.has_priors else max(formats, default=1)
        return changed.model_copy(update={"format_version": least})

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

    def entry(self, name: str) -> PromptEntry:
        """Return a name's entry.

        Raises:
            InvalidInput: the name is malformed.
            NotFound: there is no such name.
        """
        if (known := self.prompts.get(check_name(name))) is None:
            raise NotFound(
                f"no prompt {name!r} in generation {self.generation} of the store; there are: "
                f"{', '.join(sorted(self.prompts)) or 'none'}"
            )
        return known
