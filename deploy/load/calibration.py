"""What every long run begins with: a server on a scenario, and how far rounding takes answers."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from isogloss.deploy.load.clients import ClosedLoop, Question
from isogloss.deploy.load.publisher import Publisher
from isogloss.deploy.load.scenario import LEAST_TEXTS, Scenario, prepare
from isogloss.deploy.load.server import Server, all_ready, serving
from isogloss.deploy.load.settings import ServerSettings
from isogloss.deploy.load.tally import Tally
from isogloss.prompts.errors import Unavailable

Say = Callable[[str], None]
Run = Callable[[Any, Server, Scenario, Say], Awaitable[dict[str, Any]]]
"""A long run, from its settings, a server, and what answers must be, to what was seen, as JSON."""

_CALIBRATION_S = 4.0
_CLIENTS = 16


def on_server(run: Run, settings: Any, say: Say = lambda line: None) -> dict[str, Any]:
    """Start a server (`settings.server`), run something on it, and stop it.

    Raises:
        IsoglossError: the server did not start, or the prompts cannot be told apart.
    """
    server: ServerSettings = settings.server
    with tempfile.TemporaryDirectory(prefix="isogloss-") as folder:
        say("computing what answers must be ...")
        scenario = prepare(server.model, server.dtype, Path(folder) / "store")
        say(f"starting {server.replicas} replicas ...")
        with serving(server, scenario, Path(folder)) as started:

            async def calibrated() -> dict[str, Any]:
                return await run(settings, started, await _calibrated(started, scenario), say)

            return asyncio.run(calibrated())


async def _calibrated(server: Server, scenario: Scenario) -> Scenario:
    """Wait for every replica, warm them up, and measure how far rounding takes answers apart.

    Returns:
        The scenario with the tolerance that this asks for, and the texts that tell prompts apart.

    Raises:
        Unavailable: a request or a publish fails.
        InvalidInput: on too few texts are the prompts further apart than rounding.
    """
    await all_ready(server)
    publisher, noise = Publisher(server, scenario), 0.0
    try:
        for _ in scenario.files:
            if not await publisher.swap():
                raise Unavailable(f"publishing failed: {publisher.tally.failures[-1].said}")
            noise = max(noise, await _noise(server, scenario))
    finally:
        publisher.close()
    judge = scenario.judge.calibrated(noise)
    server.events.clear()
    return replace(scenario, judge=judge, texts=judge.telling(scenario.texts, LEAST_TEXTS))


async def _noise(server: Server, scenario: Scenario) -> float:
    noise = 0.0

    def listen(question: Question, body: bytes, began_s: float) -> None:
        nonlocal noise
        noise = max(noise, scenario.judge.noise(question, body))

    tally = Tally(began_s=server.began_s)
    await ClosedLoop(server.url, scenario.questions(), _CLIENTS, tally, listen).for_seconds(
        _CALIBRATION_S / len(scenario.files)
    )
    if tally.failed:
        raise Unavailable(f"warming up: {tally.failures[0].said}")
    return noise
