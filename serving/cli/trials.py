"""`isogloss trials`: how the candidates on trial do on a running server."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from isogloss.prompts.console.console import print_json, say
from isogloss.prompts.console.http_client import open_url, proxy_of, route_to
from isogloss.prompts.errors import InvalidInput, Unavailable
from isogloss.serving.cli.texts import AsJson, print_table

_TIMEOUT_S = 30.0
_COLUMNS = (
    "candidate",
    "trial",
    "clade",
    "texts",
    "compared",
    "failures",
    "agreement",
    "score shift",
    "variation",
    "mean ms",
    "p99 ms",
    "latency ratio",
    "limits",
)


def trials(
    url: Annotated[str, typer.Option(help="Of the server.")] = "http://127.0.0.1:8000",
    as_json: AsJson = False,
) -> None:
    """Show how candidates on trial do: agreement, score shift, latency. Needs a running server."""
    answer = _read(url)
    if as_json:
        print_json(answer)
        return
    if not answer["trials"]:
        say(f"nothing is on trial in generation {answer['generation']}")
        return
    print_table(_COLUMNS, list(_rows(answer["trials"])))
    for each in answer["trials"]:
        for problem in each["problems"]:
            say(f"{each['trial']['candidate']}: {problem}", err=True)


def _read(url: str) -> dict[str, Any]:
    """Ask the server.

    Raises:
        InvalidInput: that is no address of one.
        Unavailable: it does not answer.
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidInput(f"--url {url!r}: give the server's address, http://HOST:PORT")
    try:
        with open_url(_request(f"{url.rstrip('/')}/v1/trials"), _TIMEOUT_S) as reply:
            return dict(json.loads(reply.read()))
    except (OSError, ValueError) as error:  # refused, timed out, an error status, not JSON
        raise Unavailable(f"no trials from {route_to(url)} ({error}); {_remedy(url)}") from error


def _request(url: str) -> urllib.request.Request:
    """With the API key of the environment, where there is one."""
    from isogloss.serving.environment import CLIENT_KEY_VARIABLE

    key = os.environ.get(CLIENT_KEY_VARIABLE, "").strip()
    return urllib.request.Request(url, headers={"x-api-key": key} if key else {})


def _remedy(url: str) -> str:
    if proxy_of(url) is None:
        return "is `isogloss serve` running there?"
    return "is `isogloss serve` running there? To go past the proxy, name the host in no_proxy"


def _rows(trials: list[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for each in trials:
        trial = each["trial"]
        for own in each["clades"]:
            yield (
                trial["candidate"],
                f"{trial['kind']} {trial['share']:.4g}",
                own["clade"],
                *(str(own[name]) for name in ("texts", "compared", "failures")),
                *(_shown(own[name]) for name in ("agreement", "score_shift", "variation")),
                _both(own, "mean_ms"),
                _both(own, "p99_ms"),
                _shown(own["latency_ratio"]),
                own["broken_limit"] or ("kept" if trial["limits"] else "none"),
            )


def _both(own: Mapping[str, Any], name: str) -> str:
    """On trial, and off it."""
    return f"{_shown(own['on_trial'][name], 1)} / {_shown(own['off_trial'][name], 1)}"


def _shown(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
