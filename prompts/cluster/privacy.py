"""The Ray that a command starts for itself is for this machine, and for its user.

Whoever reaches one of Ray's ports with its token, or one of its sockets, runs code as the user who
started it, and reads the admin token. So nothing of it listens beyond the loopback interface, its
token is the command's own, and its files are nobody else's (`folders`). What Ray has no setting for
is replaced for the version that is pinned; a test asks a real server what it listens on.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import ipaddress
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's name for a cluster of several machines: without it, everything binds to 127.0.0.1."""
_TOKEN_FILE = "ray-token"


def private_variables(folder: Path) -> dict[str, str]:
    """What keeps Ray's processes to this machine and this user.

    Args:
        folder: one that only this user can enter; the token is written there.
    """
    token = folder / _TOKEN_FILE
    with open(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return {
        _ONE_MACHINE: "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
    }


def read_variables_again() -> None:
    """Have Ray, which reads them once, follow the environment as it is now.

    A process may start one Ray after another, or join a cluster after it had its own.
    """
    raylet: Any = importlib.import_module("ray._raylet")
    constants: Any = importlib.import_module("ray._private.ray_constants")
    constants.ENABLE_RAY_CLUSTER = os.environ.get(_ONE_MACHINE, "1") != "0"
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """While open, Ray's processes get process groups of their own.

    Whoever ends a group, a terminal or a supervisor, then ends this process alone, which ends the
    rest in order: a cluster that ends under a server takes all its requests with it.
    """
    services: Any = importlib.import_module("ray._private.services")
    theirs = services.ConsolePopen
    services.ConsolePopen = functools.partial(theirs, process_group=0)
    try:
        yield
    finally:
        services.ConsolePopen = theirs


def listen_where_ray_does() -> None:
    """Keep this replica's port for other replicas to this machine, if Ray's own are.

    Requests between replicas are pickled. Ray Serve lets every interface in, whatever Ray does; it
    opens the port once the replica has been built.
    """
    import ray

    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    if not ipaddress.ip_address(address).is_loopback:
        return
    replica: Any = importlib.import_module("ray.serve._private.replica")
    listen = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, anywhere: listen(
        server, anywhere.replace("[::]", address)
    )
