"""Our forward pass alone, on the texts and at the batch sizes that our server had."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch

from isogloss.deploy.bench.http_workload import HttpWorkload
from isogloss.deploy.bench.peers import Isogloss
from isogloss.deploy.bench.settings import HttpSettings
from isogloss.deploy.bench.texts import Workload
from isogloss.prompts.format.soft_prompt import SoftPrompt
from isogloss.prompts.model.backbone import Backbone

_LEAST_BATCHES = 3


def engine_texts_per_s(
    work: HttpWorkload, reached: Mapping[int, Mapping[int, float]], settings: HttpSettings
) -> dict[int, float]:
    """Texts a second of the engine alone, at the batch sizes of each concurrency.

    Args:
        contest: the model, prompts and texts.
        reached: concurrency -> texts of a batch -> how many batches had them.
        settings: device and precision, settled, and for how long.
    """
    backbone = Backbone.load_for_serving(work.source, device=settings.device, dtype=settings.dtype)
    tokens = _workload(work, backbone)
    engine = Isogloss(backbone, tokens)
    sizes = sorted({size for counts in reached.values() for size in counts})
    took_s = {size: _seconds_a_batch(engine, tokens, size, settings.seconds / 4) for size in sizes}
    return {
        concurrency: sum(size * count for size, count in counts.items())
        / sum(took_s[size] * count for size, count in counts.items())
        for concurrency, counts in reached.items()
        if counts
    }


def _workload(work: HttpWorkload, backbone: Backbone) -> Workload:
    """The same requests, as token ids; prompts take the turns they have there."""
    texts = backbone.tokenizer.encode([a.text for a in work.asked], backbone.max_text_tokens)
    names = list(dict.fromkeys(each.prompt for each in work.asked))
    prompts = [SoftPrompt.load(work.prompts / f"{name}.safetensors") for name in names]
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
