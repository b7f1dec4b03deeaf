"""Ray Serve on a cluster that others use too: what is there, and whether ours can go beside it.

Everything here decides; `serving.ray.deployment` does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from isogloss.prompts.errors import Unavailable
from isogloss.serving.config import ServingSettings

APPLICATION = "isogloss"
ROOT = "/"
_ROOM_S = 60.0  # others may be about to end, and what is free is told with delay
_LOOK_S = 1.0
_ELSEWHERE = "unset RAY_ADDRESS to serve on this machine alone"
_LOOPBACK = {"localhost": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Found:
    """What Ray Serve on the cluster does before we come."""

    host: str
    port: int
    takes_http: bool = True
    machines: tuple[str, ...] = ()
    """Addresses of those that take requests."""
    applications: Mapping[str, str | None] = field(default_factory=dict)
    """Their route prefixes."""


def fitted(settings: ServingSettings, found: Found, *, claimed: bool) -> ServingSettings:
    """Return the settings with the port that Serve listens on; nothing of others is changed.

    Args:
        settings: of the server that is to start.
        found: what is there.
        claimed: whether a command that serves holds this cluster's place of our application.

    Raises:
        Unavailable: there is no place for it; says what is in the way.
    """
    if (refusal := _taken(found, claimed) or _unreachable(settings, found)) is not None:
        raise Unavailable(f"{refusal}, or {_ELSEWHERE}")
    return settings.model_copy(update={"port": found.port})


def _taken(found: Found, claimed: bool) -> str | None:
    if claimed:
        return "another `isogloss serve` runs on this Ray cluster; stop that one first"
    if APPLICATION in found.applications:
        return (
            f"this Ray cluster has an application named {APPLICATION}, deployed otherwise or left "
            "by a command that was killed; remove it with "
            f"`python -c \"from ray import serve; serve.delete('{APPLICATION}')\"`"
        )
    for name, prefix in found.applications.items():
        if prefix == ROOT:
            return (
                f"the application {name!r} of this Ray cluster answers at {ROOT}, where ours "
                "would; deploy it under a route prefix of its own"
            )
    return None


def _unreachable(settings: ServingSettings, found: Found) -> str | None:
    if not found.takes_http:
        return (
            "Ray Serve runs on this cluster without HTTP (proxy location Disabled); start it with "
            "HTTP"
        )
    asked = (_address(settings.host), settings.port or found.port)
    if asked == (_address(found.host), found.port):
        return None
    return (
        f"port {asked[1]} on {settings.host}: Ray Serve of this cluster listens on port "
        f"{found.port} on {found.host} and nowhere else; give --host {found.host} --port "
        f"{found.port}"
    )


def _address(host: str) -> str:
    return _LOOPBACK.get(host, host)


def urls(host: str, port: int, machines: tuple[str, ...] = ()) -> list[str]:
    """Where a server may answer: on this machine, or where it listens everywhere on another."""
    if host not in ("0.0.0.0", "::"):
        return [f"http://{_bracketed(host)}:{port}"]
    here = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return [f"http://{_bracketed(each)}:{port}" for each in (here, *machines)]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def wait_for_room(
    demand: Mapping[str, float],
    free: Callable[[], Mapping[str, float]],
    say: Callable[[str], None],
    *,
    patience_s: float = _ROOM_S,
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
        sleep(_LOOK_S)


def _short(demand: Mapping[str, float], free: Mapping[str, float]) -> str:
    return ", ".join(
        f"{needed:g} {what} needed and {free.get(what, 0):g} free"
        for what, needed in demand.items()
        if needed > free.get(what, 0)
    )
