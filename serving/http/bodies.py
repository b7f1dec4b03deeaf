"""Bodies in, within bounds: on bytes, on time, on what all of them hold, on what they unpack to.

Nothing here takes the event loop longer the more a client sends: large bodies are unpacked and
parsed in threads that do nothing else. A parser keeps Python's lock, so what it may build is
bounded as well (`serving.http.parsing`); eight megabytes of text take it some hundredths of a
second.
"""

from __future__ import annotations

import asyncio
import io
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from isogloss.prompts.errors import InvalidInput, MalformedInput, TooLarge
from isogloss.serving.config import ServingSettings
from isogloss.serving.http.parsing import MOST_VALUES, Body, parse
from isogloss.serving.pipeline.admission import QueueFull

PARSED_HERE_BYTES = 64 << 10
"""Smaller bodies are parsed on the event loop: quicker than a thread and back."""
FORM_BYTES = 64 << 10
"""Of a body with a few short fields, whatever the server's limit is."""
TABLE_VALUES = 1 << 15
"""Of route tables: one with a route for every clade has 13,000."""

_LARGEST_AT_A_TIME = 4
_THREADS = 2
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""How each coding frames what zlib packs; deflate is in zlib's own frame (RFC 9110, 8.4.1.2)."""

Answer = TypeVar("Answer")
Done = TypeVar("Done")


class UnknownCoding(InvalidInput):
    """A body is packed in a way that is not unpacked here."""

    status: ClassVar[int] = 415


