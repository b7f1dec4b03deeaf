"""The servers that `bench http` compares ours with, each as a careful person would write it.

Both score by `deploy.bench.peers.Transformers`: prompts concatenated, padded on the left, only the
last position's logits. FastAPI's scores one text at a time with all cores; Ray Serve's collects
batches with `@serve.batch` behind Serve's own proxy (`deploy.bench.http_ray`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI
from pydantic import BaseModel

from isogloss.deploy.bench.peers import Transformers
from isogloss.deploy.bench.texts import Batch, Workload
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.names import resolve

ROUTE = "/classify"


class Request(BaseModel):
    """One text and the prompt to read it under."""

    inputs: str
    prompt: str


class Score(BaseModel):
    """A label and its probability."""

    label: str
    score: float


class Answer(BaseModel):
    """The best label, and all of them, best first."""

    label: str
    scores: list[Score]


class Batches(BaseModel):
    """Forward passes so far, and the texts in them."""

    batches: int = 0
    texts: int = 0


@dataclass(frozen=True)
class Options:
    """What a peer is started with."""

    model: str
    prompts: Path
    port: int
    threads: int
    device: str = "cpu"
    dtype: str = "float32"


class Scorer:
    """A transformers model, its tokenizer and prompts."""

    def __init__(self, options: Options) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(options.threads)
        source, dtype = resolve(options.model), getattr(torch, options.dtype)
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
        files = sorted(options.prompts.glob("*.safetensors"))
        prompts = [SoftPrompt.load(file) for file in files]
        labels = prompts[0].card.labels
        self._indices = {file.stem: index for index, file in enumerate(files)}
        self._labels = [label.label for label in labels]
        self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
        vectors = tuple(prompt.vectors for prompt in prompts)
        work = Workload((), vectors, tuple(label.token_id for label in labels))
        self._model = Transformers(model.eval().to(options.device), work)
        self.done = Batches()

    @torch.inference_mode()
    def score(self, asked: Sequence[Request]) -> list[Answer]:
        """One forward pass for all of them."""
        ids = self._tokenizer([each.inputs for each in asked])["input_ids"]
        prompts = tuple(self._indices[each.prompt] for each in asked)
        scores = self._model.score(Batch(tuple(ids), prompts)).exp().tolist()
        self.done.batches += 1
        self.done.texts += len(asked)
        return [self._answer(row) for row in scores]

    def _answer(self, scores: Sequence[float]) -> Answer:
        ranked = sorted(zip(scores, self._labels, strict=True), reverse=True)
        return Answer(
            label=ranked[0][1],
            scores=[Score(label=label, score=score) for score, label in ranked],
        )


def plain_api(scorer: Scorer) -> FastAPI:
    """A server without batching: one text after the other, off the event loop."""
    api = FastAPI()
    worker = ThreadPoolExecutor(max_workers=1)

    @api.post(ROUTE)
    async def classify(asked: Request) -> Answer:
        loop = asyncio.get_running_loop()
        (answer,) = await loop.run_in_executor(worker, scorer.score, [asked])
        return answer

    @api.get("/health")
    async def health() -> Batches:
        return scorer.done

    return api
