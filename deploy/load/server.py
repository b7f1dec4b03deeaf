"""The server under fire: `isogloss serve` as it is, in processes of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from isogloss.deploy.load.processes import (
    kill,
    processes,
    replicas,
    resident_bytes,
    role_of,
    title_of,
)
from isogloss.deploy.load.scenario import Scenario
from isogloss.deploy.load.servers import running
from isogloss.deploy.load.settings import ServerSettings
from isogloss.deploy.load.wire import Connection, NoAnswer, Reply, request_bytes
from isogloss.prompts.errors import Unavailable
from isogloss.serving.config import ADMIN_TOKEN_VARIABLE

_SETTLE_TIMEOUT_S = 120.0
_POLL_S = 0.1


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

    def replicas(self) -> list[Any]:
        """Processes that hold a replica, the oldest first."""
        return replicas(self.mark)

    def kill(self, process: Any) -> float:
        """SIGKILL; returns the time since the run began."""
        at_s = self.note(f"SIGKILL of {process.pid}")
        kill([process])
        return at_s

    def memory(self) -> dict[str, int]:
        """`role pid` -> resident bytes now, of each process that has not ended."""
        resident = {
            f"{role_of(title_of(each))} {each.pid}": resident_bytes(each)
            for each in processes(self.mark)
        }
        return {name: held for name, held in resident.items() if held}

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
        texts: Counter[str] = Counter()
        try:
            page = (await self.get("/metrics")).body.decode()
        except NoAnswer:
            return {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == "isogloss_prompt_texts_total":
                    texts[sample.labels["replica"]] += sample.value  # type: ignore[assignment]
        return dict(texts)

    def publish_request(self, name: str, data: bytes) -> bytes:
        """A request that publishes a prompt file."""
        headers = {"authorization": f"Bearer {self.token}"}
        return request_bytes("PUT", f"/v1/prompts/{name}", data, headers)


@contextlib.contextmanager
def serving(settings: ServerSettings, scenario: Scenario, scratch: Path) -> Iterator[Server]:
    """Run a server on the scenario's store while open.

    Raises:
        Unavailable: it did not start, or not all replicas are ready in time.
    """
    token = secrets.token_urlsafe(16)
    environment = {ADMIN_TOKEN_VARIABLE: token}
    with running(settings.command(scenario.store), scratch / "server", environment) as started:
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
        await asyncio.sleep(_POLL_S)
