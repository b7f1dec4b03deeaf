"""`isogloss bench mixture`: what mixing prompts gains where a text is too short for certainty.

Texts are the first few words of test sentences, classified as users' are, in several ways: with the
likeliest language's prompt alone, mixed below a threshold of certainty, and with the language told
(the oracle). Sentences are translations of each other, so gains are averaged over languages
first and their interval is a bootstrap over sentences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isogloss.deploy.bench.contest import Say
from isogloss.deploy.load.machine import hardware, versions
from isogloss.prompts.errors import InvalidInput
from isogloss.prompts.languages.languages import language
from isogloss.serving.backbone import ServingBackbone
from isogloss.serving.config import ServingSettings
from isogloss.serving.pipeline.classifier import Classifier
from isogloss.serving.pipeline.engine import build_classifier
from isogloss.serving.schemas import ClassifyRequest, Result
from isogloss.training.data.labelled import Example, load_split

OFF, ORACLE = "off", "oracle"
_UNSPACED = frozenset(["Hans", "Hant", "Jpan", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"])
_CHARACTERS_A_WORD = 3  # of a script that puts no spaces between words
_RESAMPLES = 2000

_LEAST = 1e-6  # scores are rounded to this

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MixtureSettings:
    """What is measured."""

    serving: ServingSettings
    data: str
    languages: tuple[str, ...]
    words: tuple[int, ...] = (2, 3, 5)
    thresholds: tuple[float, ...] = (0.9, 1.0)
    sentences: int | None = None
    """Of each language, the first of the test split; None: all."""
    task: str | None = None
    seed: int = 0

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "model": self.serving.default_model,
            "detector": self.serving.detector,
            "data": Path(self.data).name,
            "split": "test",
            "languages": len(self.languages),
            "words": list(self.words),
            "thresholds": list(self.thresholds),
            "sentences": self.sentences,
            "interval": f"95 %, {_RESAMPLES} bootstrap samples of sentences, seed {self.seed}",
        }


@dataclass(frozen=True, eq=False, slots=True)
class Answered:
    """One way's answers to all texts of one length, each (languages, sentences)."""

    right: Floats  # 1 where the answer is right
    surprise: Floats  # negative log-probability of the right label
    prompts: Floats  # how many the answer took


def bench_mixture(
    settings: MixtureSettings, backbone: ServingBackbone, say: Say = lambda line: None
) -> dict[str, Any]:
    """Measure every length; one JSON object, shaped as the other benchmarks'.

    Args:
        settings: what to measure.
        backbone: the model; the store and the detector are those of `settings.serving`.
        say: told what is going on.

    Raises:
        InvalidInput: the languages do not have the same sentences.
        InvalidData: a language's test split cannot be read.
        StoreError: the store cannot be read.
    """
    examples = _examples(settings)
    ways = {str(t): t for t in settings.thresholds}
    results = []
    for words in settings.words:
        say(f"{words} words: one prompt a text")
        off = _classify(settings, backbone, examples, words, 0.0)
        found = {}
        for name, threshold in ways.items():
            say(f"{words} words: mixed below {name}")
            found[name] = _classify(settings, backbone, examples, words, threshold)
        say(f"{words} words: the language is told")
        found[ORACLE] = _classify(settings, backbone, examples, words, 0.0, told=True)
        results.append(_result(settings, words, off, found))
    return {
        "bench": "mixture",
        "hardware": hardware(torch.device(backbone.device)),
        "versions": versions(),
        "settings": settings.shown(),
        "results": results,
        "ratios": {settings.serving.default_model: _costs(results)},
    }


def opening(text: str, words: int, code: str) -> str:
    """A text's first words; where the script puts no spaces between them, as many characters.

    >>> opening("one two three four", 2, "eng_Latn")
    'one two'
    """
    if language(code).script in _UNSPACED:
        return text[: words * _CHARACTERS_A_WORD]
    return " ".join(text.split()[:words])


def _examples(settings: MixtureSettings) -> dict[str, list[Example]]:
    """Each language's sentences, in the same order."""
    found = {}
    for code in settings.languages:
        own = load_split(settings.data, code, "test")
        found[code] = sorted(own, key=lambda example: example.index_id)[: settings.sentences]
    first = [example.index_id for example in next(iter(found.values()))]
    for code, own in found.items():
        if [example.index_id for example in own] != first:
            raise InvalidInput(
                f"--data: {code} has other sentences than {settings.languages[0]}; gains are "
                "averaged over translations of the same ones: leave out one of the two"
            )
    return found


