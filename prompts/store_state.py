"""What a prompt store holds at one generation, and how a change turns it into the next.

Everything here is pure: values in, a new value out. `prompts.store` puts them on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from prompts.errors import InvalidInput, InvalidPrompt, NotFound
from prompts.routes import RouteTable, check_name, parse_reference
from prompts.soft_prompt import SoftPrompt

FORMAT_VERSION = 1

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

    `current` is None after a rollback to before the first version: the versions stay addressable as
    `name@version`, the bare name means nothing.
    """

    model_config = _FROZEN

    versions: tuple[PromptVersion, ...] = Field(min_length=1)
    current: int | None

    @model_validator(mode="after")
    def _versions_count_up(self) -> PromptEntry:
        numbers = [version.version for version in self.versions]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"versions are numbered {numbers}, not 1 to {len(numbers)}")
        if self.current is not None and self.current not in numbers:
            raise ValueError(f"current is version {self.current}, there are {numbers}")
        return self

    def version(self, number: int) -> PromptVersion | None:
        """Return one version, or None where there is none of this number."""
        return self.versions[number - 1] if 1 <= number <= len(self.versions) else None

    def with_digest(self, digest: str, now: datetime) -> PromptEntry:
        """Return the entry with this content as its current version.

        Content that the name had before becomes current again under its old number: a version is
        its content, so swapping back and forth makes no new versions.
        """
        for known in self.versions:
            if known.digest == digest:
                return PromptEntry(versions=self.versions, current=known.version)
        added = PromptVersion(version=len(self.versions) + 1, digest=digest, published_at=now)
        return PromptEntry(versions=(*self.versions, added), current=added.version)


class StoreState(BaseModel):
    """One generation of a store: the whole of its state, and how it came to be.

    `parent` is the generation before it; `restores` the one whose content a rollback brought back.
    """

    model_config = _FROZEN

    format_version: Literal[1] = 1
    generation: int = Field(ge=0)
    parent: int | None = None
    restores: int | None = None
    note: str = ""
    published_at: AwareDatetime | None = None  # None: generation 0, the empty store
    prompts: Mapping[str, PromptEntry] = Field(default_factory=dict)
    routes: tuple[RouteTable, ...] = ()

    def resolve(self, reference: str) -> tuple[str, int, str]:
        """Return name, version and digest of "name" or "name@version".

        Raises:
            InvalidInput: the reference is malformed.
            NotFound: there is no such prompt or version.
        """
        name, number = parse_reference(reference)
        entry = self.prompts.get(name)
        if entry is None:
            raise NotFound(
                f"no prompt {name!r} in generation {self.generation} of the store; there are: "
                f"{', '.join(sorted(self.prompts)) or 'none'}"
            )
        number = entry.current if number is None else number
        found = entry.version(number) if number is not None else None
        if found is None:
            raise NotFound(
                f"prompt {reference!r} has no such version in generation {self.generation}; "
                f"{name}@1 to {name}@{len(entry.versions)} exist"
            )
        return name, found.version, found.digest

    def routes_for(self, fingerprint: str, task: str) -> RouteTable | None:
        """Return the route table of a model (by fingerprint) and a task, or None."""
        return next((table for table in self.routes if table.key == (fingerprint, task)), None)

    def same_content(self, other: StoreState) -> bool:
        """Tell whether prompts and routes are equal."""
        return self.prompts == other.prompts and self.routes == other.routes

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
            entries[check_name(name)] = _entry(self.prompts.get(name), digest, now)
        changed = {name for name, entry in entries.items() if entry != self.prompts.get(name)}
        kept = [table.forgetting(table.answered_by(changed)) for table in self.routes]
        routes = _merged(kept, tables)
        following = StoreState(
            generation=self.generation + 1,
            parent=self.generation,
            note=note,
            published_at=now,
            prompts=entries,
            routes=routes,
        )
        new = {table.key for table in tables}
        for table in routes:
            if table.key in new or _names(table) & set(digests):
                _check_table(table, following, prompt_of)
        return following

    def rolled_back(self, target: StoreState, note: str, now: datetime) -> StoreState:
        """Return the next generation, with the current versions and routes of an earlier one.

        Versions published since stay addressable, and their numbers are never used again.
        """
        earlier = target.prompts
        entries = {
            name: PromptEntry(
                versions=entry.versions,
                current=earlier[name].current if name in earlier else None,
            )
            for name, entry in self.prompts.items()
        }
        return StoreState(
            generation=self.generation + 1,
            parent=self.generation,
            restores=target.restores or target.generation,
            note=note,
            published_at=now,
            prompts=entries,
            routes=target.routes,
        )


def _entry(known: PromptEntry | None, digest: str, now: datetime) -> PromptEntry:
    if known is not None:
        return known.with_digest(digest, now)
    first = PromptVersion(version=1, digest=digest, published_at=now)
    return PromptEntry(versions=(first,), current=1)


def _merged(old: Iterable[RouteTable], new: Sequence[RouteTable]) -> tuple[RouteTable, ...]:
    """Return the tables in a fixed order, a new one in place of an old one with its key."""
    replaced = {table.key: table for table in new}
    if len(replaced) < len(new):
        raise InvalidInput("routes: two of the route tables are for the same model and task")
    tables = {**{table.key: table for table in old}, **replaced}
    return tuple(tables[key] for key in sorted(tables))


def _names(table: RouteTable) -> set[str]:
    return {parse_reference(reference)[0] for reference in table.references}


def _check_table(
    table: RouteTable, state: StoreState, prompt_of: Callable[[str], SoftPrompt]
) -> None:
    """Require that a table's prompts exist, are for its model and task, and share their labels."""
    first: tuple[str, SoftPrompt] | None = None
    for reference in table.references:
        try:
            digest = state.resolve(reference)[2]
        except NotFound as error:
            raise InvalidPrompt(
                f"the routes of {table.model.id}, task {table.task!r}, choose {reference!r}: "
                f"{error}"
            ) from error
        prompt = prompt_of(digest)
        _check_member(table, reference, prompt)
        if first is None:
            first = reference, prompt
        _check_alike(reference, prompt, *first)


def _check_member(table: RouteTable, reference: str, prompt: SoftPrompt) -> None:
    card = prompt.card
    if card.model.fingerprint != table.model.fingerprint:
        raise InvalidPrompt(
            f"prompt {reference!r} is for {card.model.id} ({card.model.fingerprint}), but the "
            f"route table that chooses it is for {table.model.id} ({table.model.fingerprint}); "
            "publish it under a name of its own"
        )
    if card.task != table.task:
        raise InvalidPrompt(
            f"prompt {reference!r} is for task {card.task!r}, but the route table that chooses it "
            f"is for task {table.task!r}; publish it under a name of its own"
        )


def _check_alike(
    reference: str, prompt: SoftPrompt, first_reference: str, first: SoftPrompt
) -> None:
    """One request's labels cannot depend on its language: a table's prompts agree on them."""
    labels, expected = (
        [(label.label, label.token_id) for label in p.card.labels] for p in (prompt, first)
    )
    if labels != expected:
        raise InvalidPrompt(
            f"prompt {reference!r} has labels (and token ids) {labels}, but {first_reference!r} in "
            f"the same route table has {expected}; train both with the same labels and words"
        )
    if prompt.hidden_size != first.hidden_size:
        raise InvalidPrompt(
            f"prompt {reference!r} has hidden size {prompt.hidden_size}, but {first_reference!r} "
            f"in the same route table has {first.hidden_size}"
        )
