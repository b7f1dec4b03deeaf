"""How much of the difference between two candidates is the luck of which sentences were drawn.

Articles are drawn, and with an article come its sentences and their translations: answers to one
article go together, within a language and across languages, and candidates that are alike err
alike. Sums over an article are therefore what varies independently. They are estimated as one
matrix over candidates times one over languages (a matrix normal): the full matrix has thousands of
rows, and from a hundred sentences it would look free of noise in most directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
_COIN = 0.25  # variance of an answer that is right every other time


@dataclass(frozen=True, slots=True)
class Noise:
    """The covariance of two accuracies is `candidates[c, d] * languages[l, m]`."""

    candidates: Matrix  # (candidate, candidate), of one sentence's answers
    languages: Matrix  # (language, language), a share of that: 1 / sentences on the diagonal


def sampling_noise(
    answers: Matrix, answered: NDArray[np.bool_], membership: Matrix | None = None
) -> Noise:
    """Estimate the noise of mean scores around each language's mean over candidates.

    One made-up sentence, answered by tossing coins, is added: a handful of sentences on which all
    candidates happen to agree does not prove that they always do.

    Args:
        answers: (candidate, language, sentence), how right each answer is.
        answered: (language, sentence), which there are.
        membership: (sentence, article), 1 where a sentence is of an article; None: each its own.
    """
    if membership is None:
        membership = np.eye(answered.shape[1])
    counts = answered.sum(axis=1)  # (language,)
    centred = (answers - answers.mean(axis=0)) * answered
    alone = (centred - centred.sum(axis=2, keepdims=True) / counts[:, None]) * answered
    spread = alone @ membership  # (candidate, language, article)
    articles = (answered @ membership > 0).sum(axis=1)  # (language,)
    coins = np.eye(len(answers)) * _COIN
    together = np.einsum("cls,dls->cd", spread, spread, optimize=True) / len(counts)
    candidates = (together + coins) / max((counts * (1 - 1 / articles)).mean(), 1)
    independent = articles.mean() * candidates.trace() ** 2 / (candidates**2).sum()
    return Noise(candidates, _language_noise(spread, answered, coins.trace(), independent))


def _language_noise(
    spread: Matrix, answered: NDArray[np.bool_], coins: float, independent: float
) -> Matrix:
    """(language, language): covariances over the sentences each language has."""
    shared = answered.astype(np.float64) @ answered.T  # sentences in both languages
    products = np.einsum("cls,cms->lm", spread, spread, optimize=True)
    products[np.diag_indices_from(products)] += coins
    per_sentence = products / np.maximum(shared, 1)
    relative = _towards_one_correlation(per_sentence, independent)
    relative /= relative.diagonal().mean()
    counts = shared.diagonal()
    return _positive(relative * shared / np.outer(counts, counts))


def _towards_one_correlation(covariance: Matrix, independent: float) -> Matrix:
    """Correlations moved towards their mean by the part of their spread that is chance.

    Fifty languages have more correlations than there are answers: as estimated, the noise of some
    mean over languages would look far too small, and what exceeds it like a gain.

    Args:
        covariance: (language, language), as estimated.
        independent: how many independent answers the estimate rests on.
    """
    deviations = np.sqrt(covariance.diagonal())
    correlations = covariance / np.outer(deviations, deviations)
    pairs = ~np.eye(len(covariance), dtype=np.bool_)
    mean = correlations[pairs].mean() if pairs.any() else 0.0
    spread = ((correlations[pairs] - mean) ** 2).sum()
    chance = ((1 - correlations[pairs] ** 2) ** 2).sum() / independent
    share = min(1.0, chance / spread) if spread > 0 else 1.0
    correlations[pairs] += share * (mean - correlations[pairs])
    moved: Matrix = correlations * np.outer(deviations, deviations)
    return moved


def _positive(matrix: Matrix) -> Matrix:
    """The nearest covariance: pairs estimated on different sentences need not fit together."""
    values, vectors = np.linalg.eigh(matrix)
    floor = values.max() * 1e-9
    positive: Matrix = (vectors * np.maximum(values, floor)) @ vectors.T
    return positive
