"""`isogloss bench precision` and `bench mixture`: ways to answer, compared with a baseline.

Test sentences are classified as the server would. `precision` compares labels and scores in faster
precisions with float32's. `mixture` compares prompts mixed below a threshold of certainty, and the
language told (the oracle), with the likeliest language's prompt alone, on sentences' first words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from isogloss.deploy.bench.comparing import whole_report
from isogloss.deploy.bench.options import Say
from isogloss.deploy.bench.settings import (
    EXACT,
    AccuracySettings,
    MixtureSettings,
    PrecisionSettings,
)
from isogloss.deploy.bench.tables import Report, table
from isogloss.prompts.console.plain_table import PlainTable
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.languages.languages import language
from isogloss.prompts.model.backbone import Backbone
from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.schemas import ClassifyRequest, Result
from isogloss.training.data.labelled import Example, load_split
from isogloss.training.evaluation.evaluate import choose_languages

OFF, ORACLE = "off", "oracle"
_UNSPACED = frozenset(["Hans", "Hant", "Jpan", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"])
_CHARACTERS_A_WORD = 3  # of a script that puts no spaces between words

Examples = Mapping[str, Sequence[Example]]


def bench_precision(settings: PrecisionSettings, say: Say = lambda line: None) -> dict[str, Any]:
    """Compare every precision on every model; one JSON object, shaped as the other benchmarks'.

    Raises:
        InvalidInput: `languages` cannot be read.
        InvalidData: a language's test split cannot be read.
        NotFound, StoreError: no such model, or the store cannot be read.
    """
    settings = settings.settled()
    first = Backbone.load(settings.models[0], device="cpu")
    examples = _examples(settings, first)
    results: list[dict[str, Any]] = []
    ratios: dict[str, dict[str, float]] = {model: {} for model in settings.models}
    for model in settings.models:
        exact: list[Result] = []
        for precision in (EXACT, *settings.precisions):
            say(f"{model}: in {precision}")
            backbone = Backbone.load_for_serving(model, device=settings.device, dtype=precision)
            serving = ServingSettings(models=(model,), store=settings.store)
            # Languages are told, so that only the model's numbers differ.
            answers = classify(serving, backbone, examples, told=True, task=settings.task)
            exact = exact or answers
            shown = _compared(answers, exact, examples)
            results.append({"model": model, "precision": precision, **shown})
            if precision != EXACT:
                ratios[model][f"{precision}_agreement"] = shown["agreement"]
    return _report("precision", settings, results, ratios, examples, compared_with=EXACT)


def bench_mixture(settings: MixtureSettings, say: Say = lambda line: None) -> dict[str, Any]:
    """Measure every length; one JSON object, shaped as the other benchmarks'.

    Raises:
        InvalidInput: `languages` cannot be read, or they do not have the same sentences.
        InvalidData: a language's test split cannot be read.
        NotFound, StoreError: no such model, or the store cannot be read.
    """
    settings = settings.settled()
    backbone = Backbone.load(settings.model, device=settings.device, dtype=settings.dtype)
    whole = _examples(settings, backbone)
    _check_translations(whole)
    serving = ServingSettings(models=(settings.model,), store=settings.store)
    thresholds = {OFF: 0.0, **{str(each): each for each in settings.thresholds}, ORACLE: 0.0}
    results, costs = [], {}
    for words in settings.words:
        examples = {code: _openings(split, words, code) for code, split in whole.items()}
        ways: dict[str, dict[str, Any]] = {}
        off: list[Result] = []
        for way, threshold in thresholds.items():
            say(f"{words} words: {way}")
            mixing = serving.model_copy(update={"mixture_threshold": threshold})
            answers = classify(mixing, backbone, examples, told=way == ORACLE, task=settings.task)
            off = off or answers
            ways[way] = _mixed(answers, off, examples)
            if way not in (OFF, ORACLE):
                costs[f"prompts_per_text_{way}_at_{words}_words"] = ways[way]["prompts_per_text"]
        results.append({"model": settings.model, "words": words, "texts": len(off), "ways": ways})
    ratios = {settings.model: costs}
    return _report("mixture", settings, results, ratios, whole, detector=serving.detector)


def opening(text: str, words: int, code: str) -> str:
    """A text's first words; where the script puts no spaces between them, as many characters.

    >>> opening("one two three four", 2, "eng_Latn")
    'one two'
    """
    if language(code).script in _UNSPACED:
        return text[: words * _CHARACTERS_A_WORD]
    return " ".join(text.split()[:words])


def _openings(split: Sequence[Example], words: int, code: str) -> list[Example]:
    return [replace(each, text=opening(each.text, words, code)) for each in split]


def _examples(settings: AccuracySettings, backbone: Backbone) -> dict[str, list[Example]]:
    codes = choose_languages(backbone, settings.data, settings.languages)
    splits = {code: load_split(settings.data, code, "test") for code in codes}
    return {
        code: sorted(split, key=lambda example: example.index_id)[: settings.sentences]
        for code, split in splits.items()
    }


def _check_translations(examples: Examples) -> None:
    """Every language's sentences are the same ones, in the same order."""
    ids = {code: [example.index_id for example in split] for code, split in examples.items()}
    first = next(iter(ids))
    for code, own in ids.items():
        if own != ids[first]:
            raise InvalidInput(
                f"--data: {code} has other sentences than {first}; gains are averaged over "
                "translations of the same ones: leave out one of the two"
            )


