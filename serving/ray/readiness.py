"""The URL at which this server answers: asked of it, and not believed."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Collection, Sequence
from urllib.parse import urlsplit

from isogloss.prompts.errors import Unavailable

_TIMEOUT_S = 10.0
_PATIENCE_S = 60.0  # a proxy learns of a new application a moment after Serve reports it
_PAUSE_S = 0.2
_LONGEST_ANSWER = 1 << 20


def urls(host: str, port: int, machines: tuple[str, ...] = ()) -> list[str]:
    """Where a server may answer: on this machine, or where it listens everywhere on another."""
    if host not in ("0.0.0.0", "::"):
        return [f"http://{_bracketed(host)}:{port}"]
    here = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return [f"http://{_bracketed(each)}:{port}" for each in (here, *machines)]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def first_that_answers(
    urls: Sequence[str],
    ours: Callable[[], Collection[str]],
    *,
    patience_s: float = _PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Return the first URL at which our replicas answer.

    Args:
        urls: where they may.
        ours: names of our replicas, as `GET /ready` gives them.
        patience_s: how long they may take until they do.
        clock: seconds.

    Raises:
        Unavailable: none does; says what answers there instead.
    """
    give_up_s = clock() + patience_s
    while True:
        seen = {url: _problem(url, ours) for url in urls}
        for url, problem in seen.items():
            if problem is None:
                return url
        if clock() >= give_up_s:
            said = "; ".join(f"{url}: {problem}" for url, problem in seen.items())
            raise Unavailable(f"the replicas run, but requests do not come to them ({said})")
        time.sleep(_PAUSE_S)


def _problem(url: str, ours: Callable[[], Collection[str]]) -> str | None:
    try:
        answered = replicas_at(url)
        known = ours()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    except (ValueError, LookupError, TypeError):
        return "something else answers there"
    except Unavailable as error:
        return str(error)
    return None if answered & set(known) else "another server answers there"


def replicas_at(url: str) -> set[str]:
    """Names of the replicas of the server at a URL.

    Past any proxy that the environment names: it would be asked instead of the address.

    Raises:
        OSError, http.client.HTTPException: nothing answers.
        ValueError, LookupError, TypeError: what answers is no server of ours.
        Unavailable: it is one, and says that it cannot answer yet.
    """
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        body = json.loads(answer.read(_LONGEST_ANSWER))
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise Unavailable(f"{answer.status} {body['error']}")
    return {replica["replica"] for replica in body["replicas"]}
