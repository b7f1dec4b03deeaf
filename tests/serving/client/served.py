"""A whole server over a fake model, on a socket of this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from pydantic import SecretStr

from isogloss.serving.api.admin import Admin
from isogloss.serving.api.http import build_api
from isogloss.serving.http.service import Service
from isogloss.serving.registry.registry import Poller
from isogloss.serving.registry.replicas import LocalBoard, Reporter
from tests.fakes import MODEL, fake_classifier, fake_settings, fake_store
from tests.sockets import served

TOKEN = "open sesame"


@contextlib.contextmanager
def fake_server(folder: Path, **changes: object) -> Iterator[str]:
    """Serve while open; yields the URL."""
    store = fake_store(folder / "store")
    settings = fake_settings(store.root, **changes)
    classifier = fake_classifier(settings)
    reporter = Reporter("replica-1", MODEL, classifier.registry, classifier.metrics, LocalBoard())
    service = Service(classifier, {}, store, reporter, settings)
    api = build_api(service, Admin(service, SecretStr(TOKEN)))
    reporter.poll()
    watch = Poller(reporter.poll, interval_s=0.1)
    try:
        with served(uvicorn.Config(api, log_config=None, ws="none")) as url:
            yield url
    finally:
        watch.close()
        classifier.close()
