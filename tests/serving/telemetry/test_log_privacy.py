"""No word of a request is in any log, whatever fails and wherever; unless that is asked for."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from isogloss.prompts.model.tokenizer import TokenizedText
from isogloss.serving.detection.detectors import Detection
from isogloss.serving.http.keys import ApiKeys, parsed
from isogloss.serving.http.service import Service
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.telemetry.logs import configure_logging
from tests.fakes import (
    FakeBackbone,
    FakeDetector,
    FakeTokenizer,
    fake_settings,
    http_client,
    route_table,
    soft_prompt,
)
from tests.serving.api_server import ADMIN, TOKEN, Server

pytestmark = pytest.mark.usefixtures("own_loggers")

MARK = "squeamish-ossifrage"
TEXT = f"fra_Latn: {MARK}"
CLIENTS = ("httpx", "httpcore")  # the test's own: they say what they ask for


class QuotingTokenizer(FakeTokenizer):
    """Fails as tokenizers do, quoting what it was given."""

    def encode(
        self, texts: Sequence[str], max_tokens: int, around: tuple[str, str] = ("", "")
    ) -> list[TokenizedText]:
        if any("tokenizer" in text for text in texts):
            raise ValueError(f"cannot encode {list(texts)!r}")
        return super().encode(texts, max_tokens, around)


class QuotingDetector(FakeDetector):
    def detect(self, texts: Sequence[str]) -> list[Detection]:
        if any("detector" in text for text in texts):
            raise UnicodeError(f"what is {list(texts)!r}?") from KeyError(texts[0])
        return super().detect(texts)


class QuotingBackbone(FakeBackbone):
    """Fails where its test says so, quoting a text."""

    def __init__(self, model_id: str) -> None:
        super().__init__(model_id)
        self.tokenizer = QuotingTokenizer()


def quoting_classifier(settings: Any) -> Classifier:
    return build_classifier(
        settings,
        None,
        backbone=lambda name, _: QuotingBackbone(name),
        detector=lambda _: QuotingDetector(),
    )


@pytest.fixture
def written() -> Iterator[dict[str, io.StringIO]]:
    """What our loggers write, at every level, and what all others do."""
    streams = {"ours": io.StringIO(), "others": io.StringIO()}
    root, handler = logging.getLogger(), logging.StreamHandler(streams["others"])
    handler.addFilter(lambda record: record.name.partition(".")[0] not in CLIENTS)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield streams
    root.removeHandler(handler)
    root.setLevel(level)


def requests() -> Iterator[dict[str, Any]]:
    """Good and bad requests that have the mark in every place a client can write to."""
    classify = {"method": "POST", "url": "/v1/classify"}
    for body in (
        {"inputs": TEXT},
        {"inputs": [TEXT, "plain"], "top_k": 1},
        {"inputs": TEXT, "prompt": MARK},
        {"inputs": TEXT, "prompt": f"{MARK}/../"},
        {"inputs": TEXT, "task": MARK},
        {"inputs": TEXT, "model": MARK},
        {"inputs": TEXT, "language": MARK},
        {"inputs": TEXT, MARK: MARK},
        {"inputs": {MARK: MARK}},
        {"inputs": [[MARK]]},
        {"inputs": TEXT, "top_k": MARK},
        {"inputs": f"tokenizer {MARK}"},
        {"inputs": f"detector {MARK}"},
        {"inputs": MARK * 20_000},
    ):
        yield {**classify, "json": body}
    for content in (
        MARK.encode(),
        b'{"inputs": "' + MARK.encode(),
        b'{"inputs": "\\ud800' + MARK.encode() + b'"}',
        b'{"inputs": "\xff' + MARK.encode() + b'"}',
    ):
        yield {**classify, "content": content}
    for header in (
        "x-request-timeout-ms",
        "x-api-key",
        "authorization",
        "x-forwarded-for",
        "cookie",
    ):
        yield {**classify, "json": {"inputs": TEXT}, "headers": {header: MARK}}
    yield {**classify, "json": {"inputs": TEXT}, "headers": {"x-request-id": f"no id: {MARK}"}}
    yield {**classify, "json": {"inputs": TEXT}, "headers": {"x-request-timeout-ms": "1"}}
    yield {**classify, "json": {"inputs": TEXT}, "params": {MARK: MARK}}
    for method, path in (
        ("GET", f"/{MARK}"),
        ("DELETE", f"/v1/prompts/{MARK}"),
        ("GET", f"/v1/prompts/{MARK}"),
        ("PATCH", f"/v1/prompts/{MARK}"),
        ("GET", f"/v1/prompts/{MARK}/file?{MARK}"),
        ("PUT", f"/v1/prompts/{MARK}%20"),
    ):
        yield {"method": method, "url": path, "headers": ADMIN}
    odd = soft_prompt(1.0, labels=(MARK, "b"), task=MARK)
    yield {
        "method": "PUT",
        "url": "/v1/prompts/romance",
        "content": odd.to_bytes(),
        "headers": ADMIN,
    }
    yield {"method": "PUT", "url": "/v1/prompts/romance", "content": MARK, "headers": ADMIN}
    table = route_table("romance", {MARK: MARK}).model_dump(mode="json")
    yield {"method": "PUT", "url": "/v1/routes", "json": {"routes": [table]}, "headers": ADMIN}
    yield {"method": "POST", "url": "/v1/rollback", "json": {"to": MARK}, "headers": ADMIN}


def run(
    server: Server, written: dict[str, io.StringIO], monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> list[int]:
    """Send all of them, then some to a model, a service and a store that fail; the statuses."""
    settings = fake_settings(server.store.root, log_requests="all", **changes)
    form, log_texts = settings.log_format, settings.log_texts
    configure_logging(form, level="DEBUG", log_texts=log_texts, stream=written["ours"])
    statuses: list[int] = []

    async def scenario() -> None:
        classifier = quoting_classifier(settings)
        async with http_client(classifier, server.store, settings, TOKEN) as client:
            statuses.extend([(await client.request(**each)).status_code for each in requests()])
            statuses.extend(await failures(client, classifier, monkeypatch))
            await hang_up(client)

    asyncio.run(scenario())
    return statuses


async def failures(
    client: httpx.AsyncClient, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Requests while something inside fails, quoting them."""

    async def ask() -> int:
        return (await client.post("/v1/classify", json={"inputs": [TEXT, "b"]})).status_code

    def broken(*_: object, **__: object) -> None:
        raise KeyError(TEXT) from ValueError(TEXT)

    found = []
    backbone = classifier.backbone
    assert isinstance(backbone, FakeBackbone)
    for failure in (RuntimeError(TEXT), MemoryError(TEXT), ValueError(TEXT, {TEXT: TEXT})):
        backbone.failure = failure
        found.append(await ask())
    backbone.failure = None
    for target in (
        "isogloss.serving.pipeline.classifier.result_of",
        "isogloss.serving.pipeline.gate._check_text",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, broken)
            found.append(await ask())
    with monkeypatch.context() as patch:
        patch.setattr(Service, "ask", broken)
        found.append(await ask())
    return found


