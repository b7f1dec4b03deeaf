"""What a server's reply means: the body of an answer, or the error that it tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from isogloss.prompts.console.http_client import proxy_of, route_to
from isogloss.prompts.console.refusals import shown
from isogloss.prompts.errors import (
    InvalidInput,
    IsoglossError,
    MalformedInput,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from isogloss.serving.client.asks import Ask

Answer = TypeVar("Answer")

_BY_TYPE: dict[str, type[IsoglossError]] = {
    "validation": InvalidInput,
    "unauthorized": Unauthorized,
    "not_found": NotFound,
    "too_large": TooLarge,
    "overloaded": Overloaded,
    "unavailable": Unavailable,
    "internal": IsoglossError,
}
_BY_STATUS: dict[int, type[IsoglossError]] = {
    400: MalformedInput,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    413: TooLarge,
    422: InvalidInput,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_PASSING = (429, 502, 503, 504)
_OK = range(200, 300)


class Passing(Exception):
    """Something that may be over in a moment; `error` is what it is called if it is not."""

    def __init__(self, error: IsoglossError, retry_after: str | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry_after = retry_after
        """The header's value: seconds, or a date."""


class _Told(BaseModel):
    """An error's body, of this release or of another."""

    error: str
    error_type: str


def read(
    ask: Ask[Answer], status: int, headers: Mapping[str, str], body: bytes, url: str
) -> Answer:
    """Return what a reply answers.

    Args:
        ask: what was asked.
        status: of the reply.
        headers: by lower-case name.
        body: of the reply.
        url: of the server.

    Raises:
        Passing: the server has no room, or is not there, for now.
        IsoglossError: what the server says is wrong.
    """
    if status in _OK:
        return _answer(ask, body, url)
    error = error_of(status, body, url)
    if status in _PASSING:
        raise Passing(error, headers.get("retry-after"))
    raise error


def error_of(status: int, body: bytes, url: str) -> IsoglossError:
    """What a reply with an error's status says, with the server's own sentence where it has one."""
    try:
        told = _Told.model_validate_json(body)
    except ValidationError:
        kind = _BY_STATUS.get(status, IsoglossError)
        begin = shown(body[:200].decode("utf-8", "replace"))
        return kind(f"{url}: status {status} with {begin}; is an Isogloss server there?")
    kind = _BY_TYPE.get(told.error_type) or _BY_STATUS.get(status, IsoglossError)
    if kind is InvalidInput and status == MalformedInput.status:
        kind = MalformedInput
    return kind(told.error)


def unreachable(url: str, error: Exception) -> Passing:
    """Say that no reply came."""
    past = "; to go past the proxy, name the host in no_proxy" if proxy_of(url) else ""
    said = str(error) or type(error).__name__
    return Passing(
        Unavailable(
            f"no answer from {route_to(url)} ({said}); is `isogloss serve` running there?{past}"
        )
    )


def _answer(ask: Ask[Answer], body: bytes, url: str) -> Answer:
    try:
        return ask.read(body)
    except ValueError as error:
        raise IsoglossError(
            f"{url}{ask.path}: the answer is none of an Isogloss server ({shown(str(error), 200)});"
            " check the address, and update this package or the server"
        ) from error
