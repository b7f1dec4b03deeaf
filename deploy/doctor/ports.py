"""Ports: the server's own, and those that Ray and its replicas take."""

from __future__ import annotations

from collections.abc import Iterator

from isogloss.deploy.doctor.finding import Asked, Finding, fail, ok, warn
from isogloss.prompts.errors import IsoglossError
from isogloss.serving.ray.ports import are_free, check_port, free_port

OF_RAY = {6379: "Ray's head", 8265: "Ray's dashboard", 10001: "Ray Client"}
"""Those of a cluster that somebody starts; `isogloss serve` has others for its own Ray."""


def ports(asked: Asked) -> Iterator[Finding]:
    """Whether a server could listen now."""
    host, port = asked.settings.host, asked.settings.port
    try:
        check_port(host, port)
        yield ok(f"port {port}", f"nobody listens on {host} there")
    except IsoglossError as error:
        said, _, remedy = str(error).partition("; ")
        yield fail(f"port {port}", said, remedy)
    yield of_ray()


def of_ray() -> Finding:
    """Whether another Ray runs here, and whether ours finds ports."""
    try:
        free_port("127.0.0.1")
    except IsoglossError as error:
        return fail("Ray's ports", str(error), "end what listens there")
    taken = [f"{port} ({whose})" for port, whose in OF_RAY.items() if not are_free([port])]
    if not taken:
        return ok("Ray's ports", f"{', '.join(map(str, OF_RAY))} are free")
    said = f"somebody listens on {', '.join(taken)}: a Ray cluster may run here already"
    return warn("Ray's ports", said, "to serve on it, set RAY_ADDRESS=auto; else all is well")
