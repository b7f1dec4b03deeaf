"""The server's end, however it comes: the command killed, Ray's parts, HAProxy, the whole group.

Each blow is dealt to a server of its own. What it ends must end soon and leave nothing: no process,
and nobody on the port. What does not end must answer again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import urlsplit

import psutil
from typer import Option

from isogloss.deploy.bench.options import REPEATED
from isogloss.deploy.load.calibration import Say
from isogloss.deploy.load.processes import kill, processes, role_of, title_of
from isogloss.deploy.load.scenario import prepare
from isogloss.deploy.load.servers import Running, running
from isogloss.deploy.load.settings import ServerSettings
from isogloss.prompts.errors import InvalidInput, Unavailable
from isogloss.serving.ray.ports import are_free

_POLL_S = 0.02
_PATIENCE_S = 120.0
Strike = Callable[[Running], None]


def _of_the_command(number: signal.Signals) -> Strike:
    return lambda server: server.process.send_signal(number)


def _of_the_group(number: signal.Signals) -> Strike:
    return lambda server: os.killpg(server.process.pid, number)


def _of_everything(server: Running) -> None:
    for process in processes(server.mark):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()


def _of_a_part(name: str) -> Strike:
    """SIGKILL of the processes whose program has this name."""

    def strike(server: Running) -> None:
        found = parts(server, name)
        if not found:
            raise Unavailable(f"the server has no process {name!r} that could be killed")
        kill(found)

    return strike


def parts(server: Running, name: str) -> list[Any]:
    """The server's processes whose program, or Ray's title of it, is this one."""
    return [process for process in processes(server.mark) if _program(process) == name]


def _program(process: Any) -> str:
    title = title_of(process)
    return "haproxy" if role_of(title) == "haproxy" else title.split(" ")[0].rpartition("/")[2]


HAPROXY_ACTOR = "ray::SupervisedHAProxy"
"""Ray's title of the actor that `serving.ray.hooks.haproxy_actor` installs."""
BLOWS: Mapping[str, Strike] = MappingProxyType(
    {
        "SIGKILL of the command": _of_the_command(signal.SIGKILL),
        "SIGTERM to the group": _of_the_group(signal.SIGTERM),
        "SIGINT to the group": _of_the_group(signal.SIGINT),
        "SIGTERM to every process": _of_everything,
        "SIGTERM to the command": _of_the_command(signal.SIGTERM),
        "SIGKILL of the GCS": _of_a_part("gcs_server"),
        "SIGKILL of the raylet": _of_a_part("raylet"),
        "SIGKILL of HAProxy": _of_a_part("haproxy"),
        "SIGKILL of HAProxy's actor": _of_a_part(HAPROXY_ACTOR),
    }
)
_SURVIVED = ("SIGKILL of HAProxy", "SIGKILL of HAProxy's actor")


@dataclass(frozen=True)
class EndSettings:
    """What is done."""

    server: ServerSettings = field(default_factory=lambda: ServerSettings(replicas=1))
    times: Annotated[int, Option(min=1, help="That each is done.")] = 3
    blows: Annotated[
        tuple[str, ...],
        Option("--only", help=f"One of {', '.join(BLOWS)}; may be repeated."),
        REPEATED,
    ] = tuple(BLOWS)

    def __post_init__(self) -> None:
        for blow in self.blows:
            if blow not in BLOWS:
                raise InvalidInput(f"only {blow!r}: is none of {', '.join(BLOWS)}")


def run_ends(settings: EndSettings, say: Say = lambda line: None) -> dict[str, Any]:
    """Run it; what was seen, as JSON.

    Raises:
        IsoglossError: a server did not start.
    """
    with tempfile.TemporaryDirectory(prefix="isogloss-") as folder:
        scratch = Path(folder)
        scenario = prepare(settings.server.model, settings.server.dtype, scratch / "store")
        command = settings.server.command(scenario.store)
        seen: dict[str, list[dict[str, Any]]] = {blow: [] for blow in settings.blows}
        for round_ in range(settings.times):
            for blow in settings.blows:
                say(f"{blow}, {round_ + 1} of {settings.times} ...")
                seen[blow].append(_once(blow, command, scratch / "server"))
    return {"model": settings.server.model, "blows": seen, "longest": summary(seen)}


def _once(blow: str, command: Sequence[str], scratch: Path) -> dict[str, Any]:
    with running(command, scratch) as server:
        # It answers a moment before it has started, and what ends it then ends a start.
        _wait_until(lambda: b"ready after" in (scratch / "server.log").read_bytes())
        before = set(parts(server, "haproxy"))
        began_s = time.perf_counter()
        BLOWS[blow](server)
        if blow in _SURVIVED:
            return {"answers_s": _answers_again(server, before, began_s)}
        return _ended(server, began_s)


def _answers_again(server: Running, before: set[Any], began_s: float) -> float:
    """Seconds until another HAProxy answers."""
    _wait_until(lambda: bool(set(parts(server, "haproxy")) - before) and _is_well(server.url))
    return _since(began_s)


def _is_well(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _ended(server: Running, began_s: float) -> dict[str, Any]:
    """Seconds until the command has ended, the port is free, and nothing is left."""
    port = urlsplit(server.url).port or 0
    done: dict[str, float] = {}
    conditions: dict[str, Callable[[], bool]] = {
        "exit_s": lambda: server.process.poll() is not None,
        "port_free_s": lambda: are_free([port]),
        "gone_s": lambda: not processes(server.mark),
    }

    def all_done() -> bool:
        for name, is_done in conditions.items():
            if name not in done and is_done():
                done[name] = _since(began_s)
        return len(done) == len(conditions)

    left = [] if _wait_until(all_done, raises=False) else processes(server.mark)
    return {**done, "exit_code": server.process.poll(), "processes_left": len(left)}


def _wait_until(is_done: Callable[[], bool], raises: bool = True) -> bool:
    gives_up_s = time.perf_counter() + _PATIENCE_S
    while not is_done():
        if time.perf_counter() > gives_up_s:
            if raises:
                raise Unavailable(f"the server does not answer after {_PATIENCE_S:g} s")
            return False
        time.sleep(_POLL_S)
    return True


def _since(began_s: float) -> float:
    return round(time.perf_counter() - began_s, 2)


def summary(seen: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The longest of each time, and all exit codes; the median of what is answered again."""
    longest: dict[str, dict[str, Any]] = {}
    for blow, runs in seen.items():
        names = sorted({name for run in runs for name in run if name.endswith("_s")})
        longest[blow] = {name: max(run.get(name, _PATIENCE_S) for run in runs) for name in names}
        if any("answers_s" in run for run in runs):
            longest[blow]["answers_median_s"] = statistics.median(run["answers_s"] for run in runs)
        else:
            longest[blow]["exit_codes"] = sorted({run["exit_code"] for run in runs})
            longest[blow]["processes_left"] = max(run["processes_left"] for run in runs)
    return longest
