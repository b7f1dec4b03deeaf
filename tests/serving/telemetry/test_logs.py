"""What is written down, and that nothing a request says is."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from isogloss.serving.telemetry.logs import configure_logging, fields, work_on

logger = logging.getLogger("isogloss.serving.test")
pytestmark = pytest.mark.usefixtures("own_loggers")
SECRET = "a text that is nobody's business"


def fail() -> None:
    raise KeyError(SECRET)


def lines(log_texts: bool = False) -> list[dict[str, Any]]:
    """What is logged of a message in a request and of an error."""
    written = io.StringIO()
    configure_logging("json", log_texts=log_texts, stream=written)
    configure_logging("json", log_texts=log_texts, stream=written)  # twice is as good as once
    logger.debug("too much detail")
    work_on("request-7")
    logger.info("request", extra=fields(status=200, route="/v1/classify"))
    try:
        fail()
    except KeyError:
        logger.exception("a request\nfailed")
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_is_a_json_object_with_its_request() -> None:
    info, error = lines()
    assert info.pop("time").endswith("+00:00")
    assert info == {
        "level": "info",
        "logger": "isogloss.serving.test",
        "message": "request",
        "request_id": "request-7",
        "status": 200,
        "route": "/v1/classify",
    }
    assert (error["level"], error["message"]) == ("error", "a request\nfailed")
    assert error["error"]["type"] == "KeyError"
    assert error["error"]["trace"][-1].endswith(" fail")


def test_what_an_error_quotes_is_logged_only_where_asked_for() -> None:
    assert SECRET not in json.dumps(lines())
    assert SECRET in json.dumps(lines(log_texts=True))


def test_text_lines_are_for_people() -> None:
    written = io.StringIO()
    configure_logging("text", stream=written)
    work_on("request-7")
    logger.warning("one\ntwo")
    try:
        fail()
    except KeyError:
        logger.exception("a request failed")
    first, second, *trace = written.getvalue().splitlines()
    assert first.endswith(r"WARNING isogloss.serving.test: one\ntwo request_id=request-7")
    assert second.endswith("a request failed request_id=request-7 (KeyError)")
    assert trace[-1].endswith(" fail")
    assert SECRET not in written.getvalue()
