"""The audit of the dependencies, against an advisory service of the test's own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageMetadata
from pathlib import Path
from typing import Any, cast

import pytest

from isogloss.deploy import audit

pytest.importorskip("pip_audit", reason="pip-audit is not installed")

Knows = Callable[[dict[str, str]], None]


@pytest.fixture
def knows(monkeypatch: pytest.MonkeyPatch) -> Iterator[Knows]:
    """An advisory service; tell it package -> advisory. It is the only one that is asked."""
    advisories: dict[str, str] = {}

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            advisory = advisories.get(asked["package"]["name"])
            found = {"vulns": [_advisory(advisory, asked)]} if advisory else {}
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    ours = {"ours": ("--vulnerability-service", "osv", "--osv-url", url)}
    monkeypatch.setattr(audit, "SERVICES", ours)
    yield advisories.update
    server.shutdown()
    thread.join()
    server.server_close()


def _advisory(advisory: str, asked: dict[str, Any]) -> dict[str, Any]:
    event = {"introduced": "0"}, {"fixed": "99.0"}
    affected = {
        "package": asked["package"],
        "versions": [asked["version"]],
        "ranges": [{"type": "ECOSYSTEM", "events": list(event)}],
    }
    return {
        "id": advisory,
        "aliases": [f"{advisory}-alias"],
        "summary": "it is broken",
        "details": "it is broken",
        "published": "2026-01-01T00:00:00Z",
        "affected": [affected],
    }


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    file = tmp_path / "constraints.txt"
    file.write_text("# pins\nclick==8.5.1\nattrs==26.1.0\n")
    return file


def test_a_vulnerable_package_fails_the_audit(knows: Knows, pins: Path) -> None:
    knows({"jinja2": "CVE-0", "click": "CVE-1"})
    with pytest.raises(audit.AuditFailed, match=r"click 8.5.1: CVE-1\b.*, mended in 99.0"):
        audit.audit_advisories(pins, {})
    for name in ("CVE-1", "CVE-1-alias"):
        said = audit.audit_advisories(pins, {name: "we call nothing of it"})
        assert said == "2 packages have no known vulnerability (ours; ignored: 1)"


def test_whole_packages_pass_the_audit(knows: Knows, pins: Path) -> None:
    knows({"jinja2": "CVE-0"})
    assert audit.audit_advisories(pins, {}) == "2 packages have no known vulnerability (ours)"


def test_a_service_that_knows_nothing_of_anything_is_no_answer(knows: Knows, pins: Path) -> None:
    knows({"click": "CVE-1"})  # but not of the package that everybody knows of
    said = audit.audit_advisories(pins, {})
    assert said == "audit skipped: advisory service not reachable (ours)"


def test_no_service_is_said_and_no_failure(pins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = ("--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:9/")
    monkeypatch.setattr(audit, "SERVICES", {"away": away})
    said = audit.audit_advisories(pins, {})
    assert said == "audit skipped: advisory service not reachable (away)"


def test_an_ignored_advisory_needs_a_reason() -> None:
    text = "# a comment\n\nCVE-1  # we never call it; 2026-11\n"
    assert audit.ignored_advisories(text) == {"CVE-1": "we never call it; 2026-11"}
    with pytest.raises(audit.AuditFailed, match="CVE-2 has no reason"):
        audit.ignored_advisories("CVE-2\n")
    audit.ignored_advisories(audit.IGNORED.read_text())  # ours have theirs


def metadata(**fields: str | list[str]) -> PackageMetadata:
    message = Message()
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value
    return cast(PackageMetadata, message)


@pytest.mark.parametrize(
    ("fields", "expression", "permissive"),
    [
        ({"License_Expression": "MIT"}, "MIT", True),
        ({"License_Expression": "Apache-2.0 OR GPL-3.0-only"}, "Apache-2.0 OR GPL-3.0-only", True),
        ({"License_Expression": "MIT AND GPL-3.0-only"}, "MIT AND GPL-3.0-only", False),
        (
            {"License_Expression": "MIT OR (BSD-3-Clause AND X)"},
            "MIT OR (BSD-3-Clause AND X)",
            False,
        ),
        ({"Classifier": ["License :: OSI Approved :: MIT License", "A :: B"]}, "MIT", True),
        ({"License": "Apache 2.0\nand much more text"}, "Apache-2.0", True),
        ({"License": "GPLv2"}, "GPL-2.0-only", False),
        ({"License": "do what I say"}, "do what I say", False),
        ({"License": ""}, "UNKNOWN", False),
        ({}, "UNKNOWN", False),
    ],
)
def test_what_a_licence_is(
    fields: dict[str, str | list[str]], expression: str, permissive: bool
) -> None:
    assert audit.licence(metadata(**fields)) == expression
    assert audit.is_permissive(expression) is permissive


def test_a_licence_that_is_not_permissive_fails_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(name: str) -> PackageMetadata:
        return metadata(Version="1.0+cpu", License_Expression=licences[name])

    monkeypatch.setattr("importlib.metadata.metadata", installed)
    licences = {"good": "MIT", "tqdm": "MPL-2.0 AND MIT"}
    assert "2 packages of 2" in audit.audit_licences({"good": "1.0", "tqdm": "1.0"})
    licences |= {"bad": "AGPL-3.0-only", "tqdm": "AGPL-3.0-only"}
    with pytest.raises(audit.AuditFailed) as failure:
        audit.audit_licences({"good": "2.0", "bad": "1.0", "tqdm": "1.0"})
    assert str(failure.value).splitlines() == [
        "good: 1.0+cpu is installed and 2.0 pinned",
        "bad: its licence, 'AGPL-3.0-only', is not known to be permissive",
        "tqdm: its licence, 'AGPL-3.0-only', is not known to be permissive",
    ]


def test_every_exception_is_still_needed_and_says_why() -> None:
    packages = audit.pinned(audit.CONSTRAINTS.read_text())
    assert len(packages) > 100
    for name, (expression, reason) in audit.EXCEPTIONS.items():
        assert name in packages
        assert not audit.is_permissive(expression)
        assert len(reason) > 20
