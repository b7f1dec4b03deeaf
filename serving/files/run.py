"""A file's rows through whatever answers, in order, a few requests at a time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from isogloss.prompts.errors import InvalidInput, IsoglossError
from isogloss.serving.client.answering import ClassifyOptions, Outcome, answering, drive_async
from isogloss.serving.client.batches import batches
from isogloss.serving.client.in_order import in_order_async
from isogloss.serving.files.part import Part
from isogloss.serving.files.rows import Row, Table, added_to
from isogloss.serving.schemas import ClassifyRequest, ClassifyResponse

Ask = Callable[[ClassifyRequest], Awaitable[ClassifyResponse]]


class Watcher(Protocol):
    """Who is told how it goes."""

    def refused(self, place: str, error: IsoglossError) -> None:
        """A row has no answer."""

    def moved(self, rows: int, read: int) -> None:
        """So many rows are done, and so much of the file's `total` is read."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked of every row, and how."""

    options: ClassifyOptions
    concurrency: int
    """Requests at a time."""

    @property
    def abstain(self) -> bool:
        """Whether rows tell that their answer is abstained."""
        return self.options.get("abstain") is not None


async def answer_rows(table: Table, part: Part, ask: Ask, work: Work, watcher: Watcher) -> None:
    """Answer all rows that the part has not, and write them to it.

    Raises:
        IsoglossError: something that is about no row; what was done before is in the part.
    """

    async def answered(rows: Sequence[Row]) -> tuple[Sequence[Row], list[Outcome]]:
        return rows, await _outcomes(rows, ask, work.options)

    left = itertools.islice(table.rows(), part.progress.rows, None)
    batched = batches(left, lambda row: row.size)
    async with aclosing(in_order_async(batched, answered, work.concurrency)) as done:
        async for rows, outcomes in done:
            lines = [
                table.written(row, added_to(outcome, work.abstain))
                for row, outcome in zip(rows, outcomes, strict=True)
            ]
            part.append(b"".join(lines), len(rows), _told(rows, outcomes, watcher))
            watcher.moved(part.progress.rows, rows[-1].read)
            await asyncio.sleep(0)  # an interrupt comes through, also where nothing is asked


async def _outcomes(rows: Sequence[Row], ask: Ask, options: ClassifyOptions) -> list[Outcome]:
    texts = [row.text for row in rows if row.problem is None]
    found = iter((await drive_async(answering(texts, options), ask)).outcomes)
    return [next(found) if row.problem is None else InvalidInput(row.problem) for row in rows]


def _told(rows: Sequence[Row], outcomes: Sequence[Outcome], watcher: Watcher) -> int:
    """Tell of the rows without an answer; returns how many there are."""
    refused = 0
    for row, outcome in zip(rows, outcomes, strict=True):
        if isinstance(outcome, IsoglossError):
            watcher.refused(row.place, outcome)
            refused += 1
    return refused
