"""The OpenAPI document is kept: generated requests get what it promises, and never a 500."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from isogloss.serving.api.admin import Admin
from isogloss.serving.api.http import build_api
from isogloss.serving.http.service import Service
from isogloss.serving.ray.hooks.uvicorn_protocol import guard_heads
from isogloss.serving.registry.registry import Poller
from isogloss.serving.registry.replicas import LocalBoard, Reporter
from tests.fakes import MODEL, fake_classifier, fake_settings, fake_store
from tests.sockets import served

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
hypothesis = pytest.importorskip("hypothesis")

TOKEN = "open sesame"


def _api(folder: Path) -> tuple[FastAPI, Poller]:
    store = fake_store(folder / "store")
    settings = fake_settings(store.root, max_body_bytes=1 << 20, max_prompt_bytes=1 << 20)
    served = fake_classifier(settings)
    reporter = Reporter("replica-1", MODEL, served.registry, served.metrics, LocalBoard())
    service = Service(served, {}, store, reporter, settings)
    api = build_api(service, Admin(service, SecretStr(TOKEN)))
    reporter.poll()
    return api, Poller(reporter.poll, interval_s=0.1)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server over a fake model, on a socket."""
    api, watch = _api(tmp_path_factory.mktemp("api"))
    guard_heads()
    try:
        with served(uvicorn.Config(api, log_config=None, ws="none")) as address:
            yield address
    finally:
        watch.close()


@pytest.fixture(scope="module")
def document(url: str) -> Any:
    """The document that the server gives out, but for the header that asks for a 503."""
    body = httpx.get(f"{url}/openapi.json", timeout=60).json()
    parameters = body["paths"]["/v1/classify"]["post"]["parameters"]
    parameters[:] = [each for each in parameters if each["name"] != "x-request-timeout-ms"]
    return schemathesis.openapi.from_dict(body)


def _try_all(url: str, document: Any, examples: int, *, the_same: bool) -> int:
    """Send every operation that many requests of a kind; returns how many were sent."""
    # A text must have a word, a language and a prompt must exist: more than JSON Schema can say.
    # Requests meant to go without the token get ours all the same: test_http.py asks without it.
    names = ("positive_data_acceptance", "ignored_auth")
    excluded = [schemathesis.checks.CHECKS.get_one(name) for name in names]
    headers = {"authorization": f"Bearer {TOKEN}"}
    sent = 0

    def send(case: Any) -> None:
        nonlocal sent
        sent += 1
        case.call_and_validate(base_url=url, headers=headers, excluded_checks=excluded, timeout=30)

    for operation in document.get_all_operations():
        for mode in schemathesis.GenerationMode:
            cases = operation.ok().as_strategy(generation_mode=mode)
            limited = hypothesis.settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=the_same,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            # What takes no parameters cannot be asked wrongly.
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):
                limited(hypothesis.given(cases)(send))()
    return sent


def test_generated_requests_get_what_the_document_promises(url: str, document: Any) -> None:
    assert _try_all(url, document, 5, the_same=True) > 100


@pytest.mark.soak
def test_many_generated_requests_get_what_the_document_promises(url: str, document: Any) -> None:
    assert _try_all(url, document, 300, the_same=False) > 1500
