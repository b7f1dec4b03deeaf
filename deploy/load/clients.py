"""Load from many connections of one process: closed loops, and open loops at a given rate."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from isogloss.deploy.load.tally import NO_ANSWER, WRONG, Tally
from isogloss.deploy.load.wire import Connection, NoAnswer, Reply


@dataclass(frozen=True, slots=True)
class Question:
    """One request, and what it is about."""

    request: bytes
    texts: tuple[str, ...]


Check = Callable[[Question, bytes, float], str | None]
"""What is wrong with the body of a 200 whose request was sent at a time; None if nothing is."""


def accept(question: Question, body: bytes, began_s: float) -> str | None:
    """Take any answer."""
    return None


async def ask(
    connection: Connection, question: Question, tally: Tally, check: Check = accept
) -> Reply | None:
    """Send one request and account for it; None where there was no answer."""
    tally.sent += 1
    began_s = time.perf_counter()
    try:
        reply = await connection.ask(question.request)
    except NoAnswer as problem:
        tally.note(NO_ANSWER, time.perf_counter() - began_s, str(problem))
        return None
    took_s = time.perf_counter() - began_s
    wrong = check(question, reply.body, began_s) if reply.status == 200 else None
    if wrong is not None:
        tally.note(WRONG, took_s, wrong)
    else:
        said = "" if reply.status == 200 else reply.body.decode(errors="replace")
        tally.note(reply.status, took_s, said)
    return reply


@dataclass
class ClosedLoop:
    """So many clients, each of which asks again when it is answered."""

    url: str
    questions: Sequence[Question]
    clients: int
    tally: Tally
    check: Check = accept
    _next: Iterator[Question] = field(init=False)

    def __post_init__(self) -> None:
        self._next = itertools.cycle(self.questions)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load while open; every request that was sent is answered when it closes."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as clients:
            for _ in range(self.clients):
                clients.create_task(self._client(stop))
            try:
                yield
            finally:
                stop.set()

    async def for_seconds(self, seconds: float) -> float:
        """Load for a while; returns the answers with status 200 a second."""
        began_s = time.perf_counter()
        before = self.tally.statuses[200]
        async with self.running():
            await asyncio.sleep(seconds)
        return (self.tally.statuses[200] - before) / (time.perf_counter() - began_s)

    async def _client(self, stop: asyncio.Event) -> None:
        connection = Connection(self.url)
        try:
            while not stop.is_set():
                reply = await ask(connection, next(self._next), self.tally, self.check)
                if reply is None or reply.status != 200:
                    await asyncio.sleep(0.01)  # a client that is refused does not spin
        finally:
            connection.close()


@dataclass
class OpenLoop:
    """Requests at a given rate, however long answers take; connections are opened as needed."""

    url: str
    questions: Sequence[Question]
    per_s: float
    tally: Tally
    check: Check = accept
    gaps_s: Iterator[float] | None = None
    """Seconds before each request; None: all alike, by the rate."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load while open; every request that was sent is answered when it closes."""
        stop = asyncio.Event()
        idle: list[Connection] = []
        async with asyncio.TaskGroup() as under_way:
            under_way.create_task(self._send(under_way, idle, stop))
            try:
                yield
            finally:
                stop.set()
        for connection in idle:
            connection.close()

    async def _send(
        self, under_way: asyncio.TaskGroup, idle: list[Connection], stop: asyncio.Event
    ) -> None:
        questions, due_s = itertools.cycle(self.questions), time.perf_counter()
        for gap_s in self.gaps_s or itertools.repeat(1 / self.per_s):
            due_s += gap_s
            # Sleeping for no time at all still lets answers be read.
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            if stop.is_set():
                return
            self.tally.late_s.append(max(0.0, time.perf_counter() - due_s))
            connection = idle.pop() if idle else Connection(self.url)
            under_way.create_task(self._one(connection, next(questions), idle))

    async def _one(
        self, connection: Connection, question: Question, idle: list[Connection]
    ) -> None:
        await ask(connection, question, self.tally, self.check)
        idle.append(connection)