def classify(
    serving: ServingSettings,
    backbone: ServingBackbone,
    examples: Examples,
    *,
    told: bool,
    task: str | None = None,
) -> list[Result]:
    """Answer every language's texts, in order.

    Args:
        serving: the server's settings.
        backbone: the model.
        examples: language code -> texts.
        told: whether requests name the language, or it is detected.
        task: None for the default.
    """

    async def ask() -> list[Result]:
        classifier = build_classifier(serving, backbone=lambda name, _: backbone)
        size = serving.max_inputs
        try:
            answers: list[Result] = []
            for code, split in examples.items():
                for begin in range(0, len(split), size):
                    request = ClassifyRequest(
                        inputs=[each.text for each in split[begin : begin + size]],
                        task=task,
                        language=code if told else None,
                    )
                    answers += (await classifier.classify(request)).results
            return answers
        finally:
            classifier.close()

    return asyncio.run(ask())


def _right(answers: Sequence[Result], examples: Examples) -> np.ndarray[Any, Any]:
    labels = [example.label for split in examples.values() for example in split]
    return np.array([a.label == label for a, label in zip(answers, labels, strict=True)])


def _mixed(answers: Sequence[Result], off: Sequence[Result], examples: Examples) -> dict[str, Any]:
    """One way's accuracy, and on the texts that took several prompts also one prompt's."""
    right, alone = _right(answers, examples), _right(off, examples)
    prompts = np.array([len(answer.mixture or [answer]) for answer in answers])
    mixed = prompts > 1
    gains = right.astype(float) - alone
    return {
        "accuracy": _rounded(right.mean()),
        "gain": _rounded(gains.mean()),
        "interval": _interval(gains.reshape(len(examples), -1).mean(axis=0)),
        "prompts_per_text": _rounded(prompts.mean()),
        "mixed": _rounded(mixed.mean()),
        "accuracy_of_mixed": _rounded(right[mixed].mean()) if mixed.any() else None,
        "accuracy_of_mixed_off": _rounded(alone[mixed].mean()) if mixed.any() else None,
    }


def _interval(gains: np.ndarray[Any, Any]) -> list[float]:
    """95 % of the mean gain, by bootstrap over sentences (each averaged over its languages)."""
    from scipy.stats import bootstrap

    if np.ptp(gains) == 0:
        return [_rounded(gains[0])] * 2
    interval = bootstrap(
        (gains,), np.mean, n_resamples=2000, method="percentile", rng=0
    ).confidence_interval
    return [_rounded(interval.low), _rounded(interval.high)]


def _compared(
    answers: Sequence[Result], exact: Sequence[Result], examples: Examples
) -> dict[str, Any]:
    """Share of the same labels, overall and of the worst language; how far scores moved."""
    pairs = list(zip(answers, exact, strict=True))
    codes = np.array([code for code, split in examples.items() for _ in split])
    same = np.array([a.label == b.label for a, b in pairs])
    moved = np.array([_moved(a, b) for a, b in pairs])
    shares = {code: float(same[codes == code].mean()) for code in examples}
    worst = min(shares, key=lambda code: shares[code])
    lost = [b.score for a, b in pairs if a.label != b.label]
    return {
        "texts": len(answers),
        "accuracy": _rounded(_right(answers, examples).mean()),
        "agreement": _rounded(same.mean()),
        "worst_language": {worst: _rounded(shares[worst])},
        "score_moved": {
            "mean": _rounded(moved.mean()),
            "p99": _rounded(np.quantile(moved, 0.99)),
            "max": _rounded(moved.max()),
        },
        "surest_change": _rounded(max(lost, default=0.0)),
    }


def _moved(one: Result, other: Result) -> float:
    """The largest change of any label's score."""
    scores = {each.label: each.score for each in other.scores}
    return max(abs(each.score - scores[each.label]) for each in one.scores)


def _rounded(value: float) -> float:
    return round(float(value), 5)


def _report(
    bench: str,
    settings: AccuracySettings,
    results: Sequence[Mapping[str, Any]],
    ratios: Mapping[str, Any],
    examples: Examples,
    **more: str,
) -> dict[str, Any]:
    report = whole_report(bench, settings, results, ratios)
    of_data = {"data": Path(settings.data).name, "split": "test", "languages": len(examples)}
    report["settings"] |= of_data | more
    return report


def mixture_tables(report: Report) -> list[PlainTable]:
    """The table of `bench mixture`."""
    rows = [
        [
            *(f"{result['words']}", way, f"{row['accuracy']:.1%}", f"{100 * row['gain']:+.2f}"),
            " to ".join(f"{100 * end:+.2f}" for end in row["interval"]),
            *(f"{row['prompts_per_text']:.2f}", f"{row['mixed']:.1%}"),
        ]
        for result in report["results"]
        for way, row in result["ways"].items()
    ]
    numbers = ["accuracy", "gain, points", "95 %", "prompts a text", "mixed"]
    return [table(_title(report), "off: one prompt", ["words", "way"], numbers, rows)]


def precision_tables(report: Report) -> list[PlainTable]:
    """The table of `bench precision`."""
    rows = [
        [row["model"], row["precision"], f"{row['accuracy']:.2%}", f"{row['agreement']:.2%}"]
        + [f"{share:.1%} {code}" for code, share in row["worst_language"].items()]
        + [f"{row['score_moved']['mean']:.4f}", f"{row['surest_change']:.3f}"]
        for row in report["results"]
    ]
    return [
        table(
            _title(report),
            "surest change: the highest score that a label had in float32 and lost",
            ["model", "precision"],
            ["accuracy", "same labels", "worst language", "scores moved", "surest change"],
            rows,
        )
    ]


def _title(report: Report) -> str:
    return f"{report['settings']['data']} test, {report['settings']['languages']} languages"
