"""A name's place in a store: its versions, and the one that the bare name means."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

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
        place = number - self.versions[0].version
        return self.versions[place] if 0 <= place < len(self.versions) else None

    @property
    def newest(self) -> int:
        """The highest version's number."""
        return self.versions[-1].version

    def number_of(self, digest: str) -> int | None:
        """Return the version that has this content, or None."""
        return next((own.version for own in self.versions if own.digest == digest), None)

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
