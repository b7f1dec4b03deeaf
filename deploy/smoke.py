"""Checks a running endpoint from outside: ready, answers, metrics, a publish.

    python deploy/smoke.py http://127.0.0.1:8000 [--token TOKEN] [--wait SECONDS]

Needs nothing but Python, so that it runs in any container or job. Exits with 1 if a check fails.
With the admin token it also publishes a prompt again, unchanged. Where the server wants an API key,
set ISOGLOSS_CLIENT_KEY.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

TEXTS = {
    "eng_Latn": "The home side scored twice in the last five minutes and won the cup.",
    "fra_Latn": "Le nouveau télescope a photographié une galaxie très lointaine.",
    "hin_Deva": "डॉक्टरों ने बच्चों को साफ पानी पीने की सलाह दी है।",
}


class CheckFailed(Exception):
    """The endpoint answered, but not as it should."""


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Parse the body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Endpoint:
    """Where requests go."""

    url: str
    token: str | None = None
    key: str | None = None

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request; bytes go as they are, anything else as JSON.

        Raises:
            OSError: nobody answers.
        """
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        if self.key:
            headers["x-api-key"] = self.key
        request = urllib.request.Request(
            self.url + path, None if body is None else data, headers, method=method
        )
        host = urllib.parse.urlsplit(self.url).hostname or ""
        is_local = host == "localhost" or host.startswith("127.")
        direct = [urllib.request.ProxyHandler({})] if is_local else []  # else the environment's
        try:
            reply = urllib.request.build_opener(*direct).open(request, timeout=30)
        except urllib.error.HTTPError as refusal:
            reply = refusal
        with reply:
            return Answer(reply.status, reply.read())

    def ok(self, method: str, path: str, body: object = None) -> Answer:
        """An answer that must be 200."""
        answer = self.ask(method, path, body)
        _require(answer.status == 200, f"status {answer.status}: {answer.body[:200]!r}")
        return answer


def check_ready(to: Endpoint) -> str:
    """Every model has a replica."""
    answer = to.ok("GET", "/ready").json()
    _require(answer["ready"] is True, f"not ready: {answer}")
    return f"generation {answer['generation']}, {len(answer['replicas'])} replica(s)"


def check_classify(to: Endpoint) -> str:
    """Every text is answered in order, its language detected, under a prompt that is named."""
    results = to.ok("POST", "/v1/classify", {"inputs": list(TEXTS.values())}).json()["results"]
    for code, result in zip(TEXTS, results, strict=True):
        _require(result["language"]["detected"] is True, f"{code}: the language was not detected")
        _require(result["prompt"]["digest"].startswith("sha256:"), "a prompt without a digest")
        best = max(result["scores"], key=lambda each: each["score"])
        _require(best["label"] == result["label"], f"the label is not the best one: {result}")
    return ", ".join(
        f"{code} {result['label']}" for code, result in zip(TEXTS, results, strict=True)
    )


def check_metrics(to: Endpoint) -> str:
    """Prometheus finds numbers."""
    page = to.ok("GET", "/metrics").body.decode()
    series = [line for line in page.splitlines() if line.startswith("isogloss_")]
    _require(bool(series), "no isogloss_ series")
    return f"{len(series)} series"


def check_publish(to: Endpoint) -> str:
    """A prompt is published again, unchanged: accepted, the same digest, nothing else changed."""
    prompts = to.ok("GET", "/v1/prompts").json()["prompts"]
    _require(bool(prompts), "the store has no prompts for the served models")
    path = f"/v1/prompts/{prompts[0]['name']}"
    before, file = to.ok("GET", path).json(), to.ok("GET", f"{path}/file").body
    published = to.ok("PUT", path, file).json()
    digest = published["prompt"]["digest"]
    _require(digest == before["digest"], f"{path} became {digest}, was {before['digest']}")
    return f"{path} again, generation {published['generation']}"


CHECKS: dict[str, Callable[[Endpoint], str]] = {
    "ready": check_ready,
    "classify": check_classify,
    "metrics": check_metrics,
}
ADMIN_CHECKS = {"publish": check_publish}


def run_checks(to: Endpoint, wait_s: float) -> bool:
    """Run every check, print a line for each; True if all passed."""
    if not wait_until_ready(to, wait_s):
        print(f"FAIL  {to.url} was not ready within {wait_s:g} s")
        return False
    all_passed = True
    for name, check in {**CHECKS, **(ADMIN_CHECKS if to.token else {})}.items():
        try:
            shown, passed = check(to), True
        except (CheckFailed, OSError, LookupError, TypeError, ValueError) as problem:
            shown, passed = f"{type(problem).__name__}: {problem}", False
        print(f"{'ok  ' if passed else 'FAIL'}  {name:<14}  {shown}", flush=True)
        all_passed = all_passed and passed
    return all_passed


def wait_until_ready(to: Endpoint, wait_s: float) -> bool:
    """Ask `/ready` until it answers 200 or the time is over."""
    give_up_s = time.monotonic() + wait_s
    while True:
        with contextlib.suppress(OSError):  # nobody listens yet
            if to.ask("GET", "/ready").status == 200:
                return True
        if time.monotonic() > give_up_s:
            return False
        time.sleep(0.5)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise CheckFailed(otherwise)


def main() -> int:
    """Read the command line; 0 if every check passed."""
    parser = argparse.ArgumentParser(description="Check a running Isogloss endpoint.")
    parser.add_argument("url", help="such as http://127.0.0.1:8000")
    parser.add_argument(
        "--token",
        default=os.environ.get("ISOGLOSS_ADMIN_TOKEN"),
        help="admin token, to publish a prompt again (default: $ISOGLOSS_ADMIN_TOKEN)",
    )
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait until ready")
    given = parser.parse_args()
    key = os.environ.get("ISOGLOSS_CLIENT_KEY", "").strip() or None
    to = Endpoint(given.url.rstrip("/"), given.token, key)
    return 0 if run_checks(to, given.wait) else 1


if __name__ == "__main__":
    sys.exit(main())
