"""What the server writes down: one JSON object a line, with the request it is about.

Nothing a request says is written, for texts are other people's: not the body, not an error's
message, which may quote it. Where that is asked for (`log_texts`), both are.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Any

from isogloss.serving.config import LogFormat
from isogloss.serving.telemetry.tracing import current_trace

_PACKAGES = ("isogloss",)
_FIELDS = "fields"
_ID: ContextVar[str] = ContextVar("isogloss_request_id", default="")


def current_request_id() -> str:
    """The id of the request that is being worked on; empty outside one."""
    return _ID.get()


def work_on(request_id: str) -> None:
    """From here on, in this task, everything is about this request."""
    _ID.set(request_id)


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """Further fields of a log line, for a logger's `extra`."""
    return {_FIELDS: values}


def configure_logging(
    form: LogFormat = "json",
    *,
    level: str = "INFO",
    log_texts: bool = False,
    stream: IO[str] | None = None,
) -> None:
    """Send this project's own log lines to `stream` (standard error), once however often called."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(log_texts) if form == "json" else TextLines(log_texts))
    for name in _PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False


class TextLines(logging.Formatter):
    """One line for a person: time, level, request, what happened."""

    def __init__(self, log_texts: bool = False) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._log_texts = log_texts

    def format(self, record: logging.LogRecord) -> str:
        """Render a record on one line, but for the trace of an error."""
        line = super().format(_without_error(record)).replace("\n", "\\n").replace("\r", "\\r")
        words = [line, *(f"{name}={value}" for name, value in _about(record).items())]
        error = _error(record, self._log_texts)
        if what := [error[each] for each in ("type", "message") if each in error]:
            words.append(f"({': '.join(what)})")
        return "\n  ".join([" ".join(words), *error.get("trace", ())])


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, log_texts: bool = False) -> None:
        super().__init__()
        self._log_texts = log_texts

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_about(record),
        }
        if error := _error(record, self._log_texts):
            line["error"] = error
        return json.dumps(line, ensure_ascii=True, default=str)


def _about(record: logging.LogRecord) -> dict[str, Any]:
    request_id = current_request_id()
    own = {"request_id": request_id} if request_id else {}
    return own | current_trace() | getattr(record, _FIELDS, {})


def _without_error(record: logging.LogRecord) -> logging.LogRecord:
    copy = logging.makeLogRecord(record.__dict__)
    copy.exc_info = copy.exc_text = None
    return copy


def _error(record: logging.LogRecord, log_texts: bool) -> dict[str, Any]:
    """An error's type and where it happened; its message only where texts may be logged."""
    kind, error, trace = record.exc_info or (None, None, None)
    if kind is None:
        return {}
    message = {"message": str(error)} if log_texts else {}
    return {"type": kind.__name__, **message, "trace": _places(trace)}


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
