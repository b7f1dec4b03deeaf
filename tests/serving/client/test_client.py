"""The clients against a real server: answers in order, errors with its sentences, every change."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from isogloss import AsyncClient, Client
from isogloss.prompts.errors import (
    InvalidInput,
    InvalidPrompt,
    IsoglossError,
    MalformedInput,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from isogloss.serving.client import asks
from tests.fakes import soft_prompt
from tests.serving.client.served import TOKEN, fake_server

TEXTS = [f"Satz {n}" + "." * (n % 50) for n in range(1000)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with fake_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def own_url(tmp_path: Path) -> Iterator[str]:
    """A server whose prompts a test may change."""
    with fake_server(tmp_path) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


def test_a_text_has_one_result_and_texts_have_a_list(client: Client) -> None:
    result = client.classify("fra_Latn: un", top_k=1)
    assert (result.prompt.name, result.tokens, len(result.scores)) == ("romance", 12, 1)
    assert result.scores[0].label == result.label
    (alone,) = client.classify(["fra_Latn: un"], prompt="congo", abstain=1.0)
    assert (alone.prompt.name, alone.abstained) == ("congo", True)
    assert client.classify([]) == []


def test_many_texts_come_back_in_order(client: Client) -> None:
    assert [each.tokens for each in client.classify(TEXTS)] == [len(text) for text in TEXTS]


def test_a_stream_takes_texts_as_it_goes_and_tells_how_far_it_is(url: str) -> None:
    taken: list[int] = []
    told: list[int] = []

    def texts() -> Iterator[str]:
        for n in range(5000):
            taken.append(n)
            yield f"text {n % 7}" + "!" * (n % 7)

    with Client(url, concurrency=2) as client:
        stream = client.classify_stream(texts(), progress=told.append)
        first = [next(stream).tokens for _ in range(256)]
        assert len(taken) <= 3 * 256 + 1  # one done, one under way, one being gathered
        rest = [each.tokens for each in stream]
    assert first + rest == [6 + n % 7 for n in range(5000)]
    assert told == [*range(256, 5000, 256), 5000]


def test_a_stream_names_the_text_that_cannot_be_answered(client: Client) -> None:
    texts = [*TEXTS[:700], " ", *TEXTS[700:]]
    with pytest.raises(InvalidInput, match=r"^inputs\[700\]: the text is empty"):
        list(client.classify_stream(texts))
    outcomes = list(client.classify_each([*texts[:400], "x" * 100_001, *texts[400:], "\ud800"]))
    bad = {n: str(each) for n, each in enumerate(outcomes) if isinstance(each, IsoglossError)}
    assert [*bad] == [400, 701, 1002]
    assert bad[400].startswith("inputs[400]: 100001 characters are too many")
    assert bad[701].startswith("inputs[701]: the text is empty")
    assert bad[1002].startswith("inputs[1002]: character 0 is a lone surrogate")
    assert isinstance(outcomes[400], TooLarge)
    assert len(outcomes) == 1003


def test_what_is_served_is_told_in_types(client: Client) -> None:
    assert client.health() is True
    assert client.ready().ready is True
    assert [each.name for each in client.models().models] == ["fake-bloom"]
    assert {each.name for each in client.prompts().prompts} == {"everywhere", "romance", "congo"}
    assert client.prompt("romance@1").length == 5
    assert client.prompt_file("romance") == soft_prompt(2.0, length=5).to_bytes()
    assert client.routes().routes[0].clades["Romance"] == "romance"
    assert len(client.languages().languages) > 200
    assert client.trials().trials == []


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (lambda c: c.classify("a", language="xx"), InvalidInput, "unknown language 'xx'"),
        (lambda c: c.classify("a", prompt="nobody"), NotFound, "no prompt 'nobody'"),
        (lambda c: c.classify(" "), InvalidInput, "the text is empty"),
        (lambda c: c.classify("x" * 100_001), TooLarge, "100001 characters are too many"),
        (lambda c: c.classify("a", top_k=0), InvalidInput, "top_k: "),
        (lambda c: c.classify("a", topk=1), InvalidInput, "topk: unknown field"),
        (lambda c: c.prompt("no/body"), NotFound, "there is no GET /v1/prompts"),
        (lambda c: c.promote("romance"), Unauthorized, "admin_token: none was given"),
        (lambda c: c.rollback(3, trial="a"), InvalidInput, "`to` and `trial` exclude"),
        (lambda c: c.delete("a", request_id="a b"), InvalidInput, "request_id: 'a b' is none"),
        (lambda c: c.publish("a", b"", shadow=True, canary=0.5), InvalidInput, "canary and shadow"),
        (lambda c: c.publish("a", "/nowhere/a"), InvalidPrompt, "/nowhere/a: cannot be read"),
    ],
)
def test_errors_are_ours_with_the_servers_sentence(
    client: Client, call: Callable[[Client], Any], kind: type[Exception], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence.replace("(", r"\(")):
        call(client)


def test_a_wrong_token_is_refused_by_the_server(url: str) -> None:
    with (
        Client(url, admin_token="guessed") as client,
        pytest.raises(Unauthorized, match="missing or wrong"),
    ):
        client.rollback()


def test_a_malformed_body_is_told_from_a_wrong_one(client: Client) -> None:
    ask = asks.Ask("POST", "/v1/classify", bytes, content=b"{")
    with pytest.raises(MalformedInput, match="not valid JSON"):
        client._send(ask)


def test_nobody_at_the_address() -> None:
    with (
        Client("http://127.0.0.1:9", retries=0) as client,
        pytest.raises(Unavailable, match=r"no answer from http://127.0.0.1:9 .*isogloss serve"),
    ):
        client.models()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"url": "localhost:8000"}, "url 'localhost:8000': give the server's address"),
        ({"url": "http://a:b"}, "give the server's address"),
        ({"url": "http://a/b?key=1"}, "url 'http://a/b.key=1': an address has no query"),
        ({"url": "http://a#b"}, "no query and no fragment"),
        ({"timeout_s": 0}, "timeout_s: 0 is no time"),
        ({"retries": -1}, "retries: -1 is too few"),
        ({"concurrency": 0}, "concurrency: 0 is too few"),
    ],
)
def test_a_client_that_cannot_be_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        Client(**given)


def test_the_password_of_an_address_is_sent_and_not_shown() -> None:
    sent: list[str] = []

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["authorization"])
        if len(sent) > 1:
            raise httpx.ConnectError("refused")
        return httpx.Response(500, text="oops")

    url = "http://user:s3cret@made.up/below"
    with Client(url, transport=httpx.MockTransport(reply), retries=0) as client:
        assert "url='http://made.up/below'" in repr(client.target)
        shown = [repr(client.target)]
        for _ in range(2):
            with pytest.raises(IsoglossError, match=r"http://made\.up/below") as told:
                client.models()
            shown.append(str(told.value))
    for wrong in ("http://user:s3cret@a:b", "user:s3cret@a", "http://user:s3cret@a?b"):
        with pytest.raises(InvalidInput) as refused:
            Client(wrong)
        shown.append(str(refused.value))
    assert len(sent) == 2
    assert not [each for each in shown if "s3cret" in each]


def test_the_environment_says_where_and_as_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Client().target.url == "http://127.0.0.1:8000"
    monkeypatch.setenv("ISOGLOSS_URL", "https://example.org/isogloss/")
    monkeypatch.setenv("ISOGLOSS_CLIENT_KEY", "a key")
    monkeypatch.setenv("ISOGLOSS_ADMIN_TOKEN", "a token")
    target = Client().target
    assert target.url == "https://example.org/isogloss"
    assert (target.api_key, target.bearer()) == ("a key", "Bearer a token")
    assert "a key" not in repr(target)
    assert "a token" not in repr(target)
    assert Client("http://a", api_key="b").target.api_key == "b"


def test_every_change(own_url: str, tmp_path: Path) -> None:
    file = tmp_path / "new.safetensors"
    file.write_bytes(soft_prompt(4.0).to_bytes())
    with Client(own_url, admin_token=TOKEN) as client:
        done = client.publish("new", file)
        assert done.prompt is not None
        assert (done.generation, done.prompt.name, done.prompt.version) == (2, "new", 1)
        other = soft_prompt(5.0).to_bytes()
        assert client.publish("new", other, request_id="once").generation == 3
        assert client.publish("third", other).generation == 4
        assert client.publish("new", other, request_id="once").generation == 3
        client.publish("both", ["everywhere", "new@1"])
        members = client.classify("one", prompt="both").prompt.members or []
        assert [each.name for each in members] == ["everywhere", "new"]
        table = client.routes().routes[0]
        client.publish_routes([table.model_copy(update={"universal": "new@1"})])
        assert client.classify("one").prompt.name == "new"
        client.rollback()
        assert client.classify("one").prompt.name == "everywhere"
        client.rollback(to=2)
        assert client.routes().routes == [table]
        assert client.publish_routes(client.routes()).generation == client.ready().generation


def test_every_change_of_a_trial(own_url: str) -> None:
    file = soft_prompt(4.0).to_bytes()
    with Client(own_url, admin_token=TOKEN) as client:
        client.publish(
            "try",
            file,
            canary=0.05,
            routes=["universal", "Romance"],
            min_agreement=0.5,
            min_texts=9,
        )
        (trial,) = client.trials().trials
        assert (trial.trial.kind, trial.trial.share) == ("canary", 0.05)
        assert set(trial.trial.clades) == {"universal", "Romance"}
        assert trial.trial.limits is not None
        assert trial.trial.limits.min_agreement == 0.5
        client.rollback(trial="try")
        assert client.trials().trials == []
        client.publish("try", file, shadow=True, share="50%", routes=["universal"])
        assert client.trials().trials[0].trial.kind == "shadow"
        client.promote("try")
        assert client.classify("one").prompt.name == "try"
        client.rollback()
        client.publish("lonely", file)
        client.delete("lonely")
        with pytest.raises(NotFound):
            client.prompt("lonely")


async def test_the_same_from_an_event_loop(own_url: str) -> None:
    told: list[int] = []
    async with AsyncClient(own_url, admin_token=TOKEN, concurrency=3) as client:
        assert (await client.classify("fra_Latn: un")).prompt.name == "romance"
        assert [each.tokens for each in await client.classify(TEXTS)] == [*map(len, TEXTS)]
        stream: AsyncIterator[Any] = client.classify_stream(TEXTS, progress=told.append)
        assert [each.tokens async for each in stream] == [*map(len, TEXTS)]
        assert told == [256, 512, 768, 1000]
        with pytest.raises(InvalidInput, match=r"^inputs\[300\]: the text is empty"):
            await client.classify([*TEXTS[:300], ""])
        with pytest.raises(InvalidInput, match="unknown language"):
            await client.classify(TEXTS, language="xx")
        assert (await client.health(), (await client.ready()).ready) == (True, True)
        assert (await client.models()).default == "fake-bloom"
        assert len((await client.prompts()).prompts) == 3
        assert (await client.prompt("congo")).version == 1
        assert await client.prompt_file("congo") == soft_prompt(3.0).to_bytes()
        assert len((await client.languages()).languages) > 200
        published = await client.publish("new", soft_prompt(4.0).to_bytes())
        assert published.generation == 2
        assert (await client.publish_routes(await client.routes())).generation == 2
        await client.publish("new", soft_prompt(5.0).to_bytes(), canary="5%", routes=["universal"])
        assert len((await client.trials()).trials) == 1
        await client.promote("new")
        assert (await client.classify("one")).prompt.version == 2
        await client.rollback(to=1)
        assert (await client.delete("new")).generation == 6


async def test_who_leaves_a_stream_leaves_nothing_running(url: str) -> None:
    async with AsyncClient(url, concurrency=3) as client:
        stream = client.classify_stream(TEXTS)
        assert (await anext(stream)).tokens == len(TEXTS[0])
        await stream.aclose()
        assert len(asyncio.all_tasks()) == 1


def test_a_client_needs_no_more_than_the_core() -> None:
    code = (
        "import sys, isogloss\n"
        "before = set(sys.modules)\n"
        "print(isogloss.Client.__name__, isogloss.AsyncClient.__name__)\n"
        "print({'httpx'} & before, *sorted({'torch', 'ray', 'fastapi', 'starlette', 'uvicorn',"
        " 'prometheus_client', 'transformers', 'pyarrow'} & set(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["Client AsyncClient", "set()"], ran.stderr


def test_the_package_has_nothing_else() -> None:
    import isogloss

    with pytest.raises(AttributeError, match="has no attribute 'Klient'"):
        _ = isogloss.Klient
