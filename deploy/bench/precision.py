"""`isogloss bench precision`: how often a faster precision answers as float32 does.

Sentences of a test split are classified as the server would, once in each precision; labels and
scores are compared with float32's, text by text. Accuracy is given beside it: a label that moved
was seldom a sure one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from isogloss.deploy.bench.contest import Say
from isogloss.deploy.load.machine import hardware, versions
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.model.backbone import Backbone
from isogloss.prompts.model.checkpoint import Device, choose_device
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.schemas import ClassifyRequest, Result
from isogloss.training.data.labelled import Example, load_split

Precision = Literal["float32", "bfloat16", "float16", "int8", "fp8"]
EXACT: Precision = "float32"


@dataclass(frozen=True, slots=True)
class PrecisionSettings:
    """What is compared."""

    models: tuple[str, ...]
    data: str
    languages: tuple[str, ...]
    precisions: tuple[Precision, ...] = ("bfloat16", "int8")
    store: Path | None = None
    sentences: int | None = None
    """Of each language, the first of the test split; None: all."""
    device: Device = "cpu"

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "models": list(self.models),
            "data": Path(self.data).name,
            "split": "test",
            "languages": len(self.languages),
            "precisions": list(self.precisions),
            "sentences": self.sentences,
            "compared_with": EXACT,
        }


def parse_precisions(names: Sequence[str]) -> tuple[Precision, ...]:
    """Precisions by name, each once.

    Raises:
        InvalidInput: another name.
    """
    known = {each: each for each in get_args(Precision) if each != EXACT}
    if wrong := [name for name in names if name not in known]:
        raise InvalidInput(f"--dtype {wrong[0]!r}: name one of {', '.join(known)}")
    return tuple(dict.fromkeys(known[name] for name in names))


def bench_precision(settings: PrecisionSettings, say: Say = lambda line: None) -> dict[str, Any]:
    """Compare every precision on every model; one JSON object, shaped as the other benchmarks'.

    Args:
        settings: what to compare.
        say: told what is going on.

    Raises:
        InvalidData: a language's test split cannot be read.
        NotFound, StoreError: no such model, or the store cannot be read.
    """
    examples = [
        (code, example)
        for code in settings.languages
        for example in load_split(settings.data, code, "test")[: settings.sentences]
    ]
    results = [
        result for model in settings.models for result in _compare(model, settings, examples, say)
    ]
    return {
        "bench": "precision",
        "hardware": hardware(choose_device(settings.device)),
        "versions": versions(),
        "settings": settings.shown(),
        "results": results,
        "ratios": {
            model: {
                f"{own['precision']}_agreement": own["agreement"]
                for own in results
                if own["model"] == model and own["precision"] != EXACT
            }
            for model in settings.models
        },
    }


def _compare(
    model: str, settings: PrecisionSettings, examples: Sequence[tuple[str, Example]], say: Say
) -> list[dict[str, Any]]:
    exact: list[Result] = []
    results = []
    precisions: tuple[Precision, ...] = (EXACT, *settings.precisions)
    for precision in precisions:
        say(f"{model}: {len(examples)} texts in {precision}")
        begun_s = time.perf_counter()
        answers = _classify(model, precision, settings, examples)
        exact = exact or answers
        results.append(
            {
                "model": model,
                "precision": precision,
                "texts": len(answers),
                "seconds": round(time.perf_counter() - begun_s, 1),
                "accuracy": _share([a.label for a in answers], [e.label for _, e in examples]),
                **_agreement(answers, exact, [code for code, _ in examples]),
            }
        )
    return results


def _classify(
    model: str,
    precision: Precision,
    settings: PrecisionSettings,
    examples: Sequence[tuple[str, Example]],
) -> list[Result]:
    """Answer every text; their language is told, so that only the model's numbers differ."""
    backbone = Backbone.load_for_serving(model, device=settings.device, dtype=precision)
    serving = ServingSettings(models=(model,), store=settings.store)

    async def ask() -> list[Result]:
        classifier = build_classifier(serving, backbone=lambda name, _: backbone)
        try:
            return [
                result
                for request in _requests(examples, serving.max_inputs)
                for result in (await classifier.classify(request)).results
            ]
        finally:
            classifier.close()

    return asyncio.run(ask())


def _requests(examples: Sequence[tuple[str, Example]], size: int) -> list[ClassifyRequest]:
    """One language a request, at most `size` texts each, in order."""
    own: dict[str, list[str]] = {}
    for code, example in examples:
        own.setdefault(code, []).append(example.text)
    return [
        ClassifyRequest(inputs=texts[at : at + size], language=code)
        for code, texts in own.items()
        for at in range(0, len(texts), size)
    ]


def _agreement(
    answers: Sequence[Result], exact: Sequence[Result], codes: Sequence[str]
) -> dict[str, Any]:
    """Share of the same labels, overall and of the worst language; how far scores moved."""
    same = np.array([a.label == b.label for a, b in zip(answers, exact, strict=True)])
    moved = np.array([_moved(a, b) for a, b in zip(answers, exact, strict=True)])
    shares = {code: same[[own == code for own in codes]].mean() for code in dict.fromkeys(codes)}
    worst = min(shares, key=lambda code: shares[code])
    return {
        "agreement": round(float(same.mean()), 5),
        "worst_language": {worst: round(float(shares[worst]), 5)},
        "score_moved": {
            "mean": round(float(moved.mean()), 6),
            "p99": round(float(np.quantile(moved, 0.99)), 6),
            "max": round(float(moved.max()), 6),
        },
        "surest_change": round(
            max(
                (b.score for a, b in zip(answers, exact, strict=True) if a.label != b.label),
                default=0.0,
            ),
            6,
        ),
    }


def _moved(one: Result, other: Result) -> float:
    """The largest change of any label's score."""
    scores: Mapping[str, float] = {each.label: each.score for each in other.scores}
    return max(abs(each.score - scores[each.label]) for each in one.scores)


def _share(found: Sequence[str], right: Sequence[str]) -> float:
    return round(sum(a == b for a, b in zip(found, right, strict=True)) / len(right), 5)
