"""How the long runs ask: every way to fail is seen, and a slow server slows no caller down."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from isogloss.deploy.load.clients import ClosedLoop, OpenLoop, Question, ask
from isogloss.deploy.load.tally import NO_ANSWER, Tally
from isogloss.deploy.load.wire import Connection, NoAnswer, classify_request

Behave = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def http_server(behave: Behave) -> Any:
    """Calls `behave` with the number of each request, whatever it asks."""
    numbers = itertools.count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
                await reader.readexactly(int(length))
                await behave(next(numbers), writer)
        except (EOFError, OSError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        host, port = listening.sockets[0].getsockname()
        yield f"http://{host}:{port}"


def reply(status: int, body: bytes = b"{}", more: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


ANY = Question(classify_request({"inputs": "a"}), ("a",))


def test_a_closed_loop_sees_every_way_to_fail() -> None:
    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        kind = number % 4
        if kind == 1:  # dies in the middle of its answer
            writer.write(reply(200, b"{" * 100)[:-50])
        elif kind == 0:
            writer.write(reply(200))
        elif kind == 2:
            writer.write(reply(503, b"busy"))
        if kind in (1, 3):
            writer.close()

    async def run() -> Tally:
        tally = Tally()
        async with http_server(behave) as url, ClosedLoop(url, [ANY], 3, tally).running():
            while tally.sent < 24:
                await asyncio.sleep(0)
        return tally

    tally = asyncio.run(run())
    assert set(tally.statuses) == {200, 503, NO_ANSWER}
    assert tally.statuses[NO_ANSWER] == pytest.approx(2 * tally.statuses[503], abs=3)
    assert tally.unaccounted == 0
    assert tally.failed == tally.sent - tally.statuses[200] > 0
    assert any(failure.said == "busy" for failure in tally.failures)


def test_a_connection_closed_between_requests_loses_none() -> None:
    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(200, more="" if number % 2 else "Connection: close\r\n"))
        if number % 4 == 3:
            writer.close()

    async def run() -> tuple[Tally, Connection]:
        tally = Tally()
        async with http_server(behave) as url:
            connection = Connection(url)
            for _ in range(8):
                await ask(connection, ANY, tally)
                await asyncio.sleep(0.01)
            connection.close()
        return tally, connection

    tally, connection = asyncio.run(run())
    assert (tally.statuses[200], tally.failed) == (8, 0)
    assert connection.opened > 4


def test_a_silent_server_is_given_up() -> None:
    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        """Say nothing."""

    async def run() -> None:
        async with http_server(behave) as url:
            connection = Connection(url, patience_s=0.05)
            with pytest.raises(NoAnswer, match="TimeoutError after the request was written"):
                await connection.ask(ANY.request)

    asyncio.run(run())


def test_chunked_answers_are_read() -> None:
    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    async def run() -> bytes:
        async with http_server(behave) as url:
            connection = Connection(url)
            first, second = [await connection.ask(ANY.request) for _ in range(2)]
            connection.close()
        return first.body + second.body

    assert asyncio.run(run()) == b"abcabc"


def test_an_open_loop_keeps_its_rate_however_slow_answers_are() -> None:
    async def run() -> Tally:
        tally, enough = Tally(), asyncio.Event()

        async def behave(number: int, writer: asyncio.StreamWriter) -> None:
            if number == 49:
                enough.set()
            await enough.wait()
            writer.write(reply(200))

        async with http_server(behave) as url, OpenLoop(url, [ANY], 100, tally).running():
            began_s = time.perf_counter()
            await enough.wait()
            assert tally.statuses[200] == 0, "all of them were sent before the first answer"
            assert time.perf_counter() - began_s >= 0.48, "and no sooner than their rate says"
        return tally

    tally = asyncio.run(run())
    assert (tally.failed, tally.unaccounted) == (0, 0)
    assert len(tally.late_s) == tally.sent


async def test_an_open_loop_sends_at_the_gaps_it_is_given_and_ends_with_them() -> None:
    tally = Tally()

    async def behave(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(200))
        if number == 2:
            done.set()

    done = asyncio.Event()
    async with http_server(behave) as url:
        loop = OpenLoop(url, [ANY], 1.0, tally, gaps_s=iter([0.0, 0.01, 0.0]))
        async with loop.running():
            await asyncio.wait_for(done.wait(), 30)
    assert tally.sent == tally.statuses[200] == len(tally.late_s) == 3
