"""What every long run begins with: a stage, a server on it, and how far rounding takes answers."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from isogloss.deploy.load.publisher import calibrate
from isogloss.deploy.load.server import Server, ServerSettings, serving
from isogloss.deploy.load.stage import Stage, prepare

Say = Callable[[str], None]
Run = Callable[[Server, Stage], Awaitable[dict[str, Any]]]


def play(settings: ServerSettings, say: Say, run: Run) -> dict[str, Any]:
    """Start a server, run something on it, and stop it; what the run returns.

    Raises:
        IsoglossError: the server did not start, or the prompts cannot be told apart.
    """
    with tempfile.TemporaryDirectory(prefix="isogloss-") as folder:
        say("computing what answers must be ...")
        stage = prepare(settings.model, settings.dtype, Path(folder) / "store")
        say(f"starting {settings.replicas} replicas ...")
        with serving(settings, stage, Path(folder)) as server:

            async def calibrated() -> dict[str, Any]:
                return await run(server, await calibrate(server, stage))

            return asyncio.run(calibrated())
