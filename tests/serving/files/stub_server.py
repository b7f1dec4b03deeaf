"""A server that answers at once, in a process of its own: `python -m ... [SECONDS A REQUEST]`.

A text's label is its length modulo 7. Texts of more than 1000 characters are refused as a server
does it, by their index.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

MOST_CHARS = 1000


def result(text: str) -> dict[str, Any]:
    label, score = f"label {len(text) % 7}", 1 / (1 + len(text) % 11)
    return {
        "label": label, "score": score, "scores": [{"label": label, "score": score}],
        "language": {"code": "eng_Latn", "name": "English", "confidence": 0.75, "detected": True,
                     "known": 1.0},
        "route": {"clade": "Germanic", "lineage": ["Germanic"], "reason": "clade"},
        "prompt": {"name": "stub", "version": 1, "digest": "sha256:0"},
        "tokens": len(text), "truncated": False,
    }  # fmt: skip


def reply(texts: list[str]) -> tuple[int, dict[str, Any]]:
    for index, text in enumerate(texts):
        if len(text) > MOST_CHARS:
            sentence = f"inputs[{index}]: {len(text)} characters are too many; send at most 1000"
            return 413, {"error": sentence, "error_type": "too_large"}
    results = [result(text) for text in texts]
    return 200, {"model": "stub", "task": "topic", "generation": 1, "results": results}


def application(pause_s: float = 0.0) -> Starlette:
    async def classify(request: Request) -> Response:
        await asyncio.sleep(pause_s)
        status, body = reply(json.loads(await request.body())["inputs"])
        return Response(json.dumps(body), status, media_type="application/json")

    return Starlette(routes=[Route("/v1/classify", classify, methods=["POST"])])


class Announced(uvicorn.Server):
    """Prints its address once it listens."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        print(f"http://{host}:{port}", flush=True)


if __name__ == "__main__":
    app = application(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
    Announced(uvicorn.Config(app, port=0, log_config=None)).run()
