"""What costs next to nothing where a text is read once: prompts together, and label priors.

Measured on the paper's own setting, English 8-shot plain prompts, of which there are eight seeds.
`single` is one prompt; `ensemble` the mean log-probability of four; `prior` takes off each
language's mean label log-probability on unlabelled text (the train sentences of that language,
whose labels are not looked at). Accuracy is the mean over languages, on test.

Intervals hold articles and seeds. A draw resamples articles, with all their sentences and
translations, and takes four of the eight seeds: half-samples spread around the whole as it does
around the truth, so an estimate (the mean over all halves) needs no other correction.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isogloss.prompts.errors import InvalidData
from isogloss.prompts.model.backbone import Backbone
from isogloss.training.data.articles import articles_of
from isogloss.training.data.labelled import load_texts
from isogloss.training.evaluation.candidates import load_candidates
from isogloss.training.evaluation.predictions import Prediction
from isogloss.training.evaluation.scoring import score_prompts
from isogloss.training.files import write_atomically
from isogloss.training.tuning.texts import tokenize

Floats = NDArray[np.float64]
Cell = str | float | int | None

_TEXTS = 200  # of a language, to learn its prior from
_DRAWS = 4000
_PAIR = 2


@dataclass(frozen=True, eq=False)
class Answers:
    """What each seed's prompt says of the same sentences.

    `log_probs`: (seed, language, sentence, label); `gold`: (sentence,), the right label's place;
    `articles`: (sentence,), which article each is of.
    """

    log_probs: Floats
    gold: NDArray[np.intp]
    articles: NDArray[np.intp]
    languages: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One way to answer. Accuracies are shares of 1; gains are in points, with 95 % intervals."""

    way: str
    prompts: int
    test_accuracy: float
    gain_over_mean_single: float
    low: float
    high: float
    gain_over_best_on_dev: float
    best_low: float
    best_high: float


def answers_of(rows: Sequence[Prediction], prompts: Sequence[str]) -> Answers:
    """Put predictions of some prompts in arrays.

    Raises:
        InvalidData: a prompt lacks a sentence that another has, in some language.
    """
    said = {(r.prompt, r.language, r.index_id): r for r in rows if r.prompt in prompts}
    languages = sorted({language for _, language, _ in said})
    gold = {row.index_id: row.gold for row in said.values()}
    labels = sorted(next(iter(said.values())).log_probs)
    try:
        log_probs = np.array(
            [
                [[_in_order(said[p, code, name], labels) for name in gold] for code in languages]
                for p in prompts
            ]
        )
    except KeyError as lacking:
        raise InvalidData(f"no prediction of {lacking}; evaluate all prompts together") from None
    article = articles_of(list(gold), list(gold.values()))
    numbers = {name: n for n, name in enumerate(dict.fromkeys(article.values()))}
    return Answers(
        log_probs,
        np.array([labels.index(label) for label in gold.values()]),
        np.array([numbers[article[name]] for name in gold]),
        tuple(languages),
        tuple(labels),
    )


def _in_order(row: Prediction, labels: Sequence[str]) -> list[float]:
    return [row.log_probs[label] for label in labels]


def kept_priors(
    keep: Path, model: Backbone, files: Sequence[Path], data: str, answers: Answers
) -> Floats:
    """`read_priors`, from a file where they were read before."""
    if not keep.is_file():
        priors = read_priors(model, files, data, answers)
        with io.BytesIO() as buffer:
            np.save(buffer, priors)
            write_atomically(keep, buffer.getvalue())
    kept: Floats = np.load(keep)
    return kept


