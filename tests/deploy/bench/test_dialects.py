"""The bodies of `bench dialects` are answered, each with what `/v1/classify` says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isogloss.deploy.bench.dialects import OURS, TEXTS, _row, bodies
from isogloss.deploy.bench.http_load import Load
from isogloss.serving.api.dialects.tensors import HEADER_LENGTH
from tests.fakes import MODEL
from tests.serving.api_server import Server
from tests.some import some


async def test_every_way_gets_the_same_answer(tmp_path: Path) -> None:
    server = Server(tmp_path)
    async with server.client() as client:

        async def labels(path: str) -> list[str]:
            found = []
            for body in some(bodies(MODEL)[path]):
                kind, length, digits = (*body.split(":"), "", "")[:3]
                is_binary = kind == "hex"
                sent = bytes.fromhex(digits) if is_binary else body.encode()
                headers = {HEADER_LENGTH: length} if is_binary else {}
                answer = await client.post(path, content=sent, headers=headers)
                assert answer.status_code == 200, (path, answer.text)
                found.append(best(path, answer.content))
            return found

        ours = await labels(OURS)
        assert len(ours) == len(TEXTS)
        for path in some(bodies(MODEL)):
            if path != "/v1/decisions":  # which is asked for one label's probability
                assert await labels(path) == ours, path


def best(path: str, content: bytes) -> str:
    if path.startswith("/v2"):
        return next(
            label for label in ("sports", "travel", "politics") if label.encode() in content
        )
    told: Any = json.loads(content)
    if path == OURS:
        return str(told["results"][0]["label"])
    if path == "/predict":
        return str(told[0]["label"])
    if path == "/classify":
        return str(told["data"][0]["label"])
    if "predictions" in told:
        scores = told["predictions"][0]
        return str(max(scores, key=lambda label: float(scores[label])))
    return ""


def load(rate: float) -> Load:
    return Load(int(rate) + 1, 0, 0, 1, 1.0, 2.0, 3.0, 4.0)


def test_a_ratio_is_of_neighbours_in_time() -> None:
    measured = {OURS: [load(100), load(50)], "/predict": [load(90), load(50)]}
    row = _row("/predict", measured)
    assert row["vs_classify"]["median"] == pytest.approx(0.95)
    assert (row["vs_classify"]["min"], row["vs_classify"]["max"]) == (0.9, 1.0)
