"""What HAProxy, which takes the requests in, is told about clients that are slow or silent.

Ray writes HAProxy's configuration from environment variables and has none for the time that a
request's head may take; without one, a client may send a byte a minute for ever. The balancing
algorithm is written into HAProxy's `defaults` section as it is, though, so further lines of that
section can follow it. A test looks at what a running server does, since another version of Ray may
write it elsewhere.
"""

from __future__ import annotations

HEAD_TIMEOUT_S = 10
CLIENT_TIMEOUT_S = 60


def client_limits(
    head_timeout_s: int = HEAD_TIMEOUT_S, client_timeout_s: int = CLIENT_TIMEOUT_S
) -> dict[str, str]:
    """Environment variables for Ray that bound how long a client may keep a connection.

    Args:
        head_timeout_s: from the connection, or a request's first byte, to the end of its head.
        client_timeout_s: without a byte of a body sent, or of an answer taken. Waiting for an
            answer does not count, nor does a connection between two requests.
    """
    lines = (
        "leastconn",  # Ray's own default
        f"timeout http-request {head_timeout_s}s",
        # The address a client calls from, for those who name themselves by no key.
        "option forwardfor",
    )
    return {
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(client_timeout_s),
        "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": "\n    ".join(lines),
    }
