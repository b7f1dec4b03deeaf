"""`isogloss bench mixture`: what mixing prompts gains where a text is too short for certainty.

Texts are the first few words of test sentences, classified as users' are, in several ways: with the
likeliest language's prompt alone, mixed below a threshold of certainty, and with the language told
(the oracle). Sentences are translations of each other, so gains are averaged over languages
first and their interval is a bootstrap over sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isogloss.deploy.bench.classifying import classify
from isogloss.deploy.bench.comparing import whole_report
from isogloss.deploy.bench.options import Say
from isogloss.deploy.bench.settings import MixtureSettings
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.languages.languages import language
from isogloss.prompts.model.backbone import Backbone
from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.config import ServingSettings
from isogloss.serving.schemas import Result
from isogloss.training.data.labelled import Example, load_split
from isogloss.training.evaluation.evaluate import choose_languages

OFF, ORACLE = "off", "oracle"
_UNSPACED = frozenset(["Hans", "Hant", "Jpan", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"])
_CHARACTERS_A_WORD = 3  # of a script that puts no spaces between words
_RESAMPLES = 2000

_LEAST = 1e-6  # scores are rounded to this

Floats = NDArray[np.float64]
Examples = Mapping[str, Sequence[Example]]


@dataclass(frozen=True, eq=False, slots=True)
class Answered:
    """One way's answers to all texts of one length, each (languages, sentences)."""

    right: Floats  # 1 where the answer is right
    surprise: Floats  # negative log-probability of the right label
    prompts: Floats  # how many the answer took


def bench_mixture(settings: MixtureSettings, say: Say = lambda line: None) -> dict[str, Any]:
    """Measure every length; one JSON object, shaped as the other benchmarks'.

    Args:
        settings: what to measure.
        say: told what is going on.

    Raises:
        InvalidInput: `languages` cannot be read, or they do not have the same sentences.
        InvalidData: a language's test split cannot be read.
        NotFound, StoreError: no such model, or the store cannot be read.
    """
    settings = settings.settled()
    backbone = Backbone.load(settings.model, device=settings.device, dtype=settings.dtype)
    codes = choose_languages(backbone, settings.data, settings.languages)
    examples = _examples(settings, codes)
    results = []
    for words in settings.words:
        say(f"{words} words: one prompt a text")
        off = _answered(settings, backbone, examples, words, 0.0)
        ways = {}
        for threshold in settings.thresholds:
            say(f"{words} words: mixed below {threshold}")
            ways[str(threshold)] = _answered(settings, backbone, examples, words, threshold)
        say(f"{words} words: the language is told")
        ways[ORACLE] = _answered(settings, backbone, examples, words, 0.0, told=True)
        results.append(_result(settings, codes, words, off, ways))
    report = whole_report("mixture", settings, results, {settings.model: _costs(results)})
    report["settings"] |= {
        "detector": _serving(settings).detector,
        "data": Path(settings.data).name,
        "split": "test",
        "languages": len(codes),
        "interval": f"95 %, {_RESAMPLES} bootstrap samples of sentences, seed {settings.seed}",
    }
    return report


def opening(text: str, words: int, code: str) -> str:
    """A text's first words; where the script puts no spaces between them, as many characters.

    >>> opening("one two three four", 2, "eng_Latn")
    'one two'
    """
    if language(code).script in _UNSPACED:
        return text[: words * _CHARACTERS_A_WORD]
    return " ".join(text.split()[:words])


def _examples(settings: MixtureSettings, codes: Sequence[str]) -> dict[str, list[Example]]:
    """Each language's sentences, in the same order."""
    examples = {}
    for code in codes:
        split = load_split(settings.data, code, "test")
        examples[code] = sorted(split, key=lambda example: example.index_id)[: settings.sentences]
    first = [example.index_id for example in examples[codes[0]]]
    for code, split in examples.items():
        if [example.index_id for example in split] != first:
            raise InvalidInput(
                f"--data: {code} has other sentences than {codes[0]}; gains are "
                "averaged over translations of the same ones: leave out one of the two"
            )
    return examples


def _serving(settings: MixtureSettings) -> ServingSettings:
    return ServingSettings(models=(settings.model,), store=settings.store)


def _answered(
    settings: MixtureSettings,
    backbone: ServingBackbone,
    examples: Examples,
    words: int,
    threshold: float,
    *,
    told: bool = False,
) -> Answered:
    """Answer every language's texts, as the server would with this threshold."""
    serving = _serving(settings).model_copy(update={"mixture_threshold": threshold})
    texts = {
        code: [opening(example.text, words, code) for example in split]
        for code, split in examples.items()
    }
    answers = classify(serving, backbone, texts, told=told, task=settings.task)
    pairs = [list(zip(answers[code], split, strict=True)) for code, split in examples.items()]
    return Answered(
        right=_table(pairs, lambda result, example: result.label == example.label),
        surprise=_table(pairs, lambda result, example: -np.log(_score(result, example.label))),
        prompts=_table(pairs, lambda result, example: len(result.mixture or [result])),
    )


def _table(
    pairs: Sequence[Sequence[tuple[Result, Example]]], value: Callable[[Result, Example], float]
) -> Floats:
    return np.array([[value(*pair) for pair in row] for row in pairs], dtype=np.float64)


def _score(result: Result, label: str) -> float:
    return max(_LEAST, next(each.score for each in result.scores if each.label == label))


def _result(
    settings: MixtureSettings,
    codes: Sequence[str],
    words: int,
    off: Answered,
    answered: Mapping[str, Answered],
) -> dict[str, Any]:
    ways: dict[str, dict[str, Any]] = {OFF: _whole(off)}
    for name, way in answered.items():
        mixed = way.prompts > 1
        gains = (way.right - off.right).mean(axis=0)  # (sentences,)
        ways[name] = {
            **_whole(way),
            "gain": _rounded(gains.mean()),
            "interval": _interval(gains, settings.seed),
            "prompts_per_text": _rounded(way.prompts.mean()),
            "mixed": _rounded(mixed.mean()),
            "accuracy_of_mixed": _rounded(way.right[mixed].mean()) if mixed.any() else None,
            "accuracy_of_mixed_off": _rounded(off.right[mixed].mean()) if mixed.any() else None,
        }
    return {
        "model": settings.model,
        "words": words,
        "texts": int(off.right.size),
        "ways": ways,
        "languages": {
            code: {OFF: _rounded(off.right[row].mean())}
            | {name: _rounded(way.right[row].mean()) for name, way in answered.items()}
            for row, code in enumerate(codes)
        },
    }


def _whole(way: Answered) -> dict[str, float]:
    return {"accuracy": _rounded(way.right.mean()), "surprise": _rounded(way.surprise.mean())}


def _interval(gains: Floats, seed: int) -> list[float]:
    """95 % of the mean gain, by bootstrap over sentences."""
    from scipy.stats import bootstrap

    if np.ptp(gains) == 0:
        return [_rounded(gains[0])] * 2
    draw = np.random.default_rng(seed)
    interval = bootstrap(
        (gains,), np.mean, n_resamples=_RESAMPLES, method="percentile", random_state=draw
    ).confidence_interval
    return [_rounded(interval.low), _rounded(interval.high)]


def _costs(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Prompts that a text takes with a mixture, against one: by threshold and words."""
    return {
        f"prompts_per_text_{name}_at_{result['words']}_words": way["prompts_per_text"]
        for result in results
        for name, way in result["ways"].items()
        if name not in (OFF, ORACLE)
    }


def _rounded(value: float) -> float:
    return round(float(value), 5)
