"""What is tried again, when, and for how long: on a scripted transport and a made-up clock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest

from isogloss import AsyncClient, Client
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
from isogloss.serving.client.batches import MOST_BYTES, batches, bytes_of
from isogloss.serving.client.retries import Clock

NOON_S = 1_767_268_800.0  # 2026-01-01 12:00:00 GMT
MODELS = {"default": "m", "models": []}
BUSY = (429, {"error": "the queue is full", "error_type": "overloaded"})
GONE = httpx.ConnectError("refused")
Step = Any


class Script:
    """A server that replies as written, and a clock that only pauses move."""

    def __init__(self, *steps: Step, **options: Any) -> None:
        self.steps = list(steps)
        self.asked: list[httpx.Request] = []
        self.pauses: list[float] = []
        self.now_s = 1000.0
        self.options = options
        self.clock = Clock(lambda: self.now_s, lambda: NOON_S + self.now_s - 1000, lambda: 1.0)

    def reply(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if callable(step):
            step = step(request)
        status, body, *headers = step
        return httpx.Response(status, json=body, headers=headers[0] if headers else {})

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)

    def client(self) -> Client:
        transport = httpx.MockTransport(self.reply)
        return Client(
            "http://made.up", transport=transport, clock=self.clock, sleep=self.sleep,
            **self.options,
        )  # fmt: skip

    def async_client(self) -> AsyncClient:
        transport = httpx.MockTransport(self.reply)
        return AsyncClient(
            "http://made.up", transport=transport, clock=self.clock, sleep=self.sleep_async,
            **self.options,
        )  # fmt: skip


def after(value: str, status: int = 429) -> Step:
    return (status, BUSY[1], {"Retry-After": value})


@pytest.mark.parametrize(
    ("steps", "pauses"),
    [
        ([after("2"), (200, MODELS)], [2.0]),
        ([after("0"), (200, MODELS)], [0.0]),
        ([after("Thu, 01 Jan 2026 12:00:07 GMT"), (200, MODELS)], [7.0]),
        ([after("Thu, 01 Jan 2026 11:00:00 GMT"), (200, MODELS)], [0.0]),
        ([after("3", 503), (200, MODELS)], [3.0]),
        ([after("soon"), (200, MODELS)], [0.25]),
        ([BUSY, BUSY, BUSY, (200, MODELS)], [0.25, 0.5, 1.0]),
        ([GONE, httpx.ReadError("reset"), (200, MODELS)], [0.25, 0.5]),
        ([(502, {}), (504, {}), (200, MODELS)], [0.25, 0.5]),
        ([(200, MODELS)], []),
    ],
)
async def test_what_may_be_over_in_a_moment_is_tried_again(
    steps: Sequence[Step], pauses: list[float]
) -> None:
    script = Script(*steps)
    assert script.client().models().default == "m"
    assert (script.pauses, script.steps) == (pauses, [])
    script = Script(*steps)
    assert (await script.async_client().models()).default == "m"
    assert (script.pauses, script.steps) == (pauses, [])


def test_pauses_differ_between_clients_and_never_exceed_a_bound() -> None:
    script = Script(*[BUSY] * 12, (200, MODELS), retries=20)
    script.clock = Clock(script.clock.now_s, script.clock.wall_s, lambda: 0.0)
    assert script.client().models().default == "m"
    assert script.pauses[:3] == [0.125, 0.25, 0.5]
    assert max(script.pauses) == 10.0


@pytest.mark.parametrize(
    ("steps", "options", "kind", "sentence", "pauses"),
    [
        ([BUSY] * 3, {"retries": 2}, Overloaded, "full (tried 3 times in 0.8 s)", [0.25, 0.5]),
        ([after("9"), after("9")], {"timeout_s": 15}, Overloaded, "tried 2 times in 9.0 s", [9.0]),
        ([after("60")], {"timeout_s": 50}, Overloaded, "the queue is full", []),
        ([GONE] * 6, {}, Unavailable, "no answer from http://made.up (refused)", 5),
        ([GONE], {"retries": 0}, Unavailable, "is `isogloss serve` running there?", []),
    ],
)
async def test_it_gives_up(
    steps: Sequence[Step],
    options: dict[str, Any],
    kind: type[IsoglossError],
    sentence: str,
    pauses: list[float] | int,
) -> None:
    for script in (Script(*steps, **options), Script(*steps, **options)):
        with pytest.raises(kind) as refusal:
            script.client().models()
        assert sentence in str(refusal.value)
        assert script.steps == []
        assert pauses in (script.pauses, len(script.pauses))
    script = Script(*steps, **options)
    with pytest.raises(kind):
        await script.async_client().models()
    assert script.steps == []


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "no JSON", "error_type": "validation"}, MalformedInput),
        (422, {"error": "no text", "error_type": "validation"}, InvalidInput),
        (415, {"error": "no gzip", "error_type": "validation"}, InvalidInput),
        (401, {"error": "no token", "error_type": "unauthorized"}, Unauthorized),
        (404, {"error": "no prompt", "error_type": "not_found"}, NotFound),
        (413, {"error": "too much", "error_type": "too_large"}, TooLarge),
        (500, {"error": "a fault", "error_type": "internal"}, IsoglossError),
        (404, {"detail": "Not Found"}, NotFound),
        (403, {}, Unauthorized),
        (302, {}, IsoglossError),
    ],
)
def test_every_error_has_its_class_and_is_not_tried_again(
    status: int, body: dict[str, str], kind: type[IsoglossError]
) -> None:
    script = Script((status, body))
    with pytest.raises(IsoglossError) as refusal:
        script.client().models()
    assert type(refusal.value) is kind
    assert body.get("error", f"http://made.up: status {status} with") in str(refusal.value)
    assert script.pauses == []


@pytest.mark.parametrize(
    ("status", "error_type", "kind"),
    [(429, "overloaded", Overloaded), (503, "unavailable", Unavailable)],
)
def test_errors_that_pass_have_their_class_at_last(
    status: int, error_type: str, kind: type[IsoglossError]
) -> None:
    script = Script((status, {"error": "for now", "error_type": error_type}), retries=0)
    with pytest.raises(IsoglossError, match=r"^for now$") as refusal:
        script.client().models()
    assert type(refusal.value) is kind


def test_an_answer_of_something_else_is_told() -> None:
    script = Script((200, {"hello": "world"}))
    with pytest.raises(IsoglossError, match=r"made.up/v1/models: the answer is none"):
        script.client().models()


class Dripping(httpx.SyncByteStream, httpx.AsyncByteStream):
    """An answer that comes byte by byte, each soon enough."""

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(200):
            time.sleep(0.02)
            yield b" "

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(200):
            await asyncio.sleep(0.02)
            yield b" "


async def test_an_answer_that_drips_takes_no_longer_than_a_call_may() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Dripping()))
    said = r"no answer from http://made\.up \(the answer took too long\)"
    begun_s = time.monotonic()
    with (
        Client("http://made.up", transport=transport, timeout_s=0.2) as client,
        pytest.raises(Unavailable, match=said),
    ):
        client.models()
    async with AsyncClient("http://made.up", transport=transport, timeout_s=0.2) as other:
        with pytest.raises(Unavailable, match=said):
            await other.models()
    assert time.monotonic() - begun_s < 3


def test_how_things_are_now_is_asked_once() -> None:
    for ask in (Client.ready, Client.health):
        script = Script(BUSY)
        with pytest.raises(Overloaded):
            ask(script.client())
        assert script.pauses == []


SWAP = {"generation": 7, "generation_digest": None, "prompt": None}


async def test_a_change_is_tried_again_under_one_id() -> None:
    script = Script(GONE, after("1", 503), (200, SWAP), (200, SWAP), admin_token="token")
    client = script.client()
    assert client.promote("new").generation == 7
    client.promote("new")
    ids = [each.headers["x-request-id"] for each in script.asked]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert {each.headers["authorization"] for each in script.asked} == {"Bearer token"}
    script = Script(GONE, (200, SWAP), admin_token="token")
    await script.async_client().rollback(request_id="mine")
    assert [each.headers["x-request-id"] for each in script.asked] == ["mine", "mine"]
    assert json.loads(script.asked[0].content) == {}


def test_who_asks_and_for_how_long_is_said() -> None:
    script = Script(after("4"), answer_all, api_key="a key", timeout_s=10, admin_token="token")
    script.client().classify("text")
    heads = [each.headers for each in script.asked]
    assert [head["x-request-timeout-ms"] for head in heads] == ["10000", "6000"]
    assert heads[0]["x-api-key"] == "a key"
    assert "authorization" not in heads[0]
    assert script.asked[1].extensions["timeout"]["read"] == 6


def answer_all(request: httpx.Request) -> Step:
    inputs = json.loads(request.content)["inputs"]
    texts = [inputs] if isinstance(inputs, str) else inputs
    return (200, answer(texts))


def answer(texts: Sequence[str]) -> dict[str, Any]:
    """What a server might say of texts: their lengths are their tokens."""
    return {
        "model": "m", "task": "topic", "generation": 1,
        "results": [
            {
                "label": "a", "score": 0.5, "scores": [{"label": "a", "score": 0.5}],
                "language": {"code": "eng_Latn", "name": "English", "confidence": 1.0,
                             "detected": True, "known": None},
                "route": {"clade": None, "lineage": [], "reason": "universal"},
                "prompt": {"name": "p", "version": 1, "digest": "d"},
                "tokens": len(text), "truncated": False,
            }
            for text in texts
        ],
    }  # fmt: skip


def sizes(script: Script) -> list[int]:
    return [len(json.loads(each.content)["inputs"]) for each in script.asked]


def test_requests_have_256_texts_at_most_and_no_more_than_a_server_takes() -> None:
    script = Script(*[answer_all] * 3, concurrency=1)
    assert len(script.client().classify(f"text {n}" for n in range(600))) == 600
    assert sizes(script) == [256, 256, 88]
    script = Script(*[answer_all] * 4, concurrency=1)
    texts = ["\x01" * 400_000, "ü" * 200_000, "b", "c" * MOST_BYTES, "d" * (2 * MOST_BYTES)]
    found = script.client().classify(texts)
    assert [each.tokens for each in found] == [len(text) for text in texts]
    assert sizes(script) == [3, 1, 1]
    assert max(len(each.content) for each in script.asked) < 8 << 20


def test_batches_hold_everything_once_and_in_order() -> None:
    items = ["a" * (n % 9) for n in range(100)]
    found = list(batches(items, bytes_of, most=5, most_bytes=20))
    assert [each for batch in found for each in batch] == items
    assert max(map(len, found)) == 5
    assert max(sum(map(bytes_of, batch)) for batch in found) <= 20
    assert list(batches([], bytes_of)) == []
    assert bytes_of("ü\ud800") == 5


def failing(*bad: str) -> Callable[[httpx.Request], Step]:
    """A server that fails on requests with one of these texts, and does not say why."""

    def reply(request: httpx.Request) -> Step:
        texts = json.loads(request.content)["inputs"]
        if set(bad) & set(texts):
            return (500, {"error": "a fault", "error_type": "internal"})
        return (200, answer(texts))

    return reply


def test_a_text_that_a_server_fails_on_costs_no_other_its_answer() -> None:
    script = Script(*[failing("3", "200")] * 100, concurrency=1)
    found = list(script.client().classify_each(map(str, range(256))))
    bad = {n: str(each) for n, each in enumerate(found) if isinstance(each, IsoglossError)}
    assert bad == {3: "inputs[3]: a fault", 200: "inputs[200]: a fault"}
    assert len(script.asked) < 40


def test_neighbours_that_a_server_fails_on_cost_no_other_its_answer() -> None:
    script = Script(*[failing("bad1", "bad2")] * 100, concurrency=1)
    found = list(script.client().classify_each(["bad1", "bad2", "b", "c"]))
    assert [str(each) for each in found[:2]] == ["inputs[0]: a fault", "inputs[1]: a fault"]
    assert [each.tokens for each in found[2:] if not isinstance(each, IsoglossError)] == [1, 1]


def test_a_server_that_fails_on_everything_is_told_as_such() -> None:
    script = Script(*[(500, {"error": "a fault", "error_type": "internal"})] * 600, concurrency=1)
    with pytest.raises(IsoglossError, match=r"^a fault$"):
        list(script.client().classify_each(["a", "b", "c", "d"]))


@pytest.mark.parametrize("first", ["fine", "broken"])
def test_who_leaves_a_stream_leaves_no_thread_that_waits(first: str) -> None:
    """Else a program would hang at its end until the last retry of what nobody wants."""
    waiting = threading.Event()

    def reply(request: httpx.Request) -> httpx.Response:
        texts = json.loads(request.content)["inputs"]
        if texts[0] != first:
            waiting.set()
            return httpx.Response(429, json=BUSY[1], headers={"retry-after": "50"})
        waiting.wait(10)
        if first == "broken":
            return httpx.Response(401, json={"error": "no", "error_type": "unauthorized"})
        return httpx.Response(200, json=answer(texts))

    before = set(threading.enumerate())
    with Client("http://made.up", transport=httpx.MockTransport(reply), concurrency=2) as client:
        with contextlib.suppress(Unauthorized):
            for _ in client.classify_stream([*[first] * 256, *["busy"] * 256]):
                break
        left = set(threading.enumerate()) - before
        for each in left:
            each.join(10)
        assert not [each for each in left if each.is_alive()]


async def test_answers_that_come_out_of_order_are_put_in_order() -> None:
    """The first request is refused until all others have been answered."""
    answered: list[int] = []

    def reply(request: httpx.Request) -> httpx.Response:
        texts = json.loads(request.content)["inputs"]
        if texts[0] == "0" and len(answered) < 3:
            return httpx.Response(429, json=BUSY[1], headers={"retry-after": "0"})
        answered.append(int(texts[0]))
        return httpx.Response(200, json=answer(texts))

    transport = httpx.MockTransport(reply)
    async with AsyncClient("http://made.up", transport=transport, retries=1000) as client:
        texts = [str(n) * (1 + n % 3) for n in range(1024)]
        found = await client.classify(texts)
    assert [each.tokens for each in found] == [len(text) for text in texts]
    assert answered[-1] == 0
    answered.clear()
    with Client("http://made.up", transport=transport, retries=100_000) as client_of_threads:
        found = client_of_threads.classify(texts)
    assert [each.tokens for each in found] == [len(text) for text in texts]
    assert answered[-1] == 0
