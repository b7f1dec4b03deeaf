"""Our forward pass alone, on the texts and at the batch sizes that our server had."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

import torch

from deploy.bench.http_workload import Contest
from deploy.bench.peers import Isogloss
from deploy.bench.texts import Workload
from prompts.backbone import Backbone
from prompts.loading import Device, Dtype
from prompts.soft_prompt import SoftPrompt

_LEAST_BATCHES = 3


class EngineRun(Protocol):
    """What of the benchmark's settings is of interest here."""

    @property
    def seconds(self) -> float:
        """Of each batch size, at least."""

    @property
    def threads(self) -> int:
        """Of matrix products."""

    @property
    def device(self) -> torch.device:
        """Where the model runs."""

    @property
    def dtype(self) -> Dtype:
        """Its precision."""


def engine_texts_per_s(
    contest: Contest, reached: Mapping[int, float | None], run: EngineRun
) -> dict[int, float]:
    """Texts a second of the engine alone, at the mean batch size of each concurrency.

    Args:
        contest: the model, prompts and texts.
        reached: concurrency -> texts of a batch in the mean.
        run: how it is to run.
    """
    torch.set_num_threads(run.threads)
    where: Device = "cuda" if run.device.type == "cuda" else "cpu"
    backbone = Backbone.load(contest.source, device=where, dtype=run.dtype)
    work = _workload(contest, backbone)
    engine = Isogloss(backbone, work)
    return {
        concurrency: _texts_per_s(engine, work, max(1, round(mean)), run.seconds)
        for concurrency, mean in reached.items()
        if mean is not None
    }


def _workload(contest: Contest, backbone: Backbone) -> Workload:
    """The same requests, as token ids; prompts take the turns they have there."""
    texts = backbone.tokenizer.encode([a.text for a in contest.asked], backbone.max_text_tokens)
    names = list(dict.fromkeys(each.prompt for each in contest.asked))
    prompts = [SoftPrompt.load(contest.prompts / f"{name}.safetensors") for name in names]
    label_ids = tuple(label.token_id for label in prompts[0].card.labels)
    ids = tuple(text.ids for text in texts)
    return Workload(ids, tuple(prompt.vectors for prompt in prompts), label_ids)


@torch.inference_mode()
def _texts_per_s(engine: Isogloss, work: Workload, size: int, seconds: float) -> float:
    batches = work.batches(size)
    engine.score(next(batches))  # the first is slower
    texts, begun_s = 0, time.perf_counter()
    while (spent_s := time.perf_counter() - begun_s) < seconds or texts < _LEAST_BATCHES * size:
        engine.score(next(batches)).cpu()
        texts += size
    return texts / spent_s
