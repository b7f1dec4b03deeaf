"""The Ray that a server on this machine starts for itself: for this machine, and for its user.

Whoever reaches one of Ray's ports with its token, or one of its sockets, runs code as the user who
started it, and reads the admin token. So nothing of it listens beyond the loopback interface, its
token is the server's own, and its files are nobody else's. The ways into Ray's internals are here,
for the version that is pinned; a test asks a real server what it listens on.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import ipaddress
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TOKEN_FILE = "ray-token"
_PATIENCE_S = 1.0
_PATIENCE_WITH_OTHERS_S = 10.0
_NEEDED = ("gcs_server", "raylet")
"""Without one of these nothing works; the rest are logs and metrics."""


def private_variables(scratch: Path) -> dict[str, str]:
    """What keeps Ray's processes to this machine and this user; to be set before Ray is imported.

    Args:
        scratch: a folder that only this user can enter.
    """
    token = scratch / _TOKEN_FILE
    with open(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return {
        # Ray's name for a cluster of one machine: with it, everything binds to 127.0.0.1.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
    }


def forget_token() -> None:
    """Have Ray read its token again: a process may start one server after another."""
    raylet: Any = importlib.import_module("ray._raylet")
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


def close_session_folder() -> None:
    """Keep others out of the folder of Ray's sockets and logs, which Ray opens to everybody."""
    os.chmod(_node().get_session_dir_path(), 0o700)


def listen_where_ray_does() -> None:
    """Keep this replica's port for other replicas to this machine, if Ray's own are.

    Requests between replicas are pickled. Ray Serve lets every interface in, whatever Ray does; it
    opens the port once the replica has been built.
    """
    import ray

    replica: Any = importlib.import_module("ray.serve._private.replica")
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    if not ipaddress.ip_address(address).is_loopback:
        return
    listen = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, anywhere: listen(
        server, anywhere.replace("[::]", address)
    )


def abandon(exit_code: int) -> None:
    """Have this process leave without Ray's leave, for which it waits a minute once there is none.

    Args:
        exit_code: that the process ends with, whenever it does.
    """
    from ray._private import worker

    sys.excepthook = worker.normal_excepthook  # Ray's own tells the cluster first
    atexit.register(_leave, exit_code)  # the last one that is registered is the first one called


def _leave(exit_code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def missing_parts() -> list[str]:
    """What of the cluster has gone that nothing works without."""
    node = _node()
    if node is None:
        return []
    if not node.all_processes:  # others started it
        return [] if _listens(node.gcs_address) else ["its GCS"]
    dead = [name for name, _ in node.dead_processes()]
    return [name for name in _NEEDED if name in dead]


def patience_s() -> float:
    """How long something may be missing: what this process started does not come back by itself."""
    node = _node()
    return _PATIENCE_S if node is not None and node.all_processes else _PATIENCE_WITH_OTHERS_S


def _node() -> Any:
    """This process's view of the cluster; None while there is none."""
    from ray._private import worker

    return worker._global_node


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True
