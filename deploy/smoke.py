"""Checks a running endpoint from outside: every route once, one line each.

    python deploy/smoke.py http://127.0.0.1:8000 [--token TOKEN] [--wait SECONDS]

Needs nothing but Python, so that it runs in any container or job. Exits with 1 if a check fails.
With the admin token it also publishes a prompt again, unchanged.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import math
import os
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

TEXTS = {
    "eng_Latn": "The home side scored twice in the last five minutes and won the cup.",
    "fra_Latn": "Le nouveau télescope a photographié une galaxie très lointaine.",
    "spa_Latn": "El parlamento votó anoche una ley sobre el precio de los alquileres.",
    "swh_Latn": "Watalii wengi hupanda mlima huo wakati wa kiangazi.",
    "hin_Deva": "डॉक्टरों ने बच्चों को साफ पानी पीने की सलाह दी है।",
}
RETRY_S = 0.5
REQUEST_TIMEOUT_S = 30.0


class CheckFailed(Exception):
    """The endpoint answered, but not as it should."""


class Answer(NamedTuple):
    """One HTTP answer."""

    status: int
    body: bytes
    content_type: str

    def json(self) -> Any:
        """Parse the body."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise CheckFailed(f"no JSON: {self.body[:80]!r}") from error


@dataclass(frozen=True)
class Endpoint:
    """Where requests go."""

    url: str
    token: str | None = None
    seen: dict[str, Any] = field(default_factory=dict)  # what earlier checks found out

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request; bytes go as they are, anything else as JSON.

        Raises:
            OSError: nobody answers.
        """
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(
            self.url + path, None if body is None else data, headers, method=method
        )
        try:
            reply = _opener(self.url).open(request, timeout=REQUEST_TIMEOUT_S)
        except urllib.error.HTTPError as refusal:
            reply = refusal
        with reply:
            return Answer(reply.status, reply.read(), reply.headers.get_content_type())

    def get(self, path: str) -> Any:
        """JSON of a route that must answer 200."""
        return _ok(self.ask("GET", path)).json()

    def classify(self, **fields: object) -> Any:
        """The results of `POST /v1/classify`, each checked for what every result must be."""
        answer = _ok(self.ask("POST", "/v1/classify", fields)).json()
        for result in answer["results"]:
            _check_result(result)
        return answer


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Proxies of the environment are for other machines."""
    direct = [urllib.request.ProxyHandler({})] if _is_local(url) else []
    return urllib.request.build_opener(*direct)


def _is_local(url: str) -> bool:
    host = (urllib.parse.urlsplit(url).hostname or "").lower()
    if host in ("localhost", socket.gethostname().lower()) or host.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    return False