async def hang_up(client: httpx.AsyncClient) -> None:
    """Leave while the answer is being made."""
    asking = asyncio.create_task(client.post("/v1/classify", json={"inputs": TEXT}))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


def test_no_word_of_a_request_is_logged(
    server: Server, written: dict[str, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings(record=True) as warned:
        statuses = run(server, written, monkeypatch)
    assert {200, 400, 404, 405, 413, 422, 500} <= set(statuses)
    assert statuses.count(500) >= 6
    lines = [json.loads(line) for line in written["ours"].getvalue().splitlines()]
    assert sum(line["message"] == "request" for line in lines) >= len(statuses)
    traces = [line["error"] for line in lines if "error" in line]
    assert len(traces) >= 6
    assert all(set(error) == {"type", "trace"} for error in traces)
    for stream in written.values():
        assert MARK not in stream.getvalue()
        assert "squeamish" not in stream.getvalue()
    assert MARK not in str([str(each.message) for each in warned])


def test_it_is_where_that_is_asked_for(
    server: Server, written: dict[str, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the test above can fail."""
    run(server, written, monkeypatch, log_texts=True)
    lines = [json.loads(line) for line in written["ours"].getvalue().splitlines()]
    assert any(TEXT in line.get("texts", ()) for line in lines)
    assert any(MARK in line.get("error", {}).get("message", "") for line in lines)


def test_lines_for_people_have_no_word_of_it_either(
    server: Server, written: dict[str, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(server, written, monkeypatch, log_format="text")
    assert "request_id=" in written["ours"].getvalue()
    assert MARK not in written["ours"].getvalue()


def asked_with_keys() -> Iterator[tuple[dict[str, str], int]]:
    """Headers that hold keys, right ones and wrong ones, and the status that they get."""
    for key, status in ((f"{MARK}-of-web", 200), (f"{MARK}-of-file", 200), (f"{MARK}-no", 401)):
        yield {"x-api-key": key}, status
        yield {"authorization": f"Bearer {key}"}, status
        yield {"authorization": f"Basic {key}"}, 401
    yield {}, 401


def test_no_key_is_in_logs_metrics_or_answers(
    server: Server, written: dict[str, io.StringIO], tmp_path: Path
) -> None:
    file, clock = tmp_path / "keys", iter(range(10_000))
    file.write_text(f"batch {MARK}-of-file\n")
    keys = ApiKeys(parsed([("here", f"web:{MARK}-of-web")]), file, clock=lambda: next(clock) / 10)
    configure_logging("json", level="DEBUG", log_texts=False, stream=written["ours"])
    answers: list[httpx.Response] = []

    async def scenario(client: httpx.AsyncClient) -> None:
        for headers, status in asked_with_keys():
            body = {"inputs": "fra_Latn: un"}
            answers.append(await client.post("/v1/classify", json=body, headers=headers))
            assert answers[-1].status_code == status, headers
        file.write_text(f"batch\t{MARK}-of-file\nbatch: {MARK}-twice\n")
        os.utime(file, (1, 1))
        for headers, status in asked_with_keys():  # broken: those that were read stay
            answers.append(await client.get("/v1/models", headers=headers))
            assert answers[-1].status_code == status, headers
        answers.append(await client.get("/metrics"))

    server(scenario, keys=keys, log_requests="all")
    assert 'isogloss_key_texts_total{key="batch"' in answers[-1].text
    assert "the API keys stay as they were" in written["ours"].getvalue()
    for answer in answers:
        assert "squeamish" not in answer.text + repr(answer.headers)
    assert "squeamish" not in repr(vars(keys))
    for stream in written.values():
        assert "squeamish" not in stream.getvalue()
