"""Run one of the long runs by hand: `python -m isogloss.deploy.soak kills --seconds 30`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from isogloss.deploy.bench.options import check_writable
from isogloss.deploy.bench.report import progress
from isogloss.deploy.load.server import ServerSettings
from isogloss.deploy.load.swaps import SwapSettings, run_swaps
from isogloss.deploy.soak.ends import BLOWS, EndSettings, run_ends
from isogloss.deploy.soak.hostile import HostileSettings, run_hostile
from isogloss.deploy.soak.kills import KillSettings, run_kills
from isogloss.deploy.soak.memory import MemorySettings, run_memory
from isogloss.deploy.soak.overload import OverloadSettings, run_overload
from isogloss.deploy.soak.report import soak_report, tell
from isogloss.prompts.console.console import ReportingGroup

app = typer.Typer(cls=ReportingGroup, no_args_is_help=True, help=__doc__)

Model = Annotated[str, typer.Option(help="A pocket model.")]
Dtype = Annotated[str, typer.Option(help="As of isogloss serve.")]
Replicas = Annotated[int, typer.Option(min=1, help="Of the model.")]
Haproxy = Annotated[bool | None, typer.Option(help="In front. (default: where it is installed)")]
Out = Annotated[Path | None, typer.Option(help="Also write the JSON object here.")]


@app.command()
def swaps(
    swaps: Annotated[int, typer.Option(min=1, help="Publishes in all.")] = 1000,
    clients: Annotated[int, typer.Option(min=1, help="That ask all the time.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Phases with swaps.")] = 5,
    every_s: Annotated[float, typer.Option(min=0, help="Between publishes.")] = 0.25,
    model: Model = "pocket-bloom",
    dtype: Dtype = "auto",
    replicas: Replicas = 2,
    haproxy: Haproxy = None,
    out: Out = None,
) -> None:
    """Swap prompts under concurrent clients."""
    server = ServerSettings(model, dtype, replicas, haproxy)
    settings = SwapSettings(server, swaps, clients, rounds, every_s)
    _run("swaps", settings, run_swaps, out)


@app.command()
def kills(
    seconds: Annotated[float, typer.Option(min=1, help="Of load.")] = 120.0,
    every_s: Annotated[float, typer.Option(min=0.1, help="Between kills.")] = 10.0,
    share: Annotated[float, typer.Option(min=0.01, help="Of the rate that can be borne.")] = 0.2,
    model: Model = "pocket-bloom",
    dtype: Dtype = "auto",
    replicas: Replicas = 2,
    haproxy: Haproxy = None,
    out: Out = None,
) -> None:
    """Kill replicas under load."""
    server = ServerSettings(model, dtype, replicas, haproxy)
    _run("kills", KillSettings(server, seconds, every_s, share), run_kills, out)


@app.command()
def ends(
    times: Annotated[int, typer.Option(min=1, help="That each is done.")] = 3,
    only: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(BLOWS)}; may be repeated.")
    ] = None,
    model: Model = "pocket-bloom",
    dtype: Dtype = "auto",
    replicas: Replicas = 1,
    haproxy: Haproxy = None,
    out: Out = None,
) -> None:
    """Kill the command, parts of Ray, HAProxy, and the whole process group."""
    server = ServerSettings(model, dtype, replicas, haproxy)
    _run("ends", EndSettings(server, times, tuple(only or BLOWS)), run_ends, out)


@app.command()
def overload(
    seconds: Annotated[float, typer.Option(min=1, help="Of too much load.")] = 60.0,
    times: Annotated[float, typer.Option(min=1, help="The rate that can be borne.")] = 4.0,
    deadline_ms: Annotated[int, typer.Option(min=1, help="That requests name.")] = 1000,
    texts: Annotated[int, typer.Option(min=1, max=256, help="Of a request.")] = 16,
    probe_s: Annotated[float, typer.Option(min=1, help="Of each measurement before.")] = 10.0,
    model: Model = "pocket-bloom",
    dtype: Dtype = "auto",
    replicas: Replicas = 2,
    haproxy: Haproxy = None,
    out: Out = None,
) -> None:
    """Send more than can be borne."""
    server = ServerSettings(model, dtype, replicas, haproxy)
    settings = OverloadSettings(server, times, seconds, deadline_ms, texts, probe_s=probe_s)
    _run("overload", settings, run_overload, out)


@app.command()
def memory(
    minutes: Annotated[float, typer.Option(min=0.1, help="Of load.")] = 30.0,
    settle_minutes: Annotated[float, typer.Option(min=0, help="Not looked at.")] = 5.0,
    swap_every_s: Annotated[float, typer.Option(min=0.01, help="Between publishes.")] = 1.0,
    sample_every_s: Annotated[float, typer.Option(min=0.1, help="Between samples.")] = 5.0,
    share: Annotated[float, typer.Option(min=0.01, help="Of the rate that can be borne.")] = 0.5,
    model: Model = "pocket-bloom",
    dtype: Dtype = "auto",
    replicas: Replicas = 2,
    haproxy: Haproxy = None,
    out: Out = None,
) -> None:
    """Watch memory under load and swaps."""
    server = ServerSettings(model, dtype, replicas, haproxy)
    settings = MemorySettings(server, minutes, settle_minutes, swap_every_s, sample_every_s, share)
    _run("memory", settings, run_memory, out)


@app.command()
def hostile(
    bodies: Annotated[int, typer.Option(min=1, help="On each route that looks at one.")] = 100,
    model: Model = "pocket-bloom",
    dtype: Dtype = "auto",
    replicas: Replicas = 1,
    haproxy: Haproxy = None,
    out: Out = None,
) -> None:
    """Send hostile bodies beside another client."""
    server = ServerSettings(model, dtype, replicas, haproxy)
    _run("hostile", HostileSettings(server, bodies), run_hostile, out)


def _run(name: str, settings: Any, run: Any, out: Path | None) -> None:
    check_writable(out)
    # An interrupted run takes its server and folders with it, however it is told.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with progress() as say:
        result = run(settings, say)
    tell(soak_report(name, settings, result), out)


if __name__ == "__main__":
    app()
