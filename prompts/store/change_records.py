"""Changes made once: what was asked for under which id, kept in the store's own history.

Whoever gets no answer asks again, and the second request may reach another server, or arrive when
others have changed the store since. The id alone does not tell whether it was done: each generation
carries what was asked for under the last ids and which generation that made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from isogloss.prompts.console.refusals import shown
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.store.numbering import MAX_GENERATION

RECORDS_KEPT = 128
RECORDS_KEPT_FOR = timedelta(days=1)
"""An id means nothing any more after so many further ones, or after that long."""
MAX_ID_CHARS = 64
MAX_TARGET_CHARS = 200


@dataclass(frozen=True)
class ChangeRequest:
    """A change that somebody asks for under an id, to be made once however often it is asked."""

    id: str
    operation: str
    target: str
    """What it is made to, in words that differ wherever the outcome would."""

    def __str__(self) -> str:
        return f"{self.operation} {self.target}"


def requested(request_id: str | None, operation: str, target: str) -> ChangeRequest | None:
    """Return a change to be made once; None without an id, for nothing then tells it from others.

    Raises:
        InvalidInput: the id is too long.
    """
    if not request_id:
        return None
    if len(request_id) > MAX_ID_CHARS:
        raise InvalidInput(
            f"request id {shown(request_id)}: {len(request_id)} characters are too many, at most "
            f"{MAX_ID_CHARS} are allowed"
        )
    return ChangeRequest(request_id, operation, target)


def short_hash(text: str) -> str:
    """Return 16 hex digits that stand for what is too long for a record."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class ChangeRecord(BaseModel):
    """A change that was made, and the generation it made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
    operation: Annotated[str, Field(max_length=MAX_ID_CHARS)]
    target: Annotated[str, Field(max_length=MAX_TARGET_CHARS)]
    generation: Annotated[int, Field(ge=1, le=MAX_GENERATION)]
    made_at: AwareDatetime


def find(
    records: Iterable[ChangeRecord], request: ChangeRequest, now: datetime
) -> ChangeRecord | None:
    """Return the record of a change that was made already, None where its id is new.

    Raises:
        InvalidInput: the id stands for another change.
    """
    for record in records:
        if record.id == request.id and not _expired(record, now):
            if (record.operation, record.target) == (request.operation, request.target):
                return record
            raise InvalidInput(
                f"request id {request.id!r} stands for {record.operation} {record.target}, which "
                f"made generation {record.generation}, and cannot stand for {request} too; send "
                "that under an id of its own"
            )
    return None


def with_record(
    records: Iterable[ChangeRecord], request: ChangeRequest, generation: int, now: datetime
) -> tuple[ChangeRecord, ...]:
    """Return the records with one more, the newest last."""
    made = ChangeRecord(
        id=request.id,
        operation=request.operation,
        target=request.target,
        generation=generation,
        made_at=now,
    )
    return (*(record for record in records if record.id != request.id), made)[-RECORDS_KEPT:]


def unexpired(records: Iterable[ChangeRecord], now: datetime) -> tuple[ChangeRecord, ...]:
    """Return the records whose ids still mean something."""
    return tuple(record for record in records if not _expired(record, now))


def _expired(record: ChangeRecord, now: datetime) -> bool:
    return now - record.made_at > RECORDS_KEPT_FOR
