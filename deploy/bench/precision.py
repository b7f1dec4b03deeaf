"""`isogloss bench precision`: how often a faster precision answers as float32 does.

Sentences of a test split are classified as the server would, once in each precision; labels and
scores are compared with float32's, text by text. Accuracy is given beside it: a label that moved
was seldom a sure one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isogloss.deploy.bench.classifying import classify
from isogloss.deploy.bench.comparing import whole_report
from isogloss.deploy.bench.options import Say
from isogloss.deploy.bench.settings import EXACT, Precision, PrecisionSettings
from isogloss.prompts.model.backbone import Backbone
from isogloss.serving.config import ServingSettings
from isogloss.serving.schemas import Result
from isogloss.training.data.labelled import Example, load_split
from isogloss.training.evaluation.evaluate import choose_languages

Examples = Mapping[str, Sequence[Example]]


def bench_precision(settings: PrecisionSettings, say: Say = lambda line: None) -> dict[str, Any]:
    """Compare every precision on every model; one JSON object, shaped as the other benchmarks'.

    Args:
        settings: what to compare.
        say: told what is going on.

    Raises:
        InvalidInput: `languages` cannot be read.
        InvalidData: a language's test split cannot be read.
        NotFound, StoreError: no such model, or the store cannot be read.
    """
    settings = settings.settled()
    first = Backbone.load(settings.models[0], device="cpu")
    codes = choose_languages(first, settings.data, settings.languages)
    examples = {
        code: load_split(settings.data, code, "test")[: settings.sentences] for code in codes
    }
    results = [
        result for model in settings.models for result in _compare(model, settings, examples, say)
    ]
    ratios: dict[str, dict[str, float]] = {model: {} for model in settings.models}
    for result in results:
        if result["precision"] != EXACT:
            ratios[result["model"]][f"{result['precision']}_agreement"] = result["agreement"]
    report = whole_report("precision", settings, results, ratios)
    report["settings"] |= {
        "data": Path(settings.data).name,
        "split": "test",
        "languages": len(codes),
        "compared_with": EXACT,
    }
    return report


def _compare(
    model: str, settings: PrecisionSettings, examples: Examples, say: Say
) -> list[dict[str, Any]]:
    labels = [example.label for split in examples.values() for example in split]
    codes = np.array([code for code, split in examples.items() for _ in split])
    exact: list[Result] = []
    results = []
    precisions: tuple[Precision, ...] = (EXACT, *settings.precisions)
    for precision in precisions:
        say(f"{model}: {len(labels)} texts in {precision}")
        began_s = time.perf_counter()
        answers = _answers(model, precision, settings, examples)
        exact = exact or answers
        right = [answer.label == label for answer, label in zip(answers, labels, strict=True)]
        results.append(
            {
                "model": model,
                "precision": precision,
                "texts": len(answers),
                "seconds": round(time.perf_counter() - began_s, 1),
                "accuracy": round(float(np.mean(right)), 5),
                **_agreement(answers, exact, codes),
            }
        )
    return results


def _answers(
    model: str, precision: Precision, settings: PrecisionSettings, examples: Examples
) -> list[Result]:
    """To every text; its language is told, so that only the model's numbers differ."""
    backbone = Backbone.load_for_serving(model, device=settings.device, dtype=precision)
    serving = ServingSettings(models=(model,), store=settings.store)
    texts = {code: [example.text for example in split] for code, split in examples.items()}
    answers = classify(serving, backbone, texts, told=True)
    return [result for results in answers.values() for result in results]


def _agreement(
    answers: Sequence[Result], exact: Sequence[Result], codes: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Share of the same labels, overall and of the worst language; how far scores moved."""
    pairs = list(zip(answers, exact, strict=True))
    same = np.array([a.label == b.label for a, b in pairs])
    moved = np.array([_moved(a, b) for a, b in pairs])
    shares = {str(code): float(same[codes == code].mean()) for code in dict.fromkeys(codes)}
    worst = min(shares, key=lambda code: shares[code])
    return {
        "agreement": round(float(same.mean()), 5),
        "worst_language": {worst: round(shares[worst], 5)},
        "score_moved": {
            "mean": round(float(moved.mean()), 6),
            "p99": round(float(np.quantile(moved, 0.99)), 6),
            "max": round(float(moved.max()), 6),
        },
        "surest_change": round(
            max((b.score for a, b in pairs if a.label != b.label), default=0.0), 6
        ),
    }


def _moved(one: Result, other: Result) -> float:
    """The largest change of any label's score."""
    scores = {each.label: each.score for each in other.scores}
    return max(abs(each.score - scores[each.label]) for each in one.scores)
