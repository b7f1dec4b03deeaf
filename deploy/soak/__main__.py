"""Run one of the long runs by hand: `python -m isogloss.deploy.soak kills --seconds 30`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import typer

from isogloss.deploy.bench.options import Out, as_command, check_writable, progress
from isogloss.deploy.load.calibration import on_server
from isogloss.deploy.soak.ends import EndSettings, run_ends
from isogloss.deploy.soak.hostile import HostileSettings, run_hostile
from isogloss.deploy.soak.kills import KillSettings, run_kills
from isogloss.deploy.soak.memory import MemorySettings, run_memory
from isogloss.deploy.soak.overload import OverloadSettings, run_overload
from isogloss.deploy.soak.report import soak_report, tell
from isogloss.prompts.console.console import ReportingGroup

app = typer.Typer(cls=ReportingGroup, no_args_is_help=True, help=__doc__)


@app.command()
@as_command
def kills(settings: KillSettings, out: Out = None) -> None:
    """Kill replicas under load."""
    _run("kills", settings, partial(on_server, run_kills), out)


@app.command()
@as_command
def ends(settings: EndSettings, out: Out = None) -> None:
    """Kill the command, parts of Ray, HAProxy, and the whole process group."""
    _run("ends", settings, run_ends, out)


@app.command()
@as_command
def overload(settings: OverloadSettings, out: Out = None) -> None:
    """Send more than can be borne."""
    _run("overload", settings, partial(on_server, run_overload), out)


@app.command()
@as_command
def memory(settings: MemorySettings, out: Out = None) -> None:
    """Sample memory under load and swaps."""
    _run("memory", settings, partial(on_server, run_memory), out)


@app.command()
@as_command
def hostile(settings: HostileSettings, out: Out = None) -> None:
    """Send hostile bodies beside another client."""
    _run("hostile", settings, partial(on_server, run_hostile), out)


def _run(name: str, settings: Any, run: Callable[..., dict[str, Any]], out: Path | None) -> None:
    check_writable(out)
    with progress() as say:
        result = run(settings, say)
    tell(soak_report(name, settings, result), out)


if __name__ == "__main__":
    app()
