"""What steps will take on this machine: three rates, measured with the model and the data itself.

A text is read once, whatever number of prompts learn from it, and that takes `encode_s`. A visit
is one prompt's step on one example, forward and backward, and takes `visit_s` for each vector of
the prompt; scoring takes `score_s` for each. All three are of one process with its threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from isogloss.training.tailor.ways import Way

if TYPE_CHECKING:
    from isogloss.prompts.model.backbone import Backbone, Dtype
    from isogloss.training.workers.units import ModelSpec

_START_S = 0.5  # of a command
_TEXTS, _PROMPTS, _VECTORS, _TOKENS = 16, 8, 8, 48
_AT_LEAST_S = 0.3


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds a text, and a vector and text, with all workers together."""

    encode_s: float
    visit_s: float
    score_s: float


def training_s(rates: Rates, way: Way, examples: int, epochs: int) -> float:
    """A grid's seconds: `examples` are what it trains on, a ninth more validates each epoch."""
    vectors = way.prompts * sum(way.lengths) / len(way.lengths)
    validating = rates.score_s * examples / 9
    visits = epochs * vectors * (examples * rates.visit_s + validating)
    return _START_S + examples * 10 / 9 * rates.encode_s + visits


def evaluation_s(rates: Rates, sentences: int, vectors: int) -> float:
    """Of so many sentences under prompts of so many vectors together."""
    return _START_S + sentences * (rates.encode_s + vectors * rates.score_s)


def measure(model: Backbone, texts: Sequence[str], workers: int) -> Rates:
    """Measure the rates on a few of the texts; a second or two for a small model.

    Args:
        model: loaded as the steps load it.
        texts: of the data; some of them are read.
        workers: that share the work.
    """
    from isogloss.training.tuning.texts import tokenize

    some = [texts[n * len(texts) // _TEXTS] for n in range(_TEXTS)]
    return _measured(model, tokenize(model, some, None), workers)


def faster_dtype(spec: ModelSpec) -> Dtype:
    """float32 or bfloat16, whichever makes prompts sooner on this machine's processor.

    A processor with units for bfloat16 takes a quarter of the time, one without them several times
    as long. On GPUs and where a precision was asked for, that one.
    """
    if spec.dtype != "auto":
        return spec.dtype
    took: dict[Dtype, float] = {}
    for dtype in ("float32", "bfloat16"):
        model = replace(spec, dtype=dtype).load()
        if model.device.type != "cpu":
            return "auto"
        vocabulary = min(model.vocab_size, 1000)
        ids = [[(n * t) % vocabulary for t in range(1, _TOKENS)] for n in range(1, _TEXTS + 1)]
        rates = _measured(model, ids, 1)
        took[dtype] = rates.encode_s + _PROMPTS * _VECTORS * rates.visit_s
    return min(took, key=lambda dtype: took[dtype])


def _measured(model: Backbone, ids: Sequence[Sequence[int]], workers: int) -> Rates:
    import torch

    start = torch.zeros(_VECTORS, model.hidden_size, dtype=model.dtype, device=model.device)
    prompts = [start.clone().requires_grad_() for _ in range(_PROMPTS)]
    read_each = [prompts] * len(ids)
    with torch.no_grad():
        kv = model.encode(ids)
        encode_s = _seconds(lambda: model.encode(ids)) / len(ids)
        vectors = len(ids) * _PROMPTS * _VECTORS
        score_s = _seconds(lambda: model.read(kv, read_each)) / vectors
    visit_s = _seconds(lambda: model.read(kv, read_each).float().sum().backward()) / vectors
    return Rates(encode_s / workers, visit_s / workers, score_s / workers)


def _seconds(work: Callable[[], object]) -> float:
    """The least of some runs, after one that nobody times."""
    work()
    runs, least = 0, float("inf")
    began = time.perf_counter()
    while runs < 3 or time.perf_counter() - began < _AT_LEAST_S:
        start = time.perf_counter()
        work()
        least, runs = min(least, time.perf_counter() - start), runs + 1
    return least
