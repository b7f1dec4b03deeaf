"""Ray Serve on a cluster that others use too: whether ours can go beside what runs there.

Everything here decides; `serving.ray.deployment` does it. Run as a program, with an address, it
takes our application off a cluster, for a command that was killed.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from isogloss.prompts.errors import Unavailable
from isogloss.serving.config import ServingSettings

APPLICATION = "isogloss"
ROOT = "/"
_PATIENCE_S = 60.0  # others may be about to end, and what is free is told with delay
_POLL_S = 1.0
_ELSEWHERE = "unset RAY_ADDRESS to serve on this machine alone"
_LOOPBACK = {"localhost": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class RunningServe:
    """What Ray Serve on the cluster does before we come."""

    host: str
    port: int
    takes_http: bool = True
    machines: tuple[str, ...] = ()
    """Addresses of those that take requests."""
    applications: Mapping[str, str | None] = field(default_factory=dict)
    """Their route prefixes."""


def fitted(settings: ServingSettings, running: RunningServe, *, claimed: bool) -> ServingSettings:
    """Return the settings with the port that Serve listens on; nothing of others is changed.

    Args:
        settings: of the server that is to start.
        running: what is there.
        claimed: whether a command that serves holds this cluster's place of our application.

    Raises:
        Unavailable: there is no place for it; says what is in the way.
    """
    if (refusal := _taken(running, claimed) or _unreachable(settings, running)) is not None:
        raise Unavailable(f"{refusal}, or {_ELSEWHERE}")
    return settings.model_copy(update={"port": running.port})


def _taken(running: RunningServe, claimed: bool) -> str | None:
    if claimed:
        return "another `isogloss serve` runs on this Ray cluster; stop that one first"
    if APPLICATION in running.applications:
        return (
            f"this Ray cluster has an application named {APPLICATION}, deployed otherwise or left "
            "by a command that was killed; remove it with "
            f"`python -c \"from ray import serve; serve.delete('{APPLICATION}')\"`"
        )
    for name, prefix in running.applications.items():
        if prefix == ROOT:
            return (
                f"the application {name!r} of this Ray cluster answers at {ROOT}, where ours "
                "would; deploy it under a route prefix of its own"
            )
    return None


def _unreachable(settings: ServingSettings, running: RunningServe) -> str | None:
    if not running.takes_http:
        return (
            "Ray Serve runs on this cluster without HTTP (proxy location Disabled); start it with "
            "HTTP"
        )
    asked = (_address(settings.host), settings.port or running.port)
    if asked == (_address(running.host), running.port):
        return None
    return (
        f"port {asked[1]} on {settings.host}: Ray Serve of this cluster listens on port "
        f"{running.port} on {running.host} and nowhere else; give --host {running.host} --port "
        f"{running.port}"
    )


def _address(host: str) -> str:
    return _LOOPBACK.get(host, host)


def wait_for_room(
    demand: Mapping[str, float],
    free: Callable[[], Mapping[str, float]],
    say: Callable[[str], None],
    *,
    patience_s: float = _PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the cluster has what our replicas need.

    Raises:
        Unavailable: it has not, within `patience_s`.
    """
    give_up_s = clock() + patience_s
    told = False
    while short := _short(demand, free()):
        if clock() >= give_up_s:
            raise Unavailable(
                f"the Ray cluster has no room for the replicas: {short}; free some (`ray status` "
                f"shows who holds them), give fewer --replicas, or {_ELSEWHERE}"
            )
        if not told:
            say(f"waiting up to {patience_s:.0f} s for room on the cluster: {short} ...")
            told = True
        sleep(_POLL_S)


def _short(demand: Mapping[str, float], free: Mapping[str, float]) -> str:
    return ", ".join(
        f"{needed:g} {what} needed and {free.get(what, 0):g} free"
        for what, needed in demand.items()
        if needed > free.get(what, 0)
    )


def removal_command(address: str) -> Sequence[str]:
    """The command that takes our application off a cluster."""
    return (sys.executable, "-P", "-m", "isogloss.serving.ray.shared_cluster", address)


def remove(address: str) -> None:
    """Delete our application from the cluster at an address, and nothing else."""
    import ray
    from ray import serve

    ray.init(address, namespace=APPLICATION, log_to_driver=False, logging_level=logging.ERROR)
    serve.delete(APPLICATION)


if __name__ == "__main__":
    remove(*sys.argv[1:])