def read_priors(model: Backbone, files: Sequence[Path], data: str, answers: Answers) -> Floats:
    """Mean label log-probability of each prompt on each language's own text.

    (seed, language, 1, label).
    """
    candidates = load_candidates([str(path) for path in files], None)
    priors = np.zeros((len(files), len(answers.languages), 1, len(answers.labels)))
    for place, code in enumerate(answers.languages):
        texts = list(load_texts(Path(data), code).values())[:_TEXTS]
        scores = score_prompts(model, candidates, tokenize(model, texts, None))
        for seed, (candidate, values) in enumerate(zip(candidates, scores, strict=True)):
            own = [label.label for label in candidate.prompt.card.labels]
            order = [own.index(label) for label in answers.labels]
            priors[seed, place, 0] = values.mean(dim=0)[order].numpy()
    return priors


Way = Callable[[Sequence[int]], Floats]
"""Seeds -> (language, sentence), the share of ways that are right."""


def ways(answers: Answers, priors: Floats) -> dict[str, tuple[int, Way]]:
    """Every way to answer, with the number of prompts that it takes."""
    plain, adjusted = answers.log_probs, answers.log_probs - priors

    def together(said: Floats, size: int) -> Way:
        def right(seeds: Sequence[int]) -> Floats:
            chosen = [list(each) for each in itertools.combinations(seeds, size)]
            each = [said[each].mean(axis=0).argmax(-1) == answers.gold for each in chosen]
            share: Floats = np.mean(each, axis=0)
            return share

        return right

    return {
        "single": (1, together(plain, 1)),
        "ensemble of 2": (_PAIR, together(plain, _PAIR)),
        "ensemble of 4": (4, together(plain, 4)),
        "single, prior": (1, together(adjusted, 1)),
        "ensemble of 4, prior": (4, together(adjusted, 4)),
    }


def compare(test: Answers, dev: Answers, priors: Floats, draws: int = _DRAWS) -> list[Row]:
    """Each way against the mean single prompt, and against the one of the four that dev prefers."""
    seeds = len(test.log_probs)
    halves = list(itertools.combinations(range(seeds), seeds // 2))
    on_dev = (dev.log_probs.argmax(-1) == dev.gold).mean(axis=(1, 2))
    found = ways(test, priors)
    # (half, sentence): over languages
    right = {
        way: np.array([read(half).mean(axis=0) for half in halves])
        for way, (_, read) in found.items()
    }
    alone = (test.log_probs.argmax(-1) == test.gold).mean(axis=1)  # (seed, sentence)
    of_best = np.array([alone[max(half, key=on_dev.__getitem__)] for half in halves])
    weights, chosen = _draws(test.articles, len(halves), draws)
    rows = []
    for way, (prompts, _) in found.items():
        over_mean = _gain(right[way] - right["single"], weights, chosen)
        over_best = _gain(right[way] - of_best, weights, chosen)
        rows.append(Row(way, prompts, float(right[way].mean()), *over_mean, *over_best))
    return rows


def _draws(articles: NDArray[np.intp], halves: int, draws: int) -> tuple[Floats, NDArray[np.intp]]:
    """(draw, sentence) weights of resampled articles, and (draw,) the half of the seeds."""
    luck = np.random.default_rng(0)
    count = int(articles.max()) + 1
    counts = luck.multinomial(count, np.full(count, 1 / count), size=draws)
    weights = counts[:, articles].astype(np.float64)
    return weights / weights.sum(axis=1, keepdims=True), luck.integers(halves, size=draws)


def _gain(gains: Floats, weights: Floats, chosen: NDArray[np.intp]) -> tuple[float, float, float]:
    """Estimate and 95 % interval, in points, of what each (half, sentence) gains."""
    drawn = np.einsum("ds,ds->d", weights, gains[chosen])
    low, high = np.quantile(drawn, (0.025, 0.975))
    return 100 * float(gains.mean()), 100 * float(low), 100 * float(high)


def table(rows: Sequence[Row]) -> tuple[Sequence[str], list[Sequence[Cell]]]:
    """As columns and cells of nearly_free.csv."""
    names = list(Row.__slots__)
    rounded: list[Sequence[Cell]] = [
        [round(v, 4) if isinstance(v, float) else v for v in (getattr(row, n) for n in names)]
        for row in rows
    ]
    return names, rounded