def _proxy(url: str) -> str:
    """What to add to a failure: the proxy that was asked instead, without its password."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    if not proxy or _is_local(url) or urllib.request.proxy_bypass(parts.netloc):
        return ""
    return f", asked through the proxy {proxy.rpartition('@')[2]} of the environment"


def check_health(to: Endpoint) -> str:
    """The process is alive."""
    to.get("/health")
    return "alive"


def check_ready(to: Endpoint) -> str:
    """Every model has a replica."""
    answer = to.get("/ready")
    _require(answer["ready"] is True, f"not ready: {answer}")
    return f"generation {answer['generation']}, {len(answer['replicas'])} replica(s)"


def check_models(to: Endpoint) -> str:
    """Models are listed, the default among them."""
    answer = to.get("/v1/models")
    names = [model["name"] for model in answer["models"]]
    _require(answer["default"] in names, f"the default {answer['default']} is not in {names}")
    return ", ".join(names)


def check_prompts(to: Endpoint) -> str:
    """Prompts are listed; one has a card and a file."""
    prompts = to.get("/v1/prompts")["prompts"]
    _require(bool(prompts), "the store has no prompts for the served models")
    first = prompts[0]
    to.seen["prompt"] = first["name"]
    card = to.get(f"/v1/prompts/{first['name']}")
    _require(card["digest"] == first["digest"], f"{first['name']} has two digests")
    to.seen["file"] = _ok(to.ask("GET", f"/v1/prompts/{first['name']}/file")).body
    return f"{len(prompts)} prompts, {first['name']} is {len(to.seen['file'])} bytes"


def check_routes(to: Endpoint) -> str:
    """There is a route table."""
    tables = to.get("/v1/routes")["routes"]
    _require(bool(tables), "the store has no routes for the served models")
    return "; ".join(f"{t['task']}: {len(t['clades'])} clades and a universal" for t in tables)


def check_trials(to: Endpoint) -> str:
    """Candidates on trial are listed, each with what was found."""
    trials = to.get("/v1/trials")["trials"]
    return ", ".join(each["trial"]["candidate"] for each in trials) or "nothing on trial"


def check_languages(to: Endpoint) -> str:
    """Languages are listed, those of our texts among them."""
    codes = {row["code"] for row in to.get("/v1/languages")["languages"]}
    _require(set(TEXTS) <= codes, f"missing: {sorted(set(TEXTS) - codes)}")
    return f"{len(codes)} languages"


def check_one_text(to: Endpoint) -> str:
    """One text, its language detected, its prompt routed."""
    result = to.classify(inputs=TEXTS["eng_Latn"])["results"][0]
    _require(result["language"]["detected"] is True, "the language was not detected")
    return f"{result['label']} {result['score']:.2f}, under {result['prompt']['name']}"


def check_list_of_texts(to: Endpoint) -> str:
    """A list keeps its order: each text answers as it does alone, whatever its neighbours."""
    together = to.classify(inputs=list(TEXTS.values()))["results"]
    _require(len(together) == len(TEXTS), f"{len(together)} results for {len(TEXTS)} texts")
    for text, result in zip(TEXTS.values(), together, strict=True):
        alone = to.classify(inputs=text)["results"][0]
        near = math.isclose(alone["score"], result["score"], abs_tol=1e-2)
        same = alone["label"] == result["label"] and alone["tokens"] == result["tokens"]
        _require(near and same, f"in a list and alone differ: {result} {alone}")
    return ", ".join(result["language"]["code"] for result in together)


def check_overrides(to: Endpoint) -> str:
    """A named language and a named prompt win over detection and routes."""
    name = to.seen["prompt"]
    answer = to.classify(inputs=TEXTS["eng_Latn"], language="fra_Latn", prompt=name, top_k=1)
    result = answer["results"][0]
    _require(result["language"]["code"] == "fra_Latn", "the language was not overridden")
    _require(result["language"]["detected"] is False, "a named language counts as detected")
    _require(result["prompt"]["name"] == name, "the prompt was not overridden")
    _require(result["route"]["reason"] == "override", "the reason is not 'override'")
    _require(len(result["scores"]) == 1, "top_k was ignored")
    return f"fra_Latn under {name}"


def check_errors(to: Endpoint) -> str:
    """Mistakes are refused in the shape that programs rely on."""
    classify = "/v1/classify"
    cases: tuple[tuple[str, str, object, int, str], ...] = (
        ("POST", classify, {"inputs": ""}, 422, "validation"),
        ("POST", classify, b'{"inputs": ', 400, "validation"),
        ("POST", classify, {"inputs": "a", "model": "no-such-model"}, 404, "not_found"),
        ("POST", classify, {"inputs": "a", "language": "xxx_Latn"}, 404, "not_found"),
        ("GET", "/v1/prompts/no-such-prompt", None, 404, "not_found"),
    )
    for method, path, body, status, kind in cases:
        _require_refusal(to.ask(method, path, body), status, kind, f"{method} {path} {body!r}")
    stranger = Endpoint(to.url)
    refused = stranger.ask("POST", "/v1/rollback", {})
    _require_refusal(refused, 401, "unauthorized", "rollback without a token")
    return f"{len(cases) + 1} refused as they should be"


def check_metrics(to: Endpoint) -> str:
    """Prometheus finds numbers."""
    page = _ok(to.ask("GET", "/metrics")).body.decode()
    series = [line for line in page.splitlines() if line.startswith("isogloss_")]
    _require(bool(series), "no isogloss_ series")
    return f"{len(series)} series"


def check_openapi(to: Endpoint) -> str:
    """The interface describes itself."""
    paths = to.get("/openapi.json")["paths"]
    _require("/v1/classify" in paths, "/v1/classify is not documented")
    page = _ok(to.ask("GET", "/docs"))
    _require(page.content_type == "text/html", f"/docs is {page.content_type}")
    return f"{len(paths)} paths"


def check_publish(to: Endpoint) -> str:
    """A prompt is published again, unchanged: accepted, the same digest, nothing else changed."""
    name = to.seen["prompt"]
    before = to.get(f"/v1/prompts/{name}")
    published = _ok(to.ask("PUT", f"/v1/prompts/{name}", to.seen["file"])).json()
    digest = published["prompt"]["digest"]
    _require(digest == before["digest"], f"{name} became {digest}, was {before['digest']}")
    return f"{name} again, generation {published['generation']}"


def _by_name(*checks: Callable[[Endpoint], str]) -> dict[str, Callable[[Endpoint], str]]:
    return {check.__name__.removeprefix("check_").replace("_", " "): check for check in checks}


CHECKS = _by_name(
    *(check_health, check_ready, check_models, check_prompts, check_routes, check_trials),
    *(check_languages, check_one_text, check_list_of_texts, check_overrides, check_errors),
    *(check_metrics, check_openapi),
)
ADMIN_CHECKS = _by_name(check_publish)


def run_checks(to: Endpoint, wait_s: float) -> bool:
    """Run every check, print a line for each; True if all passed."""
    if not wait_until_ready(to, wait_s):
        print(f"FAIL  {to.url} was not ready within {wait_s:g} s{_proxy(to.url)}")
        return False
    checks = {**CHECKS, **(ADMIN_CHECKS if to.token else {})}
    passed = [run_check(name, check, to) for name, check in checks.items()]
    return all(passed)


def run_check(name: str, check: Callable[[Endpoint], str], to: Endpoint) -> bool:
    """Run one check and print its line."""
    begun = time.perf_counter()
    try:
        shown, passed = check(to), True
    except (CheckFailed, OSError, KeyError, IndexError, TypeError) as problem:
        shown, passed = f"{type(problem).__name__}: {problem}", False
    took_ms = (time.perf_counter() - begun) * 1000
    print(f"{'ok  ' if passed else 'FAIL'}  {name:<14} {took_ms:6.0f} ms  {shown}", flush=True)
    return passed


def wait_until_ready(to: Endpoint, wait_s: float) -> bool:
    """Ask `/ready` until it answers 200 or the time is over."""
    give_up_s = time.monotonic() + wait_s
    while True:
        with contextlib.suppress(OSError):  # nobody listens yet
            if to.ask("GET", "/ready").status == 200:
                return True
        if time.monotonic() > give_up_s:
            return False
        time.sleep(RETRY_S)


def _ok(answer: Answer) -> Answer:
    _require(answer.status == 200, f"status {answer.status}: {answer.body[:200]!r}")
    return answer


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise CheckFailed(otherwise)


def _require_refusal(answer: Answer, status: int, kind: str, asked: str) -> None:
    body = answer.json()
    as_expected = answer.status == status and body.get("error_type") == kind
    _require(as_expected and bool(body.get("error")), f"{asked}: {answer.status} {body}")


def _check_result(result: Mapping[str, Any]) -> None:
    scores = [each["score"] for each in result["scores"]]
    _require(scores == sorted(scores, reverse=True), f"scores are not sorted: {scores}")
    best = result["scores"][0]
    _require(best["label"] == result["label"], f"the label is not the best one: {result}")
    _require(0 <= sum(scores) <= 1.001, f"scores add up to {sum(scores)}")
    _require(result["prompt"]["digest"].startswith("sha256:"), "a prompt without a digest")


def main() -> int:
    """Read the command line; 0 if every check passed."""
    parser = argparse.ArgumentParser(description="Check a running Isogloss endpoint.")
    parser.add_argument("url", help="such as http://127.0.0.1:8000")
    parser.add_argument(
        "--token",
        default=os.environ.get("ISOGLOSS_ADMIN_TOKEN"),
        help="admin token; with it, a prompt is published again, unchanged "
        "(default: $ISOGLOSS_ADMIN_TOKEN)",
    )
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait until ready")
    given = parser.parse_args()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    return 0 if run_checks(Endpoint(given.url.rstrip("/"), given.token), given.wait) else 1


if __name__ == "__main__":
    sys.exit(main())
