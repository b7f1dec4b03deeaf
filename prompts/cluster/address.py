"""Which cluster a person means: `--ray-address`, RAY_ADDRESS, or Ray started for this command."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from isogloss.prompts.console.refusals import plain
from isogloss.prompts.errors import InvalidInput, Unavailable

_CONNECT_S = 10.0
_PORTS = range(1024, 65_536)  # Ray refuses others
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_HTTP2_SETTINGS = 4
_REMEDY = (
    "name the head's address as `ray start --head` printed it, such as 10.0.0.1:6379, or leave it "
    "out to work on this machine"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A cluster as a person named it; `source` is where they did, for messages."""

    text: str
    source: str

    @property
    def local(self) -> bool:
        """Whether Ray is to be started here, for this command alone."""
        return self.text == "local"

    @property
    def client(self) -> bool:
        """Whether the cluster is to be reached through Ray Client."""
        return self.text.startswith("ray://")

    def __str__(self) -> str:
        return f"{self.source} {plain(self.text)}".strip()


def chosen_address(given: str | None, environment: Mapping[str, str]) -> Address:
    """Return the cluster that was named; a name of nothing but blanks is none.

    Raises:
        InvalidInput: it is no address of Ray.
    """
    named = (("--ray-address", given), ("RAY_ADDRESS", environment.get("RAY_ADDRESS")))
    for source, value in named:
        if value and (text := value.strip()):
            return _checked(Address(text, source))
    return Address("local", "")


def check_answers(address: Address) -> None:
    """Find out in seconds that nobody is there: Ray itself tries for minutes.

    Raises:
        Unavailable: no program listens at `host:port`, or one that is not Ray.
    """
    if address.text in ("local", "auto"):
        return
    host, port = _host_and_port(address)
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_S) as connection:
            if not _speaks_grpc(connection):
                raise Unavailable(f"{address}: what answers there is not Ray; {_REMEDY}")
    except OSError as error:
        raise Unavailable(f"{address}: nothing answers there ({error}); {_REMEDY}") from error


def _checked(address: Address) -> Address:
    if address.text in ("local", "auto"):
        return address
    scheme, separator, _ = address.text.rpartition("://")
    if separator and scheme != "ray":
        raise InvalidInput(
            f"{address}: {scheme}:// leads to Ray's dashboard and jobs, not to its cluster; "
            f"{_REMEDY}"
        )
    _host_and_port(address)
    return address


def _host_and_port(address: Address) -> tuple[str, int]:
    host, separator, port = address.text.rpartition("://")[2].rpartition(":")
    host = host.strip("[]")
    if not separator or not host or not (port.isascii() and port.isdecimal()):
        raise InvalidInput(f"{address}: not host:port; {_REMEDY}")
    if len(port) > 5 or int(port) not in _PORTS:
        raise InvalidInput(
            f"{address}: its port must be from {_PORTS.start} to {_PORTS.stop - 1}; {_REMEDY}"
        )
    return host, int(port)


def _speaks_grpc(connection: socket.socket) -> bool:
    """Whether the other side greets as Ray's servers do; not asked where TLS would have to be."""
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return True
    connection.sendall(_HTTP2_GREETING)
    head = connection.makefile("rb").read(9)
    return len(head) == 9 and head[3] == _HTTP2_SETTINGS
