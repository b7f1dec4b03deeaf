"""Ports of this machine: whether one is free, and one that stays free until it is used."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Iterable

from isogloss.prompts.errors import Unavailable

_OUR_PORTS = range(20_000, 30_000)


class PortInUse(Unavailable):
    """Another program listens on the port."""


def check_port(host: str, port: int) -> int:
    """Return the port to listen on, a free one where `port` is 0.

    Raises:
        PortInUse: somebody listens there already.
        Unavailable: this machine does not have the address.
    """
    if port == 0:
        return free_port(host)
    try:
        _try_port(host, port)
    except PermissionError as error:
        raise Unavailable(
            f"port {port}: this user may not listen there; choose one above 1023, e.g. --port 8000"
        ) from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise Unavailable(
                f"host {host!r}: cannot listen there ({error.strerror}); use 127.0.0.1 or 0.0.0.0"
            ) from error
        raise PortInUse(
            f"port {port} on {host} is in use by another program; stop that program, or choose "
            f"another port with --port {port + 1 if port < 65535 else 8000}"
        ) from error
    return port


def free_port(host: str = "0.0.0.0") -> int:
    """Return a port nobody listens on, outside the ranges that the system and Ray hand out.

    One that the system chose could be given to another program before we come to use it.

    Raises:
        Unavailable: this machine does not have the address, or all ports are taken.
    """
    for port in random.sample(_OUR_PORTS, 100):
        try:
            _try_port(host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            return check_port(host, port)  # says what is wrong with the address
        return port
    raise Unavailable(f"host {host}: no free port from {_OUR_PORTS[0]} on; name one with --port")


def are_free(ports: Iterable[int], host: str = "127.0.0.1") -> bool:
    """Whether nobody listens on any of these ports."""
    try:
        for port in ports:
            _try_port(host, port)
    except OSError:
        return False
    return True


def _try_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