class Room:
    """How many bytes of bodies may be held at a time; small ones always may."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.held_bytes = 0

    @contextmanager
    def reading(self) -> Iterator[Callable[[int], None]]:
        """Hold what one body's reader says it has come to, while open.

        Raises:
            QueueFull: by the reader's call, where too much is held already.
        """
        own = 0

        def hold(size: int) -> None:
            nonlocal own
            others = self.held_bytes - own
            if size > PARSED_HERE_BYTES and others and others + size > self._most_bytes:
                raise QueueFull(
                    "body: the server holds as many large bodies as it may; try again in a moment, "
                    f"or send at most {PARSED_HERE_BYTES} bytes at a time",
                    reason="bodies",
                )
            self.held_bytes, own = others + size, size

        try:
            yield hold
        finally:
            self.held_bytes -= own


class Bodies:
    """Reads the bodies of one server's requests."""

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._json = Room(_LARGEST_AT_A_TIME * settings.max_body_bytes)
        self._files = Room(_LARGEST_AT_A_TIME * settings.max_prompt_bytes)
        self._threads = ThreadPoolExecutor(_THREADS, "isogloss-parsing")

    async def parsed(
        self,
        request: Request,
        model: type[Body],
        *,
        most_bytes: int | None = None,
        most_values: int = MOST_VALUES,
        empty: bytes = b"",
    ) -> Body:
        """Read a JSON body; `empty` is what an empty one stands for.

        Raises:
            QueueFull: too many bytes of other bodies are held.
            InvalidInput, TooLarge: as `read_body`, `unpacked` and `parse`.
        """
        content_type = request.headers.get("content-type", "")

        def work(body: bytes) -> Body:
            return parse(model, body or empty, most_values, content_type)

        return await self.read(request, work, most_bytes=most_bytes)

    async def read(
        self, request: Request, work: Callable[[bytes], Done], *, most_bytes: int | None = None
    ) -> Done:
        """Read a body of texts, and make of it what it says, where that holds up nobody.

        Raises:
            QueueFull: too many bytes of other bodies are held.
            InvalidInput, TooLarge: as `read_body`, `unpacked` and `work`.
        """
        limit = min(most_bytes or self._settings.max_body_bytes, self._settings.max_body_bytes)
        with self._json.reading() as hold:
            body = await self._unpacked(request, limit, hold)
            return await self._where_it_fits(len(body), partial(work, body))

    async def file(self, request: Request) -> bytes:
        """Read a prompt file.

        Raises:
            QueueFull: too many bytes of other files are held.
            InvalidInput, TooLarge: as `read_body` and `unpacked`.
        """
        with self._files.reading() as hold:
            return await self._unpacked(request, self._settings.max_prompt_bytes, hold)

    async def _unpacked(self, request: Request, limit: int, hold: Callable[[int], None]) -> bytes:
        coding = _coding(request)
        body = await read_body(request, limit, self._settings.body_timeout_s, hold)
        if not coding or not body:
            return body
        whole = await self.apart(partial(unpacked, body, limit, coding))
        hold(len(whole))
        return whole

    async def _where_it_fits(self, size: int, work: Callable[[], Done]) -> Done:
        return work() if size <= PARSED_HERE_BYTES else await self.apart(work)

    async def apart(self, work: Callable[[], Done]) -> Done:
        """Do something large in a thread that only such things wait for."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


async def read_body(
    request: Request, limit: int, timeout_s: float, hold: Callable[[int], None] = lambda _: None
) -> bytes:
    """Return the request's body as it came.

    Args:
        request: whose body nobody has read.
        limit: bytes.
        timeout_s: for all of it to arrive.
        hold: is told how much there is, as it grows; may raise.

    Raises:
        TooLarge: it is declared to be, or turns out to be, over the limit; no more than the limit
            is ever held.
        MalformedInput: it does not arrive in time.
    """
    declared = request.headers.get("content-length", "").strip()
    if declared.isascii() and declared.isdigit() and _exceeds(declared, limit):
        raise _too_large(f"{declared[:20]} bytes", limit)
    try:
        async with asyncio.timeout(timeout_s):
            return await _read(request.stream(), limit, hold)
    except TimeoutError:
        raise MalformedInput(
            f"body: it did not arrive within {timeout_s:g} s; send it faster, or fewer inputs"
        ) from None


async def _read(stream: AsyncIterator[bytes], limit: int, hold: Callable[[int], None]) -> bytes:
    body = io.BytesIO()  # whose content is taken out without a second copy
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > limit:
            raise _too_large(f"more than {limit} bytes", limit)
        hold(size)
        body.write(chunk)
    return body.getvalue()


async def unless_left(request: Request, answer: Coroutine[Any, Any, Answer]) -> Answer:
    """Await an answer for as long as its caller does; to be called once the body is read.

    Raises:
        ClientDisconnect: the caller left; the answer was cancelled.
    """
    asking = asyncio.current_task()
    assert asking is not None
    left = asyncio.create_task(_cancel_when_left(request, asking))
    try:
        return await answer
    except asyncio.CancelledError:
        if left.done() and not asking.uncancel():
            raise ClientDisconnect from None
        raise
    finally:
        left.cancel()


async def _cancel_when_left(request: Request, asking: asyncio.Task[Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    asking.cancel()


def unpacked(body: bytes, limit: int, coding: str = "gzip") -> bytes:
    """Unpack gzip or deflate, as far as the limit.

    Raises:
        TooLarge: it is larger unpacked; no more than the limit is ever held.
        MalformedInput: it is not wholly packed so, or something stands behind it.
    """
    unpacking = zlib.decompressobj(_WINDOWS[coding])
    try:
        whole = unpacking.decompress(body, limit + 1)
    except zlib.error as problem:
        raise MalformedInput(
            f"body: content-encoding says {coding}, and it is none ({problem}); send it whole, or "
            "without the header"
        ) from None
    if len(whole) > limit:
        raise _too_large(f"more than {limit} bytes unpacked", limit)
    if not unpacking.eof or unpacking.unused_data:
        wrong = "it ends early" if not unpacking.eof else "more stands behind its end"
        raise MalformedInput(
            f"body: content-encoding says {coding}, and {wrong}; send one whole {coding}"
        )
    return whole


def _coding(request: Request) -> str:
    """How the body is packed; empty: not at all.

    Raises:
        UnknownCoding: in another way than gzip or deflate, or more than once.
    """
    given = ",".join(request.headers.getlist("content-encoding"))
    codings = [each.strip().lower() for each in given.split(",")]
    packed = [each for each in codings if each not in ("", "identity")]
    if len(packed) > 1 or any(each not in _WINDOWS for each in packed):
        raise UnknownCoding(
            f"content-encoding: {given[:60]!r} is not unpacked here; send the body as it is, or in "
            "gzip or deflate"
        )
    return packed[0] if packed else ""


def _exceeds(digits: str, limit: int) -> bool:
    """Whether a number is larger; one of very many digits is not worth reading."""
    digits = digits.lstrip("0")
    return len(digits) > 20 or int(digits or "0") > limit


def _too_large(size: str, limit: int) -> TooLarge:
    return TooLarge(f"body: {size} are too many; send at most {limit}")
