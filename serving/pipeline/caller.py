"""Who asks, how long they wait, and what the request is called: read from its headers.

A client is named by what it identifies itself with: `x-api-key`, else `authorization`, else the
address it calls from. Keys are not checked here (`serving.api.access` or a gateway in front may;
then the client is the key's name), they only tell clients apart, and only a digest of them is kept.
Behind proxies the address is the `x-forwarded-for` entry
that the outermost trusted one added, counted from the right, for what stands to the left of it is
whatever the client wrote.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from isogloss.prompts.errors import InvalidInput, Unavailable
from isogloss.serving.telemetry.tracing import current_traceparent

TIMEOUT_HEADER = "x-request-timeout-ms"
REQUEST_ID = "isogloss.request_id"
"""Where an ASGI scope holds what the request is called, named by the caller or by us."""
REQUEST_ID_HEADER = "x-request-id"
ROUTING_KEY_HEADER = "x-routing-key"
ROUTING_KEY_PATTERN = "[!-~]([ -~]{0,126}[!-~])?"
CLIENT_NAME = "isogloss.client_name"
"""Where an ASGI scope holds the name of the API key that a request bears."""
_LONGEST_TIMEOUT_MS = 3_600_000
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_WITH_PORT = re.compile(r"(\[(?P<six>[^]]*)\]|(?P<four>[0-9.]+))(:[0-9]*)?")
_SALT = os.urandom(16)


class TooLate(Unavailable):
    """The request's time ran out before its answer was there."""

    @classmethod
    def after(cls, spent_s: float) -> TooLate:
        """Say so of a request that was worked on for a while."""
        return cls(
            f"no answer within the request's time ({spent_s:.1f} s passed); try again, allow more "
            f"with {TIMEOUT_HEADER}, or send fewer inputs"
        )


@dataclass(frozen=True)
class Caller:
    """One request's origin; may travel to another process."""

    client: str = ""
    """Tells clients apart and nothing else; empty: this process itself."""
    timeout_s: float | None = None
    """How much longer the caller waits for an answer; None: for ever."""
    request_id: str = ""
    routing_key: str = ""
    """Whose texts stay on one side of a trial; empty: each text goes by its own words."""
    traceparent: str = ""
    """The span that the request's work belongs under, where it is traced."""

    def after(self, spent_s: float) -> Caller:
        """Return the same caller, who has waited for a while."""
        if self.timeout_s is None:
            return self
        return replace(self, timeout_s=max(0.0, self.timeout_s - spent_s))

    def within(self, seconds: float) -> float:
        """Return how long to wait for something that may take so long."""
        return seconds if self.timeout_s is None else min(seconds, self.timeout_s)


NOBODY_ELSE = Caller()
"""A caller in this process that waits for as long as it takes."""


def caller_of(
    headers: Mapping[str, str],
    peer: str,
    *,
    request_id: str,
    timeout_s: float,
    forwarded_hops: int,
    name: str = "",
) -> Caller:
    """Read a request's caller.

    Args:
        headers: of the request, by lower-case name.
        peer: the address at the other end of the connection.
        request_id: what the request is called in the logs.
        timeout_s: for requests that name none.
        forwarded_hops: trusted proxies that add to `x-forwarded-for`.
        name: of the API key that was checked; empty: none was.

    Raises:
        InvalidInput: the time is no number of milliseconds, or the routing key is no key.
    """
    given = headers.get(TIMEOUT_HEADER)
    return Caller(
        client=f"name:{name}" if name else _client(headers, peer, forwarded_hops),
        timeout_s=timeout_s if given is None else _timeout_s(given),
        request_id=request_id,
        routing_key=_routing_key(headers.get(ROUTING_KEY_HEADER)),
        traceparent=current_traceparent(),
    )


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by lower-case name; values of one name, in their order, as one list (RFC 9110, 5.3).

    A proxy may add its `x-forwarded-for` as a line of its own, below the one a client made up.
    """
    values: dict[str, str] = {}
    for name, value in headers:
        values[name] = f"{values[name]}, {value}" if name in values else value
    return values


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return the id that the caller gave the request, or a new one."""
    return given_request_id(headers) or uuid.uuid4().hex


def given_request_id(headers: Mapping[str, str]) -> str | None:
    """Return the id that the caller, or what stands in front of us, gave the request."""
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if is_request_id(given) else None


def is_request_id(given: str) -> bool:
    """Whether a request may be called so."""
    return _REQUEST_ID.fullmatch(given) is not None


def _client(headers: Mapping[str, str], peer: str, hops: int) -> str:
    for header in ("x-api-key", "authorization"):
        if secret := headers.get(header, "").strip():
            digest = hashlib.blake2b(secret.encode(), key=_SALT, digest_size=8)
            return f"key:{digest.hexdigest()}"
    forwarded = headers.get("x-forwarded-for", "")
    entries = [entry.strip() for entry in forwarded.split(",") if entry.strip()]
    if not hops or not entries:
        return f"address:{_one_spelling(peer)}"
    return f"address:{_one_spelling(entries[-min(hops, len(entries))][:64])}"


def _one_spelling(address: str) -> str:
    """An address as everybody would write it, without port, brackets and zone.

    Some gateways add the port of each connection. What is no address stays as it is, but for case.
    """
    bare = address.strip("\"' ")
    if with_port := _WITH_PORT.fullmatch(bare):
        bare = with_port["six"] or with_port["four"]
    try:
        parsed = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return address.lower()
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _timeout_s(given: str) -> float:
    text = given.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise InvalidInput(
            f"{TIMEOUT_HEADER}: {given[:60]!r} is no time; send whole milliseconds from 1 to "
            f"{_LONGEST_TIMEOUT_MS}, or leave the header out"
        )
    return min(int(text), _LONGEST_TIMEOUT_MS) / 1000


def _routing_key(given: str | None) -> str:
    if given is None:
        return ""
    if not re.fullmatch(ROUTING_KEY_PATTERN, given):
        raise InvalidInput(
            f"{ROUTING_KEY_HEADER}: {given[:60]!r} is no key; send 1 to 128 printable ASCII "
            "characters, such as a user's or a session's id, or leave the header out"
        )
    return given
