"""Our forward pass alone, on the texts and at the batch sizes that our server had."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

import torch

from isogloss.deploy.bench.http_workload import Contest
from isogloss.deploy.bench.peers import Isogloss
from isogloss.deploy.bench.texts import Workload
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.checkpoint import Device, Dtype

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
    contest: Contest, reached: Mapping[int, Mapping[int, float]], run: EngineRun
) -> dict[int, float]:
    """Texts a second of the engine alone, at the batch sizes of each concurrency.

    Args:
        contest: the model, prompts and texts.
        reached: concurrency -> texts of a batch -> how many batches had them.
        run: how it is to run.
    """
    torch.set_num_threads(run.threads)
    where: Device = "cuda" if run.device.type == "cuda" else "cpu"
    backbone = Backbone.load_for_serving(contest.source, device=where, dtype=run.dtype)
    work = _workload(contest, backbone)
    engine = Isogloss(backbone, work)
    sizes = sorted({size for own in reached.values() for size in own})
    took_s = {size: _seconds_a_batch(engine, work, size, run.seconds / 4) for size in sizes}
    return {
        concurrency: sum(size * count for size, count in own.items())
        / sum(took_s[size] * count for size, count in own.items())
        for concurrency, own in reached.items()
        if own
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
def _seconds_a_batch(engine: Isogloss, work: Workload, size: int, seconds: float) -> float:
    """In the mean over batches that go round all the texts."""
    batches = work.batches(size)
    engine.score(next(batches))  # the first is slower
    done, begun_s = 0, time.perf_counter()
    while (spent_s := time.perf_counter() - begun_s) < seconds or done < _LEAST_BATCHES:
        engine.score(next(batches)).cpu()
        done += 1
    return spent_s / done