def _classify(
    settings: MixtureSettings,
    backbone: ServingBackbone,
    examples: Mapping[str, Sequence[Example]],
    words: int,
    threshold: float,
    *,
    told: bool = False,
) -> Answered:
    """Answer every language's texts, as the server would with this threshold."""
    serving = settings.serving.model_copy(update={"mixture_threshold": threshold})

    async def ask() -> list[list[Result]]:
        classifier = build_classifier(serving, backbone=lambda name, _: backbone)
        try:
            return [
                await _ask(classifier, settings.task, own, words, code, told)
                for code, own in examples.items()
            ]
        finally:
            classifier.close()

    pairs = [
        list(zip(given, own, strict=True))
        for given, own in zip(asyncio.run(ask()), examples.values(), strict=True)
    ]
    return Answered(
        right=_table(pairs, lambda result, example: result.label == example.label),
        surprise=_table(pairs, lambda result, example: -np.log(_score(result, example.label))),
        prompts=_table(pairs, lambda result, example: len(result.mixture or [result])),
    )


def _table(
    pairs: Sequence[Sequence[tuple[Result, Example]]], value: Callable[[Result, Example], float]
) -> Floats:
    return np.array([[value(*pair) for pair in own] for own in pairs], dtype=np.float64)


def _score(result: Result, label: str) -> float:
    return max(_LEAST, next(each.score for each in result.scores if each.label == label))


async def _ask(
    classifier: Classifier,
    task: str | None,
    examples: Sequence[Example],
    words: int,
    code: str,
    told: bool,
) -> list[Result]:
    texts = [opening(example.text, words, code) for example in examples]
    size = ServingSettings().max_inputs
    answers = [
        await classifier.classify(
            ClassifyRequest(
                inputs=texts[at : at + size], task=task, language=code if told else None
            )
        )
        for at in range(0, len(texts), size)
    ]
    return [result for answer in answers for result in answer.results]


def _result(
    settings: MixtureSettings, words: int, off: Answered, found: Mapping[str, Answered]
) -> dict[str, Any]:
    ways: dict[str, dict[str, Any]] = {OFF: _whole(off)}
    for name, own in found.items():
        mixed = own.prompts > 1
        gains = (own.right - off.right).mean(axis=0)  # (sentences,)
        ways[name] = {
            **_whole(own),
            "gain": _rounded(gains.mean()),
            "interval": _interval(gains, settings.seed),
            "prompts_per_text": _rounded(own.prompts.mean()),
            "mixed": _rounded(mixed.mean()),
            "accuracy_of_mixed": _rounded(own.right[mixed].mean()) if mixed.any() else None,
            "accuracy_of_mixed_off": _rounded(off.right[mixed].mean()) if mixed.any() else None,
        }
    return {
        "model": settings.serving.default_model,
        "words": words,
        "texts": int(off.right.size),
        "ways": ways,
        "languages": {
            code: {OFF: _rounded(off.right[place].mean())}
            | {name: _rounded(own.right[place].mean()) for name, own in found.items()}
            for place, code in enumerate(settings.languages)
        },
    }


def _whole(own: Answered) -> dict[str, float]:
    return {"accuracy": _rounded(own.right.mean()), "surprise": _rounded(own.surprise.mean())}


def _interval(gains: Floats, seed: int) -> list[float]:
    """95 % of the mean gain, by bootstrap over sentences."""
    from scipy.stats import bootstrap

    if np.ptp(gains) == 0:
        return [_rounded(gains[0])] * 2
    draw = np.random.default_rng(seed)
    found = bootstrap(
        (gains,), np.mean, n_resamples=_RESAMPLES, method="percentile", random_state=draw
    )
    return [_rounded(found.confidence_interval.low), _rounded(found.confidence_interval.high)]


def _costs(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Prompts that a text takes with a mixture, against one: by threshold and words."""
    return {
        f"prompts_per_text_{name}_at_{result['words']}_words": own["prompts_per_text"]
        for result in results
        for name, own in result["ways"].items()
        if name not in (OFF, ORACLE)
    }


def _rounded(value: float) -> float:
    return round(float(value), 5)
