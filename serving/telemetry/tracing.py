"""OpenTelemetry traces, as an option: off they cost one comparison, and nothing is imported.

A request is a span of its own, which continues the caller's trace (`traceparent`); planning and
scoring, each with the wait for its batch, are spans below it, in whichever process they happen.
What a client writes freely is in none of them: no text, no path, no message of an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from isogloss.prompts.errors import InvalidInput

if TYPE_CHECKING:
    from isogloss.serving.schemas import ClassifyResponse
    from isogloss.serving.telemetry.spans import Attribute, Spans

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_DEFAULT_ENDPOINT = "http://localhost:4318"

_spans: Spans | None = None
_OFF: AbstractContextManager[None] = nullcontext()


def traces_wanted(setting: bool | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether to trace: as the setting says, else where OpenTelemetry's variables name an endpoint.

    Raises:
        InvalidInput: they name a protocol that is not spoken here.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or setting is False:
        return False
    wanted = setting or any(environment.get(name, "").strip() for name in ENDPOINT_VARIABLES)
    spoken = next(filter(None, map(environment.get, _PROTOCOL_VARIABLES)), _PROTOCOL)
    if wanted and spoken != _PROTOCOL:
        raise InvalidInput(
            f"{_PROTOCOL_VARIABLES[1]}: {spoken[:40]!r} is not spoken here; set {_PROTOCOL} (a "
            "collector listens for it on port 4318), or unset the endpoint to trace nothing"
        )
    return bool(wanted)


def start_tracing(setting: bool | None, instance: str = "") -> None:
    """Trace from now on in this process, if that is wanted; once however often called.

    Args:
        setting: True, False, or None for what the environment says.
        instance: what this process is called in the traces.

    Raises:
        InvalidInput: traces are wanted, and cannot be exported.
    """
    if _spans is not None or not traces_wanted(setting):
        return
    try:
        from isogloss.serving.telemetry.spans import Spans, otlp_exporter
    except ModuleNotFoundError as missing:
        raise InvalidInput(
            f"traces: {missing.name} is not installed; run pip install 'isogloss[otel]', or unset "
            f"{ENDPOINT_VARIABLES[1]}"
        ) from missing
    use_spans(Spans(otlp_exporter(_endpoint()), instance))


def _endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """Where spans go, as the exporter finds it."""
    named = (environment.get(name, "").strip() for name in ENDPOINT_VARIABLES)
    return next(filter(None, named), _DEFAULT_ENDPOINT)


def use_spans(spans: Spans | None) -> Spans | None:
    """Trace with these spans from now on, or not at all; returns those that were used before."""
    global _spans
    before, _spans = _spans, spans
    return before


def stop_tracing() -> None:
    """Trace no more, and send what has not been sent. Idempotent."""
    if (spans := use_spans(None)) is not None:
        spans.close()


def request_span(
    method: str, headers: Mapping[str, str], request_id: str
) -> AbstractContextManager[None]:
    """The span of one HTTP request: open while it is answered."""
    return _OFF if _spans is None else _spans.request(method, headers, request_id)


def stage_span(
    name: str, traceparent: str = "", **attributes: Attribute
) -> AbstractContextManager[None]:
    """A span below the current one, or below the one that `traceparent` names in another process.

    Attributes are named without their prefix: `texts` for `isogloss.texts`.
    """
    return _OFF if _spans is None else _spans.stage(name, traceparent, attributes)


def note_status(route: str | None, status: int, error_type: str) -> None:
    """Say how the current request's span ended, by its route, HTTP status and type of error."""
    if _spans is not None:
        _spans.note_status(route, status, error_type)


def note_answers(answers: Sequence[ClassifyResponse]) -> None:
    """Say on the current span which generation, clades and prompts answered how many texts.

    Args:
        answers: to one request, one of each task, all about the same texts.
    """
    if _spans is None:
        return
    first, results = answers[0], [result for each in answers for result in each.results]
    parts = [part.prompt for each in results for part in each.mixture or ()]
    prompts = {f"{p.name}@{p.version}" for p in (*parts, *(each.prompt for each in results))}
    _spans.note(
        model=first.model,
        task=",".join(each.task for each in answers),
        generation=first.generation,
        texts=len(first.results),
        tokens=sum(each.tokens for each in first.results),
        clades=sorted({each.route.clade or each.route.reason for each in results}),
        prompts=sorted(prompts),
    )


def current_trace() -> dict[str, str]:
    """The current trace's id and span's, for a log line; empty where nothing is traced."""
    return {} if _spans is None else _spans.current_trace()


def current_traceparent() -> str:
    """What another process needs to go on with the current trace; empty where there is none."""
    return "" if _spans is None else _spans.current_traceparent()
