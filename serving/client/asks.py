"""What a client asks a server, as values: a function for each route, and how answers are read."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from isogloss.prompts.errors import InvalidInput, InvalidPrompt
from isogloss.prompts.routing.routes import RouteTable
from isogloss.serving.api.trial_query import parse_trial
from isogloss.serving.http.parsing import built
from isogloss.serving.schemas import (
    ClassifyRequest,
    ClassifyResponse,
    EnsembleRequest,
    PromoteRequest,
    RollbackRequest,
    RoutesAnswer,
    RoutesRequest,
    SwapAnswer,
)

Answer = TypeVar("Answer")
Read = TypeVar("Read", bound=BaseModel)
PromptFile = bytes | str | os.PathLike[str]
"""The bytes of a prompt's file, or the path of one."""

_JSON = "application/json"
_FILE = "application/octet-stream"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class TrialOptions(TypedDict, total=False):
    """How a prompt is tried on part of the traffic instead of being published."""

    canary: str | float
    """Share of texts that it answers, such as "5%" or 0.05."""
    shadow: bool
    """Whether it scores texts and answers none."""
    share: str | float
    """Share of texts that a shadow scores."""
    routes: Sequence[str]
    """The routes it is tried on: clades, or "universal"."""
    min_agreement: float
    max_score_drop: float
    max_latency_ratio: float
    min_texts: int


@dataclass(frozen=True, slots=True)
class Ask(Generic[Answer]):
    """One request to a route, whatever it takes to have it answered."""

    method: str
    path: str
    read: Callable[[bytes], Answer]
    """The body of an answer -> what the caller gets; ValueError: it is none."""
    query: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None
    content_type: str = _JSON
    request_id: str | None = None
    """Of a change, which is made once under it however often it is asked."""
    in_time: bool = False
    """Whether the server is told how long the caller waits."""
    at_once: bool = False
    """Whether it asks how things are now: never tried again."""


def of_model(path: str, model: type[Read], *, at_once: bool = False) -> Ask[Read]:
    """Ask for what a route lists."""
    return Ask("GET", path, model.model_validate_json, at_once=at_once)


def health() -> Ask[bool]:
    """Ask whether the process is alive; whoever answers is."""
    return Ask("GET", "/health", lambda _: True, at_once=True)


def prompt_path(name: str, below: str = "") -> str:
    """The path of one prompt, `name` or `name@version`."""
    return f"/v1/prompts/{quote(name, safe='@')}{below}"


def prompt_file(name: str) -> Ask[bytes]:
    """Ask for the bytes of a prompt's file."""
    return Ask("GET", prompt_path(name, "/file"), bytes)


def classify(request: ClassifyRequest) -> Ask[ClassifyResponse]:
    """Ask for the labels of up to 256 texts."""
    content = request.model_dump_json(exclude_none=True).encode()
    read = ClassifyResponse.model_validate_json
    return Ask("POST", "/v1/classify", read, content=content, in_time=True)


def publish(
    name: str, prompt: PromptFile | Sequence[str], request_id: str | None, trial: TrialOptions
) -> Ask[SwapAnswer]:
    """Ask to publish a file, or stored prompts that answer together, or to try them.

    Raises:
        InvalidInput: what is asked of a trial does not go together, or a name is missing.
        InvalidPrompt: the file cannot be read.
    """
    query = _query(trial)
    parse_trial(query)  # before a file travels in vain
    if isinstance(prompt, bytes | str | os.PathLike):
        content, content_type = _file(prompt), _FILE
    else:
        content, content_type = _json(built(EnsembleRequest, {"members": tuple(prompt)})), _JSON
    return _change("PUT", prompt_path(name), request_id, content, content_type, tuple(query))


def publish_routes(
    routes: RoutesAnswer | Iterable[RouteTable], request_id: str | None
) -> Ask[SwapAnswer]:
    """Ask to publish route tables."""
    tables = routes.routes if isinstance(routes, RoutesAnswer) else list(routes)
    wanted = built(RoutesRequest, {"routes": tables})
    return _change("PUT", "/v1/routes", request_id, _json(wanted))


def rollback(to: int | None, trial: str | None, request_id: str | None) -> Ask[SwapAnswer]:
    """Ask for an earlier generation's content, or for the end of a trial."""
    wanted = built(RollbackRequest, {"to": to, "trial": trial})
    return _change("POST", "/v1/rollback", request_id, _json(wanted))


def promote(trial: str, request_id: str | None) -> Ask[SwapAnswer]:
    """Ask that a trial's candidate answers from now on."""
    wanted = built(PromoteRequest, {"trial": trial})
    return _change("POST", "/v1/promote", request_id, _json(wanted))


def delete(name: str, request_id: str | None) -> Ask[SwapAnswer]:
    """Ask to delete a prompt in all versions."""
    return _change("DELETE", prompt_path(name), request_id, None)


def _change(
    method: str,
    path: str,
    request_id: str | None,
    content: bytes | None,
    content_type: str = _JSON,
    query: tuple[tuple[str, str], ...] = (),
) -> Ask[SwapAnswer]:
    if request_id is not None and not _REQUEST_ID.fullmatch(request_id):
        raise InvalidInput(
            f"request_id: {request_id[:70]!r} is none; give 1 to 64 of A-Z a-z 0-9 . _ : -"
        )
    read = SwapAnswer.model_validate_json
    own = request_id or uuid.uuid4().hex
    return Ask(method, path, read, query, content, content_type, request_id=own)


def _json(body: BaseModel) -> bytes:
    return body.model_dump_json(exclude_none=True).encode()


def _file(prompt: PromptFile) -> bytes:
    if isinstance(prompt, bytes):
        return prompt
    try:
        return Path(prompt).read_bytes()
    except OSError as error:
        raise InvalidPrompt(
            f"{os.fspath(prompt)}: cannot be read ({error.strerror or error}); check the path"
        ) from None


def _query(trial: TrialOptions) -> list[tuple[str, str]]:
    given: dict[str, Any] = dict(trial)
    routes = given.pop("routes", ())
    said = [(name, _said(value)) for name, value in given.items() if value is not None]
    return [*said, *(("route", each) for each in routes)]


def _said(value: Any) -> str:
    """A number as a query has it: never with an exponent."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
