"""What every refusal over HTTP looks like."""

from __future__ import annotations

from typing import Any

import httpx


def assert_refused(answer: httpx.Response, status: int, error_type: str) -> str:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["error_type"]) == (status, error_type), body
    assert set(body) == {"error", "error_type"}
    sentence = str(body["error"])
    assert 10 < len(sentence) < 700
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence
