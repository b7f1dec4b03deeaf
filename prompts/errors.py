"""Every error a person can act on.

    IsoglossError
    |-- InvalidInput        a field has a value we cannot use        422 validation
    |   |-- MalformedInput  the bytes are not what they claim to be  400 validation
    |   |-- InvalidPrompt   a prompt file was refused                422 validation
    |   |-- InvalidData     a data folder or label set was refused   422 validation
    |   `-- UnknownLanguage a name is no language's                  422 validation
    |-- Unauthorized        a key or token is missing or wrong       401 unauthorized
    |-- NotFound            no such model, prompt, task or route     404 not_found
    |-- TooLarge            more bytes or characters than we accept  413 too_large
    |-- Overloaded          the queue is full; try again later       429 overloaded
    |-- Unavailable         not ready, or a swap did not complete    503 unavailable
    `-- StoreError          the prompt store cannot be read/written  503 unavailable

Messages are one sentence naming the field, the value and the remedy. `error_type` and `status`
are those of the HTTP contract.
"""

from typing import ClassVar


class IsoglossError(Exception):
    """Base of all errors this project raises on purpose."""

    error_type: ClassVar[str] = "internal"
    status: ClassVar[int] = 500


class InvalidInput(IsoglossError):
    """A field has a value that cannot be used."""

    error_type = "validation"
    status = 422


class MalformedInput(InvalidInput):
    """The bytes are not the JSON, UTF-8 or TSV they should be."""

    status = 400


class InvalidPrompt(InvalidInput):
    """A prompt file was refused: the message says why."""


class InvalidData(InvalidInput):
    """A data folder or a label set was refused."""


class UnknownLanguage(InvalidInput):
    """What should name a language names none; the message has the nearest."""


class Unauthorized(IsoglossError):
    """An API key or the admin token is missing or wrong."""

    error_type = "unauthorized"
    status = 401


class NotFound(IsoglossError):
    """No such model, prompt, task, route or generation."""

    error_type = "not_found"
    status = 404


class TooLarge(IsoglossError):
    """More bytes or characters than the limit."""

    error_type = "too_large"
    status = 413


class Overloaded(IsoglossError):
    """The queue is full."""

    error_type = "overloaded"
    status = 429


class Unavailable(IsoglossError):
    """The service is not ready, or a change did not reach every replica in time."""

    error_type = "unavailable"
    status = 503


class StoreError(Unavailable):
    """The prompt store cannot be read or written."""
