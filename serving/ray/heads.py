"""Has uvicorn hand on no more of a request's head than is meant for us, and refuse in our shape.

It puts the fields that stand behind a chunked body (trailers) into the list of headers, which the
application may not even have looked at yet: whoever can send a body could name itself another
client, or an administrator, behind the back of a proxy that checks heads.

Ray Serve reads some headers before our routes do, as UTF-8: a byte that is not makes it answer 500
in plain text. Nobody outside is to set them: how long Ray waits (its 408 is plain text; ours is
`x-request-timeout-ms`), whether it notices that a caller left, which copy of a model answers.

What is no HTTP, and what fails outside our routes, is answered in plain text too.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from isogloss.prompts.errors import IsoglossError, MalformedInput
from isogloss.serving.pipeline.caller import REQUEST_ID_HEADER, is_request_id

RAY_HEADERS = frozenset(
    {
        "x_request_timeout_seconds",
        "x_request_disconnect_disabled",
        "serve_multiplexed_model_id",
        "x_session_id",
    }
)
"""With underscores; Ray reads some of them with either."""
_TRACE_HEADERS = (b"traceparent", b"tracestate")
_REQUEST_ID = REQUEST_ID_HEADER.encode()
_COMPLETE = "isogloss_head_complete"

_NO_HTTP = "head: it is not HTTP/1.1; send a whole request line, headers and length"
_FAILED = "an unexpected error happened in the server; its log has the details; try again"


def guard_heads() -> list[Any]:
    """Replace how uvicorn reads heads and refuses requests, in this process; idempotent.

    Returns:
        No middleware: Ray's proxy asks such a function for some as it starts.
    """
    if not getattr(HttpToolsProtocol.on_header, "guarded", False):
        _guard(HttpToolsProtocol)
        HttpToolsProtocol.send_400_response = _refuse  # type: ignore[assignment, method-assign]
        RequestResponseCycle.send_500_response = _fail  # type: ignore[assignment, method-assign]
    return []


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
        if not getattr(self, _COMPLETE) and _is_ours(name.lower(), value):
            add(self, name, value)

    def on_headers_complete(self: Any) -> None:
        setattr(self, _COMPLETE, True)
        complete(self)

    on_header.guarded = True  # type: ignore[attr-defined]
    protocol.on_message_begin = on_message_begin  # type: ignore[method-assign]
    protocol.on_header = on_header  # type: ignore[method-assign]
    protocol.on_headers_complete = on_headers_complete  # type: ignore[method-assign]


def _is_ours(name: bytes, value: bytes) -> bool:
    """Whether a header may be read by anybody behind the parser."""
    if name == _REQUEST_ID:
        return is_request_id(value.decode("latin-1"))
    if name in _TRACE_HEADERS:
        return value.isascii()
    return name.decode("latin-1").replace("-", "_") not in RAY_HEADERS


def _refuse(protocol: Any, _: str) -> None:
    """Answer what is no HTTP, and close."""
    status, body = MalformedInput.status, _error(_NO_HTTP, MalformedInput.error_type)
    head = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    protocol.transport.write("\r\n".join([*head, "", ""]).encode() + body)
    protocol.transport.close()


async def _fail(cycle: Any) -> None:
    """Answer a request that failed where none of our handlers saw it."""
    body = _error(_FAILED, IsoglossError.error_type)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await cycle.send(
        {"type": "http.response.start", "status": IsoglossError.status, "headers": headers}
    )
    await cycle.send({"type": "http.response.body", "body": body, "more_body": False})


def _error(sentence: str, error_type: str) -> bytes:
    return json.dumps({"error": sentence, "error_type": error_type}).encode()
