"""How uvicorn reads the heads of requests and writes answers, as the server needs it.

Of a head only what stands before the body is handed on, without what Ray Serve would read of it.
What is refused outside our routes is refused in the contract's shape. An answer's head and the
first part of its body leave in one write. `guard` says why each is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from isogloss.prompts.errors import IsoglossError, MalformedInput
from isogloss.serving.pipeline.caller import REQUEST_ID_HEADER, is_request_id
from isogloss.serving.ray.hooks.guard import HEADS, RAY_HEADERS, REFUSALS, WHOLE_ANSWERS, require

Header = tuple[bytes, bytes]

_NOT_HANDED_ON = {name.replace("-", "_").encode() for name in RAY_HEADERS.values()}
"""Ray reads some of them with either."""
_TRACE_HEADERS = (b"traceparent", b"tracestate")
_REQUEST_ID = REQUEST_ID_HEADER.encode()
_COMPLETE = "isogloss_head_complete"
_HELD = "isogloss_head"

_NO_HTTP = "head: it is not HTTP/1.1; send a whole request line, headers and length"
_FAILED = "an unexpected error happened in the server; its log has the details; try again"


def guard_heads() -> list[Any]:
    """Replace how uvicorn reads heads and refuses requests, in this process; idempotent.

    Returns:
        No middleware: Ray's proxy asks such a function for some as it starts.

    Raises:
        HookMisfit: another uvicorn is installed.
    """
    if not hasattr(HttpToolsProtocol.on_header, "guarded"):
        require(HEADS, REFUSALS)
        _guard(HttpToolsProtocol)
        HttpToolsProtocol.send_400_response = _refuse  # type: ignore[method-assign]
        RequestResponseCycle.send_500_response = _fail  # type: ignore[method-assign]
    return []


def write_answers_whole() -> None:
    """Replace how uvicorn sends answers, in this process; idempotent.

    Raises:
        HookMisfit: another uvicorn is installed.
    """
    if hasattr(RequestResponseCycle.send, "whole"):
        return
    require(WHOLE_ANSWERS)
    send = RequestResponseCycle.send

    async def send_whole(cycle: Any, message: Any) -> None:
        """Hold the head back until the body's first part comes."""
        if message["type"] == "http.response.start" and not cycle.response_started:
            headers = list(_with_one_id(message.get("headers", ())))
            setattr(cycle, _HELD, {**message, "headers": headers})
            return
        head, joined = getattr(cycle, _HELD, None), _JoiningTransport(cycle.transport)
        setattr(cycle, _HELD, None)
        cycle.transport = joined
        try:
            if head is not None:
                await send(cycle, head)
            await send(cycle, message)
        finally:
            cycle.transport = joined.transport
            joined.release()

    send_whole.whole = True  # type: ignore[attr-defined]
    RequestResponseCycle.send = send_whole  # type: ignore[assignment, method-assign]


def _guard(protocol: type[HttpToolsProtocol]) -> None:
    begin, add, complete = (
        protocol.on_message_begin,
        protocol.on_header,
        protocol.on_headers_complete,
    )

    def on_message_begin(self: Any) -> None:
        setattr(self, _COMPLETE, False)
        begin(self)

    def on_header(self: Any, name: bytes, value: bytes) -> None:
        if not getattr(self, _COMPLETE) and _is_handed_on(name.lower(), value):
            add(self, name, value)

    def on_headers_complete(self: Any) -> None:
        setattr(self, _COMPLETE, True)
        complete(self)

    on_header.guarded = True  # type: ignore[attr-defined]
    protocol.on_message_begin = on_message_begin  # type: ignore[method-assign]
    protocol.on_header = on_header  # type: ignore[method-assign]
    protocol.on_headers_complete = on_headers_complete  # type: ignore[method-assign]


def _is_handed_on(name: bytes, value: bytes) -> bool:
    """Whether a header may be read by anybody behind the parser."""
    if name == _REQUEST_ID:
        return is_request_id(value.decode("latin-1"))
    if name in _TRACE_HEADERS:
        return value.isascii()
    return name.replace(b"-", b"_") not in _NOT_HANDED_ON


# Their parameters are called as those they replace: the guard may look again.
def _refuse(self: Any, msg: str) -> None:
    """Answer what is no HTTP, and close."""
    status, body = MalformedInput.status, _error(_NO_HTTP, MalformedInput.error_type)
    head = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
    self.transport.close()


async def _fail(self: Any) -> None:
    """Answer a request that failed where none of our handlers saw it."""
    body = _error(_FAILED, IsoglossError.error_type)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await self.send(
        {"type": "http.response.start", "status": IsoglossError.status, "headers": headers}
    )
    await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _error(sentence: str, error_type: str) -> bytes:
    return json.dumps({"error": sentence, "error_type": error_type}).encode()


class _JoiningTransport:
    """A transport whose writes are put together until it is released."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep."""
        self._parts.append(data)

    def close(self) -> None:
        """Write what was kept, and close."""
        self.release()
        self.transport.close()

    def release(self) -> None:
        """Write what was kept."""
        if self._parts:
            self.transport.write(b"".join(self._parts))
            self._parts.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


def _with_one_id(headers: Sequence[Header]) -> Iterator[Header]:
    """The headers without any request id behind the first, in whatever case Ray writes it."""
    seen = False
    for name, value in headers:
        is_id = name.lower() == _REQUEST_ID
        if not (is_id and seen):
            yield name, value
        seen |= is_id
