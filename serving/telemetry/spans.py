"""Spans, as OpenTelemetry makes and exports them: the only file that imports it.

The provider is our own and not the process's global one, which is Ray's to set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from isogloss.prompts.console.http_client import is_this_machine

Attribute = str | int | float | Sequence[str]

TRACE_HEADER = "traceparent"
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
_OTHER_METHOD = "_OTHER"
_PREFIX = "isogloss."
_PROPAGATOR = TraceContextTextMapPropagator()


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Export over HTTP, to where OpenTelemetry's own variables say.

    Args:
        endpoint: what they say: this machine is asked directly, whatever proxies there are.
    """
    if not is_this_machine(urlsplit(endpoint).hostname or ""):
        return OTLPSpanExporter()
    session = requests.Session()
    session.trust_env = False
    return OTLPSpanExporter(session=session)


class Spans:
    """One process's spans; names and attributes follow OpenTelemetry's conventions for HTTP."""

    def __init__(self, exporter: SpanExporter, instance: str = "") -> None:
        named = Resource({"service.name": "isogloss", "service.instance.id": instance})
        detected = OTELResourceDetector().detect()  # OTEL_SERVICE_NAME and the like: they win
        self._provider = TracerProvider(resource=Resource.create().merge(named).merge(detected))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("isogloss")

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str], request_id: str) -> Iterator[None]:
        """Open a request's span; a `traceparent` that is none starts a trace of its own."""
        known = method if method in _METHODS else _OTHER_METHOD
        with self._tracer.start_as_current_span(
            known if known in _METHODS else "HTTP",
            _context(headers.get(TRACE_HEADER, ""), headers.get("tracestate", "")),
            SpanKind.SERVER,
            {"http.request.method": known, f"{_PREFIX}request_id": request_id},
            # Their messages may quote a request.
            record_exception=False,
            set_status_on_exception=False,
        ):
            yield

    @contextmanager
    def stage(
        self, name: str, traceparent: str, attributes: Mapping[str, Attribute]
    ) -> Iterator[None]:
        """Open a span of a request's work; one that fails says with what type of error."""
        here = trace.get_current_span().get_span_context().is_valid
        with self._tracer.start_as_current_span(
            name,
            None if here else _context(traceparent),
            attributes={_PREFIX + each: value for each, value in attributes.items()},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:  # that its caller left is worth seeing too
                _fail(span, type(error).__name__)
                raise

    def note_status(self, route: str | None, status: int, error_type: str) -> None:
        """Say how the current request ended."""
        span = trace.get_current_span()
        span.set_attribute("http.response.status_code", status)
        if route is not None:
            span.update_name(f"{_name(span)} {route}")
            span.set_attribute("http.route", route)
        if status >= 500:
            _fail(span, error_type or str(status))
        elif error_type:
            span.set_attribute("error.type", error_type)

    def note(self, **attributes: Attribute) -> None:
        """Put attributes on the current span."""
        span = trace.get_current_span()
        span.set_attributes({_PREFIX + name: value for name, value in attributes.items()})

    def current_trace(self) -> dict[str, str]:
        """The current trace's and span's ids in hexadecimal digits."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {
            "trace_id": trace.format_trace_id(context.trace_id),
            "span_id": trace.format_span_id(context.span_id),
        }

    def current_traceparent(self) -> str:
        """The current span as W3C's header has it."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get(TRACE_HEADER, "")

    def close(self) -> None:
        """Send what is left and stop."""
        self._provider.shutdown()


def _context(traceparent: str, tracestate: str = "") -> Context:
    """What a caller's headers say of its span; none of it where they are not well-formed."""
    return _PROPAGATOR.extract({TRACE_HEADER: traceparent, "tracestate": tracestate}, Context())


def _name(span: Span) -> str:
    return str(getattr(span, "name", "HTTP"))


def _fail(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)
