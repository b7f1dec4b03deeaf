"""Publishes a stage's prompts in turn over HTTP, and measures a server's own rounding."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from isogloss.deploy.load.clients import ClosedLoop, Question, ask
from isogloss.deploy.load.server import Server, all_ready
from isogloss.deploy.load.stage import LEAST_TEXTS, Stage
from isogloss.deploy.load.tally import Tally
from isogloss.deploy.load.wire import Connection
from isogloss.prompts.errors import Unavailable

_CALIBRATION_S = 4.0
_CLIENTS = 16


@dataclass
class Publisher:
    """Swaps to the next prompt when told to; every publish is accounted for."""

    server: Server
    stage: Stage
    tally: Tally = field(default_factory=Tally)
    turn: int = 1  # the first file is what the server begins with

    def __post_init__(self) -> None:
        self._connection = Connection(self.server.url)
        self.tally.began_s = self.server.began_s

    async def swap(self) -> bool:
        """Publish the next prompt; whether the server says that every replica serves it."""
        place = self.turn % len(self.stage.files)
        request = self.server.publish_request(self.stage.name, self.stage.files[place])

        def complaint(question: Question, body: bytes, began_s: float) -> str | None:
            answer = json.loads(body)
            if answer["prompt"]["digest"] != self.stage.digests[place]:
                return f"published {self.stage.digests[place]}: {body.decode()}"
            self.stage.judge.publish_returned(time.perf_counter(), answer["generation"])
            return None

        self.server.note(f"publish of {self.stage.prompts[place]}")
        reply = await ask(self._connection, Question(request, ()), self.tally, complaint)
        done = reply is not None and reply.status == 200
        if done:
            self.turn += 1
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


async def calibrate(server: Server, stage: Stage) -> Stage:
    """Wait for every replica, warm them up, and measure how far rounding takes answers apart.

    Returns:
        The stage with the tolerance that this asks for, and the texts that tell prompts apart.

    Raises:
        Unavailable: a request or a publish fails.
        InvalidInput: on too few texts are the prompts further apart than rounding.
    """
    await all_ready(server)
    publisher, noise = Publisher(server, stage), 0.0
    try:
        for _ in stage.files:
            if not await publisher.swap():
                raise Unavailable(f"publishing failed: {publisher.tally.failures[-1].said}")
            noise = max(noise, await _noise(server, stage))
    finally:
        publisher.close()
    judge = stage.judge.calibrated(noise)
    server.events.clear()
    return replace(stage, judge=judge, texts=judge.telling(stage.texts, LEAST_TEXTS))


async def _noise(server: Server, stage: Stage) -> float:
    noise = 0.0

    def listen(question: Question, body: bytes, began_s: float) -> None:
        nonlocal noise
        noise = max(noise, stage.judge.noise(question, body))

    tally = Tally(began_s=server.began_s)
    await ClosedLoop(server.url, stage.questions(), _CLIENTS, tally, listen).for_seconds(
        _CALIBRATION_S / len(stage.files)
    )
    if tally.failed:
        raise Unavailable(f"warming up: {tally.failures[0].said}")
    return noise
