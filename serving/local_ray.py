"""The Ray that a server on this machine starts for itself: for this machine, and for its user.

Whoever reaches one of Ray's ports with its token, or one of its sockets, runs code as the user who
started it, and reads the admin token. So nothing of it listens beyond the loopback interface, its
token is the server's own, and its files are nobody else's. The ways into Ray's internals are here,
for the version that is pinned; a test asks a real server what it listens on.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_TOKEN_FILE = "ray-token"
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
    from ray._raylet import AuthenticationTokenLoader

    AuthenticationTokenLoader.instance().reset_cache()


def close_session_folder() -> None:
    """Keep others out of the folder of Ray's sockets and logs, which Ray opens to everybody."""
    from ray._private import worker

    os.chmod(worker._global_node.get_session_dir_path(), 0o700)


def missing_parts() -> list[str]:
    """Those of Ray's processes that this one started, that nothing works without, and that ended."""
    from ray._private import worker

    node = worker._global_node
    dead = [name for name, _ in node.dead_processes()] if node is not None else []
    return [name for name in _NEEDED if name in dead]
