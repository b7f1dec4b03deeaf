"""Traces: what is in the spans of a request, that they continue the caller's, and that off is off.

The spans travel as they would in earnest: over OTLP/HTTP, to a collector of the test's own.
"""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from isogloss.prompts.errors import InvalidInput
from isogloss.serving.http.keys import ApiKeys, parsed
from isogloss.serving.pipeline.caller import Caller
from isogloss.serving.schemas import ClassifyRequest
from isogloss.serving.telemetry import tracing
from isogloss.serving.telemetry.logs import configure_logging
from tests.fakes import MODEL, fake_classifier, fake_settings, http_client
from tests.serving.api_server import Server
from tests.serving.collector import Collector, Span

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
SECRET = "fra_Latn: nobody's business"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that this process's spans go to, until the test is over."""
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        tracing.start_tracing(None, "replica-1")
        yield running
        tracing.stop_tracing()


def ask(
    server: Server,
    collector: Collector,
    *requests: dict[str, Any],
    keys: ApiKeys | None = None,
) -> dict[str, list[Span]]:
    """Send requests and return the spans they left, by name."""

    async def scenario(client: httpx.AsyncClient) -> None:
        for request in requests:
            await client.request(**request)

    server(scenario, keys=keys)
    tracing.stop_tracing()  # sends what is left
    return collector.by_name()


def classify(body: object, **headers: str) -> dict[str, Any]:
    return {"method": "POST", "url": "/v1/classify", "json": body, "headers": headers}


def test_a_collector_on_this_machine_is_told_past_the_proxy(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        tracing.start_tracing(None, "replica-1")
        assert "POST /v1/classify" in ask(server, running, classify({"inputs": SECRET}))


def test_a_request_continues_its_callers_trace(server: Server, collector: Collector) -> None:
    texts = [SECRET, "fra_Latn: oui", "plain"]
    sent = classify({"inputs": texts}, traceparent=TRACEPARENT, **{"x-request-id": "r-1"})
    spans = ask(server, collector, sent)
    (own,) = spans.pop("POST /v1/classify")
    assert (own.trace_id, own.parent_id, own.kind) == (TRACE, PARENT, "SERVER")
    assert own.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/classify",
        "http.response.status_code": 200,
        "isogloss.request_id": "r-1",
        "isogloss.model": MODEL,
        "isogloss.task": "topic",
        "isogloss.generation": 1,
        "isogloss.texts": 3,
        "isogloss.tokens": sum(map(len, texts)),
        "isogloss.clades": ["Romance", "universal"],
        "isogloss.prompts": ["everywhere@1", "romance@1"],
    }
    assert own.resource["service.name"] == "isogloss"
    assert own.resource["service.instance.id"] == "replica-1"
    assert own.status == "UNSET"
    (plan,), (score,) = spans.pop("plan"), spans.pop("score")
    assert not spans
    for stage in (plan, score):
        assert (stage.trace_id, stage.parent_id) == (TRACE, own.span_id)
        assert stage.attributes == {"isogloss.texts": 3}
        assert own.start_ns <= stage.start_ns <= stage.end_ns <= own.end_ns
    assert plan.end_ns <= score.start_ns
    assert "business" not in repr(collector.spans())


def test_what_went_wrong_is_a_type_and_never_a_message(
    server: Server, collector: Collector
) -> None:
    spans = ask(
        server,
        collector,
        classify({"inputs": SECRET, "task": "nobody"}),
        {"method": "GET", "url": f"/v1/{SECRET}"},
        {"method": "PUT", "url": "/v1/prompts/romance", "content": b"x"},
        {"method": "BUSINESS", "url": "/health"},
    )
    unknown, nowhere = spans["POST /v1/classify"][0], spans["GET"][0]
    assert unknown.attributes["error.type"] == "not_found"
    assert unknown.status == "UNSET"  # the caller's mistake, not the server's
    assert nowhere.attributes["http.response.status_code"] == 404
    assert "http.route" not in nowhere.attributes
    assert spans["PUT /v1/prompts/{name}"][0].attributes["error.type"] == "unauthorized"
    (odd,) = (span for own in spans.values() for span in own if span.name.startswith("HTTP"))
    assert odd.attributes["http.request.method"] == "_OTHER"
    (failed,) = spans["plan"]
    assert failed.attributes["error.type"] == "NotFound"
    assert failed.status == "ERROR"
    assert "business" not in repr(collector.spans()).lower()


