"""The smoke script against the real HTTP routes over a fake model, healthy and broken."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isogloss.deploy import smoke
from isogloss.serving.api.admin import Admin
from isogloss.serving.api.http import build_api
from isogloss.serving.http.service import Service
from isogloss.serving.registry.registry import Poller
from isogloss.serving.registry.replicas import LocalBoard, Reporter
from tests.fakes import fake_classifier, fake_settings, fake_store

SCRIPT = Path(smoke.__file__)
TOKEN = "only-for-this-test"


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """The URL of an application that runs in a thread."""
    config = uvicorn.Config(app, port=0, log_level="error", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[ASGIApp]:
    """All routes of the contract over a model without weights."""
    settings = fake_settings(tmp_path / "store")
    store = fake_store(tmp_path / "store")
    classifier = fake_classifier(settings)
    reporter = Reporter(
        "r1", settings.default_model, classifier.registry, classifier.metrics, LocalBoard()
    )
    reporter.poll()
    watch = Poller(reporter.poll, interval_s=0.1)  # a replica that falls silent counts as gone
    service = Service(classifier, {}, store, reporter, settings)
    yield build_api(service, Admin(service, SecretStr(TOKEN)))
    watch.close()
    classifier.close()


def run(url: str, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(SCRIPT), url, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=environment,
    )


def test_a_healthy_endpoint_passes_every_check(app: ASGIApp) -> None:
    with listening(app) as url:
        done = run(url, "--token", TOKEN)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    names = [*smoke.CHECKS, *smoke.ADMIN_CHECKS]
    assert [line[6:20].strip() for line in lines] == names
    assert all(line.startswith("ok") for line in lines)
    assert "congo again" in lines[-1]


def test_without_a_token_nothing_is_published(app: ASGIApp) -> None:
    with listening(app) as url:
        done = run(url)
        generation = smoke.Endpoint(url).ok("GET", "/ready").json()["generation"]
    assert done.returncode == 0, done.stdout + done.stderr
    assert "publish" not in done.stdout
    assert generation == 1


def test_a_wrong_token_fails(app: ASGIApp) -> None:
    with listening(app) as url:
        done = run(url, "--token", "wrong")
    assert done.returncode == 1
    assert [line[6:20].strip() for line in done.stdout.splitlines() if line.startswith("FAIL")] == [
        "publish"
    ]


class Rewritten:
    """An application whose answers on one path are changed on their way out."""

    def __init__(self, app: ASGIApp, path: str, old: bytes, new: bytes) -> None:
        self._app, self._path = app, path
        self._old, self._new = old, new

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def changed(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = message["body"].replace(self._old, self._new)
            await send(message)

        await self._app(scope, receive, changed if scope["path"] == self._path else send)


@pytest.mark.parametrize(
    ("path", "old", "new", "failing"),
    [
        ("/v1/classify", b'"detected":true', b'"detected":null', "classify"),
        ("/metrics", b"isogloss_", b"isogl0ss_", "metrics"),
    ],
)
def test_a_broken_answer_fails_its_check(
    app: ASGIApp,
    capsys: pytest.CaptureFixture[str],
    path: str,
    old: bytes,
    new: bytes,
    failing: str,
) -> None:
    with listening(Rewritten(app, path, old, new)) as url:
        passed = smoke.run_checks(smoke.Endpoint(url), wait_s=5)
    assert not passed
    failed = [
        line[6:20].strip()
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("FAIL")
    ]
    assert failed == [failing]


def test_proxies_are_for_other_machines(app: ASGIApp) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://me:secret@127.0.0.1:9")
    with listening(app) as url:
        assert run(url, **proxies).returncode == 0


def test_an_endpoint_that_never_comes_up_fails() -> None:
    done = run("http://127.0.0.1:9", "--wait", "0")
    assert done.returncode == 1
    assert "was not ready within 0 s" in done.stdout
    assert "Traceback" not in done.stderr
