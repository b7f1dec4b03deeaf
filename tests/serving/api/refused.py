"""What every refusal over HTTP looks like: in our shape, or in that of its dialect."""

from __future__ import annotations

from typing import Any

import httpx

OPENAI = ("/v1/decisions", "/v1/systemone", "/v1/moderations", "/classify")
INFERENCE = ("/predict", "/", "/invocations", "/info")


def assert_refused(answer: httpx.Response, status: int, error_type: str) -> str:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["error_type"]) == (status, error_type), body
    assert set(body) == {"error", "error_type"}
    return assert_sentence(body["error"])


def assert_told_as_asked(path: str, answer: httpx.Response) -> None:
    """Whatever the path, an error has the shape that callers of the path read, and a sentence."""
    body: Any = answer.json()
    told = body["error"]
    if isinstance(told, dict):
        asks_openai = path in OPENAI or path.startswith("/v1/models/")
        assert asks_openai or path == "/v1/classify", (path, body)
        assert set(told) == {"message", "type", "param", "code"}, body
        told = told["message"]
    elif path.startswith("/v2") or path.endswith(":predict"):
        assert set(body) == {"error"}, (path, body)
    else:
        assert path not in OPENAI, (path, body)
        assert set(body) == {"error", "error_type"}, (path, body)
        assert (body["error_type"][0].isupper()) == (path in INFERENCE), (path, body)
    assert_sentence(told)


def assert_sentence(sentence: Any) -> str:
    assert isinstance(sentence, str)
    assert 10 < len(sentence) < 700, sentence
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence
