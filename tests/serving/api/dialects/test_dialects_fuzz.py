"""Malformed requests in every dialect: never a 500, always in the shape that its callers read."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from isogloss.serving.api.dialects.tensors import HEADER_LENGTH, strings
from tests.serving.api.dialects.two_tasks import server_of
from tests.serving.api.refused import assert_told_as_asked
from tests.serving.malformed import malformed_bytes, malformed_of
from tests.some import some

_CONFIG = (
    '<View><Text name="t" value="$text"/><Choices name="topic" toName="t"><Choice value="sports"/>'
    '<Choice value="travel" alias="politics"/></Choices></View>'
)
_TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
GOOD: dict[str, list[Any]] = {
    "/v1/decisions": [
        {
            "model": "fake-bloom",
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}],
            "questions": [
                {"type": "choice", "name": "topic", "instructions": "?",
                 "choices": [{"value": "sports"}, {"value": "travel"}]},
                {"type": "predicate", "name": "politics", "instructions": "?"},
                {"type": "score", "levels": [{"label": "low"}, {"label": "high"}]},
            ],
        },
        {"input": "a", "questions": [{"type": "predicate", "name": "sports"}]},
    ],
    "/v1/systemone": [
        {
            "state": {"text": ["a", {"content": "b"}]},
            "questions": {
                "topic": {"type": "choice", "criteria": {"sports": None, "travel": "x"}},
                "politics": {"type": "noul"},
                "urgency": {"type": "score", "criteria": ["low", "high"]},
            },
        }
    ],
    "/v1/moderations": [{"model": "urgency", "input": ["a", {"type": "text", "text": "b"}]}],
    "/classify": [{"model": "fake-bloom", "input": ["a", "b"]}],
    "/v1/classify": [{"model": "fake-bloom", "input": "a"}],
    "/predict": [{"inputs": [["a"], ["b"]], "truncate": True, "raw_scores": False}],
    "/": [{"inputs": "a", "parameters": {"top_k": 1, "function_to_apply": "softmax"}}],
    "/invocations": [{"inputs": ["a"]}],
    "/v1/models/fake-bloom:predict": [{"instances": ["a", {"text": "b"}]}],
    "/v2/models/fake-bloom/infer": [
        {"id": "x", "inputs": [_TENSOR], "outputs": [{"name": "label"}],
         "parameters": {"binary_data_output": True}}
    ],
    "/label-studio/predict": [
        {"tasks": [{"id": 1, "data": {"text": "a"}}, {"data": {"text": ""}}], "project": "1.2",
         "label_config": _CONFIG, "params": {"context": None}}
    ],
    "/label-studio/setup": [{"project": "1.2", "schema": _CONFIG, "extra_params": None}],
}  # fmt: skip
STATUSES = {200, 400, 404, 413, 422}
EACH, SOAK = 150, 20


def _send(folder: Path, seed: int, count: int) -> collections.Counter[tuple[str, int]]:
    server, seen = server_of(folder), collections.Counter[tuple[str, int]]()

    async def scenario(client: httpx.AsyncClient) -> None:
        for path, good in some(GOOD.items()):
            for body in malformed_of(seed, count, good):
                answer = await client.post(path, content=body)
                seen[path, answer.status_code] += 1
                assert answer.status_code in STATUSES, (path, body, answer.text)
                if answer.status_code >= 400:
                    assert_told_as_asked(path, answer)
            for body in good:
                assert (await client.post(path, json=body)).status_code == 200, path

    server(scenario)
    return seen


def test_no_malformed_body_of_any_dialect_is_a_failure(tmp_path: Path) -> None:
    seen = _send(tmp_path, 1, EACH)
    for path in some(GOOD):
        assert sum(n for (at, status), n in seen.items() if at == path and status >= 400) > 50


@pytest.mark.soak
def test_no_malformed_body_of_any_dialect_is_a_failure_for_long(tmp_path: Path) -> None:
    _send(tmp_path, 2, EACH * SOAK)


def _binary(texts: list[str]) -> tuple[bytes, int]:
    packed = strings(texts)
    about = {**_TENSOR, "shape": [len(texts)], "parameters": {"binary_data_size": len(packed)}}
    del about["data"]
    head = json.dumps({"inputs": [about], "parameters": {"binary_data_output": True}}).encode()
    return head + packed, len(head)


def test_no_malformed_tensor_is_a_failure(tmp_path: Path) -> None:
    body, length = _binary(["one", "Zwei ist größer", "三"])
    statuses = collections.Counter[int]()

    async def scenario(client: httpx.AsyncClient) -> None:
        path = "/v2/models/fake-bloom/infer"
        lengths = ["", "0", "-1", "x", "9" * 20, str(len(body)), str(len(body) + 1), str(length)]
        for n, sent in enumerate(malformed_bytes(3, 600, [body])):
            told = lengths[n % len(lengths)] if n % 3 == 0 else str(length)
            answer = await client.post(path, content=sent, headers={HEADER_LENGTH: told})
            statuses[answer.status_code] += 1
            assert answer.status_code in STATUSES, (sent, told, answer.text)
            if answer.status_code >= 400:
                assert_told_as_asked(path, answer)
        good = await client.post(path, content=body, headers={HEADER_LENGTH: str(length)})
        assert good.status_code == 200

    server_of(tmp_path)(scenario)
    assert statuses[400] > 300
