"""Publishes a scenario's prompts in turn over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from isogloss.deploy.load.clients import Question, ask
from isogloss.deploy.load.scenario import Scenario
from isogloss.deploy.load.server import Server
from isogloss.deploy.load.tally import Tally
from isogloss.deploy.load.wire import Connection


@dataclass
class Publisher:
    """Swaps to the next prompt when told to; every publish is accounted for."""

    server: Server
    scenario: Scenario
    tally: Tally = field(default_factory=Tally)
    published: int = 1
    """The first file is what the server begins with."""

    def __post_init__(self) -> None:
        self._connection = Connection(self.server.url)
        self.tally.began_s = self.server.began_s

    async def swap(self) -> bool:
        """Publish the next prompt; whether the server says that every replica serves it."""
        index = self.published % len(self.scenario.files)
        request = self.server.publish_request(self.scenario.name, self.scenario.files[index])

        def complaint(question: Question, body: bytes, began_s: float) -> str | None:
            answer = json.loads(body)
            if answer["prompt"]["digest"] != self.scenario.digests[index]:
                return f"published {self.scenario.digests[index]}: {body.decode()}"
            self.scenario.judge.publish_returned(time.perf_counter(), answer["generation"])
            return None

        self.server.note(f"publish of {self.scenario.prompts[index]}")
        reply = await ask(self._connection, Question(request, ()), self.tally, complaint)
        done = reply is not None and reply.status == 200
        if done:
            self.published += 1
        return done

    async def swaps(self, count: int, every_s: float = 0.0) -> None:
        """Publish so many times, one after the other; failures are accounted for and passed.

        Args:
            count: publishes.
            every_s: between the beginnings of two, where the first does not take longer.
        """
        for _ in range(count):
            due_s = time.perf_counter() + every_s
            if not await self.swap():
                await asyncio.sleep(0.1)
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))

    @asynccontextmanager
    async def every(self, seconds: float) -> AsyncIterator[None]:
        """Publish in such intervals while open."""
        stop = asyncio.Event()

        async def publish() -> None:
            due_s = time.perf_counter()
            while not stop.is_set():
                await self.swap()
                due_s = max(due_s + seconds, time.perf_counter())
                await asyncio.sleep(due_s - time.perf_counter())

        async with asyncio.TaskGroup() as group:
            group.create_task(publish())
            try:
                yield
            finally:
                stop.set()

    def close(self) -> None:
        """Close its connection."""
        self._connection.close()