def test_no_key_is_in_a_trace(server: Server, collector: Collector) -> None:
    keys = ApiKeys(parsed([("here", "web:business-of-nobody")]))
    right = classify({"inputs": "a"}, **{"x-api-key": "business-of-nobody"})
    wrong = classify({"inputs": "a"}, authorization="Bearer business-of-all")
    spans = ask(server, collector, right, wrong, keys=keys)
    found = [s.attributes["http.response.status_code"] for s in spans["POST /v1/classify"]]
    assert found == [200, 401]
    assert "business" not in repr(collector.spans())


def test_a_failing_model_is_an_error_of_the_server(server: Server, collector: Collector) -> None:
    async def run() -> None:
        settings = fake_settings(server.store.root)
        classifier = fake_classifier(settings)
        classifier.backbone.failure = RuntimeError(SECRET)  # type: ignore[attr-defined]
        async with http_client(classifier, server.store, settings) as client:
            answer = await client.post("/v1/classify", json={"inputs": "a"})
            assert answer.status_code == 500

    asyncio.run(run())
    tracing.stop_tracing()
    spans = collector.by_name()
    assert spans["POST /v1/classify"][0].status == "ERROR"
    assert spans["POST /v1/classify"][0].attributes["error.type"] == "internal"
    assert spans["score"][0].attributes["error.type"] == "BatchFailed"
    assert "business" not in repr(collector.spans())


def test_the_work_of_another_process_belongs_to_the_same_trace(
    server: Server, collector: Collector
) -> None:
    async def run() -> None:
        classifier = fake_classifier(fake_settings(server.store.root))
        caller = Caller(traceparent=TRACEPARENT)
        await classifier.classify(ClassifyRequest(inputs="a"), caller)
        classifier.close()

    asyncio.run(run())
    tracing.stop_tracing()
    spans = collector.by_name()
    assert set(spans) == {"plan", "score"}
    assert {(span.trace_id, span.parent_id) for span in collector.spans()} == {(TRACE, PARENT)}


@pytest.mark.parametrize(
    "given", ["", "00-x", f"00-{TRACE}-{'0' * 16}-01", "\xe9" * 40, "00-" * 99]
)
def test_a_traceparent_that_is_none_starts_a_trace_of_its_own(
    server: Server, collector: Collector, given: str
) -> None:
    request = classify({"inputs": "a"}) | {"headers": {"traceparent": given.encode("latin-1")}}
    spans = ask(server, collector, request)
    (own,) = spans["POST /v1/classify"]
    assert own.parent_id == ""
    assert own.trace_id != TRACE
    assert len(own.trace_id) == 32


def test_callers_who_do_not_sample_are_heeded(server: Server, collector: Collector) -> None:
    assert (
        ask(server, collector, classify({"inputs": "a"}, traceparent=TRACEPARENT[:-1] + "0")) == {}
    )


@pytest.mark.usefixtures("own_loggers")
async def test_log_lines_name_the_trace(server: Server, collector: Collector) -> None:
    written = io.StringIO()
    configure_logging("json", stream=written)
    async with server.client(log_requests="all") as client:
        await client.post(
            "/v1/classify", json={"inputs": "a"}, headers={"traceparent": TRACEPARENT}
        )
    tracing.stop_tracing()
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    (line,) = (line for line in lines if line["message"] == "request")
    assert line["trace_id"] == TRACE
    assert line["span_id"] == collector.by_name()["POST /v1/classify"][0].span_id


def test_without_an_endpoint_nothing_is_traced_nor_imported(server: Server) -> None:
    code = (
        "import sys, isogloss.serving.api.http, isogloss.serving.pipeline.classifier\n"
        "from isogloss.serving.telemetry import tracing\n"
        "tracing.start_tracing(None)\n"
        "assert tracing.current_trace() == {}\n"
        "assert not {'opentelemetry.sdk', 'isogloss.serving.telemetry.spans'} & set(sys.modules)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parents[3],
        env={"PATH": "/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("setting", "environment", "wanted"),
    [
        (None, {}, False),
        (True, {}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        (False, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        (True, {"OTEL_SDK_DISABLED": "true"}, False),
        (None, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
    ],
)
def test_when_traces_are_wanted(
    setting: bool | None, environment: dict[str, str], wanted: bool
) -> None:
    assert tracing.traces_wanted(setting, environment) is wanted


def test_what_cannot_be_exported_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=r"'grpc' is not spoken here; set http/protobuf"):
        tracing.traces_wanted(True, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    monkeypatch.setitem(sys.modules, "isogloss.serving.telemetry.spans", None)
    with pytest.raises(InvalidInput, match=r"not installed; run pip install 'isogloss\[otel\]'"):
        tracing.start_tracing(True)
