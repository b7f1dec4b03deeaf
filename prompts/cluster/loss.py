"""Whether the cluster is still there, and how to leave once it is not."""

from __future__ import annotations

import atexit
import os
import socket
import sys
from typing import Any

_PATIENCE_S = 1.0
_PATIENCE_WITH_OTHERS_S = 10.0
_NEEDED = ("gcs_server", "raylet")
"""Without one of these nothing works; the rest are logs and metrics."""


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


def abandon(exit_code: int) -> None:
    """Have this process leave without Ray's leave, for which it waits a minute once there is none.

    Args:
        exit_code: that the process ends with, whenever it does.
    """
    from ray._private import worker

    sys.excepthook = worker.normal_excepthook  # Ray's own tells the cluster first
    atexit.register(leave, exit_code)  # the last one that is registered is the first one called


def leave(exit_code: int) -> None:
    """End this process at once, without Ray's leave or anybody's."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


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
