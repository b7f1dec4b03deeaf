"""Has uvicorn write the head and the body of an answer together, and one request id in the head.

It writes them apart, and between the two any other thread may take its turn. Of a replica killed
there callers would get a head and no body, which nobody in front can ask another replica for: the
answer has begun. One write is all or nothing.

Ray Serve adds the `x-request-id` that came in to every answer, behind the one that our edge gave
it: twice the same or, where the edge did not take what a caller sent, another than the logs have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from isogloss.serving.pipeline.caller import REQUEST_ID_HEADER

Header = tuple[bytes, bytes]

_HELD = "isogloss_head"
_REQUEST_ID = REQUEST_ID_HEADER.encode()


class _Joined:
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


def write_answers_whole() -> None:
    """Replace how uvicorn sends answers, in this process; idempotent."""
    if getattr(RequestResponseCycle.send, "whole", False):
        return
    send = RequestResponseCycle.send

    async def send_whole(cycle: Any, message: Any) -> None:
        """Hold the head back until the body's first part comes."""
        if message["type"] == "http.response.start" and not cycle.response_started:
            headers = list(_with_one_id(message.get("headers", ())))
            setattr(cycle, _HELD, {**message, "headers": headers})
            return
        head, joined = getattr(cycle, _HELD, None), _Joined(cycle.transport)
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


def _with_one_id(headers: Sequence[Header]) -> Iterator[Header]:
    """The headers without any request id behind the first, in whatever case Ray writes it."""
    found = False
    for name, value in headers:
        is_id = name.lower() == _REQUEST_ID
        if not (is_id and found):
            yield name, value
        found |= is_id
