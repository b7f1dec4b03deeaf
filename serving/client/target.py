"""Which server a client asks, as whom, and how patiently: parsed once, at the edge."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from isogloss.prompts.console.http_client import is_this_machine
from isogloss.prompts.errors import InvalidInput, Unauthorized

DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE = "ISOGLOSS_URL"
API_KEY_VARIABLE = "ISOGLOSS_CLIENT_KEY"
ADMIN_TOKEN_VARIABLE = "ISOGLOSS_ADMIN_TOKEN"

_USER = re.compile(r"^\s*(\w+://)?.*@", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """One server, and how it is asked."""

    url: str = field(repr=False)
    shown_url: str
    """The address without the user and the password in it: for messages."""
    api_key: str | None = field(repr=False)
    admin_token: str | None = field(repr=False)
    timeout_s: float
    """Of one call, with everything that is tried in it."""
    retries: int
    concurrency: int
    """Requests at a time, where a call takes several."""

    @property
    def is_near(self) -> bool:
        """Whether it is this machine, to which no proxy of the environment leads."""
        return is_this_machine(urlsplit(self.url).hostname or "")

    def bearer(self) -> str:
        """The header that changes bear.

        Raises:
            Unauthorized: there is no admin token.
        """
        if self.admin_token is None:
            raise Unauthorized(
                "admin_token: none was given, and a change needs one; pass admin_token=... or set "
                f"{ADMIN_TOKEN_VARIABLE}"
            )
        return f"Bearer {self.admin_token}"


def target(
    url: str | None,
    api_key: str | None,
    admin_token: str | None,
    timeout_s: float,
    retries: int,
    concurrency: int,
) -> Target:
    """Fill in from the environment what was not given.

    Raises:
        InvalidInput: the address is none, or a number is out of range.
    """
    if not timeout_s > 0:
        raise InvalidInput(f"timeout_s: {timeout_s!r} is no time; give seconds above 0")
    if retries < 0:
        raise InvalidInput(f"retries: {retries!r} is too few; give 0 or more")
    if concurrency < 1:
        raise InvalidInput(f"concurrency: {concurrency!r} is too few; give 1 or more")
    address = _address(url or _variable(URL_VARIABLE) or DEFAULT_URL)
    return Target(
        address,
        _without_user(address),
        api_key or _variable(API_KEY_VARIABLE),
        admin_token or _variable(ADMIN_TOKEN_VARIABLE),
        timeout_s,
        retries,
        concurrency,
    )


def _variable(name: str) -> str | None:
    return os.environ.get(name, "").strip() or None


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no number for a port, or half of an IPv6 address
        right = False
    if not right:
        raise InvalidInput(
            f"url {_without_user(url)[:200]!r}: give the server's address, http://HOST:PORT"
        )
    if "?" in url or "#" in url:
        raise InvalidInput(
            f"url {_without_user(url)[:200]!r}: an address has no query and no fragment; leave out "
            "what begins with ? or #"
        )
    return url.rstrip("/")


def _without_user(url: str) -> str:
    """An address, or what was meant as one, without anything before its last @."""
    return _USER.sub(r"\1", url)
